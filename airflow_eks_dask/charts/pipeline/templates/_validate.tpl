{{/* What values.schema.json can't say. All findings at once. */}}
{{- define "pipeline.validate" -}}
{{- $problems := concat
  (include "pipeline.tlsProblems" . | fromYamlArray)
  (include "pipeline.serviceProblems" . | fromYamlArray)
  (include "pipeline.workerProblems" . | fromYamlArray)
  (include "pipeline.executionApiProblems" . | fromYamlArray)
  (include "pipeline.secretProblems" . | fromYamlArray)
-}}
{{- if $problems }}
{{- printf "values can't work:\n- %s\n" (join "\n- " $problems) | fail }}
{{- end }}
{{- end }}

{{- define "pipeline.tlsProblems" -}}
{{- $tls := .Values.tls -}}
{{- if and $tls.enabled (not $tls.secretName) (not (and $tls.schedulerSecretName $tls.workerSecretName)) }}
- >-
  tls.secretName: name the Secret with ca.crt, tls.crt and tls.key ('airflow eks-dask certs' makes them), or set
  tls.enabled=false and service.type=ClusterIP to do without TLS
{{- end }}
{{- if and (not $tls.enabled) (ne .Values.service.type "ClusterIP") }}
- >-
  service.type is {{ .Values.service.type }} and tls.enabled false: whoever reaches the scheduler would run code as
  Airflow's tasks do. Enable TLS, or set service.type=ClusterIP
{{- end }}
{{- end }}

{{- define "pipeline.serviceProblems" -}}
{{- $service := .Values.service -}}
{{- $balanced := eq $service.type "LoadBalancer" -}}
{{- if and $service.public (not $balanced) }}
- "service.public is for service.type=LoadBalancer; it is {{ $service.type }}"
{{- end }}
{{- if and $service.public (not $service.loadBalancerSourceRanges) }}
- "service.public needs service.loadBalancerSourceRanges: the address ranges that may connect"
{{- end }}
{{- range $service.loadBalancerSourceRanges }}
{{- if hasSuffix "/0" . }}
- "service.loadBalancerSourceRanges: {{ . }} is everybody; name the addresses of Airflow"
{{- end }}
{{- end }}
{{- if not $service.public }}
{{- range $name, $value := $service.annotations }}
{{- $internal := ternary "internal" "true" (hasSuffix "load-balancer-scheme" $name) -}}
{{- if and (regexMatch "load-balancer-(scheme|internal)$" $name) (ne $value $internal) }}
- "service.annotations: {{ $name }}={{ $value }} makes the load balancer public; set service.public instead"
{{- end }}
{{- end }}
{{- end }}
{{- if and $service.loadBalancerClass (semverCompare "<1.22-0" .Capabilities.KubeVersion.Version) }}
- "service.loadBalancerClass needs Kubernetes 1.22; this is {{ .Capabilities.KubeVersion.Version }}"
{{- end }}
{{- end }}

{{- define "pipeline.workerProblems" -}}
{{- $names := list -}}
{{- range .Values.workers }}
{{- if has .name $names }}
- "workers: two groups are called {{ .name }}"
{{- end }}
{{- $names = append $names .name }}
{{- end }}
{{- range (include "pipeline.workerGroups" . | fromYamlArray) }}
{{- if and .keda.enabled (not .keda.secretName) }}
- "workers[{{ .name }}].keda.secretName: name the Secret with the metadata database's address"
{{- end }}
{{- if and .keda.enabled (gt (int .keda.minReplicaCount) (int .keda.maxReplicaCount)) }}
- "workers[{{ .name }}].keda.minReplicaCount {{ .keda.minReplicaCount }} is more than maxReplicaCount"
{{- end }}
{{- if hasKey .daskResources "airflow" }}
- "workers[{{ .name }}].daskResources.airflow: set slots instead"
{{- end }}
{{- end }}
{{- end }}

{{- define "pipeline.executionApiProblems" -}}
{{- $api := .Values.executionApi -}}
{{- if and $api.enabled $api.url }}
- "executionApi.url is of no use with executionApi.enabled: choose one"
{{- end }}
{{- if not (or $api.enabled $api.url) }}
- "executionApi.url: say where workers reach Airflow's execution API, or set executionApi.enabled to run one here"
{{- end }}
{{- if and $api.url (not (regexMatch "^https?://[^/]+/(.*/)?execution/?$" $api.url)) }}
- "executionApi.url: {{ $api.url }} is not of the form https://airflow.example.com/execution/"
{{- end }}
{{- if and $api.caCertificate (or $api.enabled $api.tlsSecretName (hasPrefix "http:" $api.url)) }}
- >-
  executionApi.caCertificate: is for an executionApi.url that begins with https, and without executionApi.tlsSecretName,
  which has ca.crt
{{- end }}
{{- if $api.enabled }}
{{- range list "metadataSecretName" "jwtSecretName" "fernetKeySecretName" }}
{{- if not (index $api .) }}
- "executionApi.{{ . }}: needed with executionApi.enabled"
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Values are kept in the release and shown by helm: no place for secrets. */}}
{{- define "pipeline.secretProblems" -}}
{{- $secret := "(?i)(password|passwd|secret|token|fernet_key|private_key|sql_alchemy_conn|broker_url|result_backend)$|^airflow_conn_" -}}
{{- range $section, $options := .Values.config }}
{{- range $option, $_ := $options }}
{{- if regexMatch $secret $option }}
- "config.{{ $section }}.{{ $option }}: looks like a secret, and values are no place for one: set AIRFLOW__{{ upper $section }}__{{ upper $option }} in env with valueFrom, or by envFrom"
{{- end }}
{{- end }}
{{- end }}
{{- $environments := dict "scheduler" .Values.scheduler.env "executionApi" .Values.executionApi.env -}}
{{- range (include "pipeline.workerGroups" . | fromYamlArray) }}
{{- $_ := set $environments (printf "workers[%s]" .name) .env }}
{{- end }}
{{- range $where, $variables := $environments }}
{{- range $name, $value := $variables }}
{{- if and (kindIs "string" $value) (regexMatch $secret $name) }}
- "{{ $where }}.env.{{ $name }}: looks like a secret, and values are no place for one: use valueFrom with secretKeyRef"
{{- end }}
{{- end }}
{{- end }}
{{- range list "core.execution_api_server_url" "logging.base_log_folder" "dask.queues" }}
{{- $path := splitList "." . }}
{{- if hasKey (index $.Values.config (first $path) | default dict) (last $path) }}
- "config.{{ . }}: the chart sets it"
{{- end }}
{{- end }}
{{- end }}
