{{- define "pipeline.executionApiUrl" -}}
{{- if .Values.executionApi.enabled -}}
{{ ternary "https" "http" (ne .Values.executionApi.tlsSecretName "") }}://{{ include "pipeline.fullname" . }}-execution-api:8080/execution/
{{- else -}}
{{ .Values.executionApi.url }}
{{- end }}
{{- end }}

{{/* Airflow's configuration file: what the chart has to say, and what the values say. */}}
{{- define "pipeline.airflowConfig" -}}
{{- $ours := dict
  "core" (dict "execution_api_server_url" (include "pipeline.executionApiUrl" .) "load_examples" "False")
  "logging" (dict "base_log_folder" "/opt/airflow/logs")
-}}
{{- range $section, $options := mergeOverwrite $ours (deepCopy .Values.config) -}}
[{{ $section }}]
{{- range $option, $value := $options }}
{{ $option }} = {{ include "pipeline.configValue" (list $value) | replace "%" "%%" | replace "\n" "\n    " }}
{{- end }}
{{ end }}
{{- end }}

{{- define "pipeline.configValue" -}}
{{- $value := index . 0 -}}
{{- if or (kindIs "map" $value) (kindIs "slice" $value) -}}
{{ toRawJson $value }}
{{- else if kindIs "bool" $value -}}
{{ ternary "True" "False" $value }}
{{- else if and (kindIs "float64" $value) (eq (float64 $value) (floor $value)) -}}
{{- /* Helm reads all numbers as floats, and would write large ones with an exponent. */ -}}
{{ int64 $value }}
{{- else -}}
{{ $value }}
{{- end -}}
{{- end }}

{{/* Annotations that change when what a pod reads at its start has changed: (list root secretNames isAirflow) */}}
{{- define "pipeline.checksums" -}}
{{- $root := index . 0 -}}
{{- if index . 2 -}}
checksum/config: {{ cat (include "pipeline.airflowConfig" $root) $root.Values.executionApi.caCertificate | sha256sum }}
{{ end -}}
checksum/secrets: {{ include "pipeline.secretVersions" . }}
{{- end }}

{{/* Stands for the versions of Secrets, not for what is in them, which a checksum could give away. */}}
{{- define "pipeline.secretVersions" -}}
{{- $namespace := (index . 0).Release.Namespace -}}
{{- $versions := list -}}
{{- range index . 1 -}}
{{- $metadata := (lookup "v1" "Secret" $namespace .).metadata | default dict -}}
{{- $versions = append $versions (list . $metadata.uid $metadata.resourceVersion) -}}
{{- end -}}
{{ $versions | toJson | sha256sum }}
{{- end }}
