{{- define "pipeline.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "pipeline.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains $name .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{/* What never changes: (list root component) */}}
{{- define "pipeline.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "pipeline.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* (list root component) */}}
{{- define "pipeline.labels" -}}
{{- $root := index . 0 -}}
{{ include "pipeline.selectorLabels" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: airflow
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" }}
{{- with $root.Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Without versions, which would restart all pods with each of the chart: (list root component) */}}
{{- define "pipeline.podLabels" -}}
{{ include "pipeline.selectorLabels" . }}
{{- with (index . 0).Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "pipeline.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* (list root role), role being a key of serviceAccounts */}}
{{- define "pipeline.serviceAccountName" -}}
{{- $root := index . 0 -}}
{{- $account := index $root.Values.serviceAccounts (index . 1) -}}
{{- if $account.name -}}
{{ $account.name }}
{{- else if $account.create -}}
{{ include "pipeline.fullname" $root }}-{{ index . 1 | kebabcase }}
{{- else -}}
default
{{- end }}
{{- end }}

{{- define "pipeline.schedulerAddress" -}}
{{ ternary "tls" "tcp" .Values.tls.enabled }}://{{ include "pipeline.fullname" . }}-scheduler:8786
{{- end }}

{{/* The beginning of a container: (list root resources) */}}
{{- define "pipeline.container" -}}
{{- $root := index . 0 -}}
image: {{ include "pipeline.image" $root | quote }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
resources:
{{- range $kind, $amounts := index . 1 }}
  {{ $kind }}:
  {{- range $name, $amount := $amounts }}
    {{ $name }}: {{ $amount | quote }}
  {{- end }}
{{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{/* Environment variables, names with a string or {valueFrom: ...}; later objects win: (list object ...) */}}
{{- define "pipeline.env" -}}
{{- $variables := dict -}}
{{- range . }}{{ $variables = merge (dict) . $variables }}{{ end -}}
{{- range $name, $value := $variables }}
- name: {{ $name }}
{{- if kindIs "map" $value }}
{{ toYaml $value | indent 2 }}
{{- else }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Where Dask finds certificate and key, whatever it is at the moment. */}}
{{- define "pipeline.tlsEnv" -}}
{{- if .Values.tls.enabled -}}
DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION: "True"
DASK_DISTRIBUTED__COMM__TLS__CA_FILE: /etc/dask/tls/ca.crt
{{- range list "SCHEDULER" "WORKER" "CLIENT" }}
DASK_DISTRIBUTED__COMM__TLS__{{ . }}__CERT: /etc/dask/tls/tls.crt
DASK_DISTRIBUTED__COMM__TLS__{{ . }}__KEY: /etc/dask/tls/tls.key
{{- end }}
{{- end }}
{{- end }}

{{/* (list root role), role being scheduler or worker */}}
{{- define "pipeline.tlsSecretName" -}}
{{- $tls := (index . 0).Values.tls -}}
{{ index $tls (printf "%sSecretName" (index . 1)) | default $tls.secretName }}
{{- end }}

{{/* Its files are for the group, which fsGroup makes the container's: (list root role) */}}
{{- define "pipeline.tlsVolume" -}}
- name: tls
  secret:
    secretName: {{ include "pipeline.tlsSecretName" . }}
    defaultMode: 0440
{{- end }}

{{/* The beginning of a pod's spec: (list root role settings) */}}
{{- define "pipeline.pod" -}}
{{- $root := index . 0 -}}
{{- $settings := index . 2 -}}
serviceAccountName: {{ $settings.serviceAccountName | default (include "pipeline.serviceAccountName" .) }}
automountServiceAccountToken: {{ (index $root.Values.serviceAccounts (index . 1)).automountToken }}
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 50000
  runAsGroup: 0
  fsGroup: 0
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with $root.Values.image.pullSecrets }}
imagePullSecrets:
{{ toYaml . | indent 2 }}
{{- end }}
{{- include "pipeline.placement" $settings }}
{{- end }}

{{/* Where a pod may be. */}}
{{- define "pipeline.placement" -}}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .nodeSelector }}
nodeSelector:
{{ toYaml . | indent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
{{ toYaml . | indent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
{{ toYaml . | indent 2 }}
{{- end }}
{{- end }}

{{/* Probes of a process whose event loop answers: (dict healthy ready port startSeconds, scheme if not HTTP) */}}
{{- define "pipeline.probes" -}}
startupProbe:
  httpGet: &health
    path: {{ .healthy }}
    port: {{ .port }}
    scheme: {{ .scheme | default "HTTP" }}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: {{ div .startSeconds 2 }}
readinessProbe:
  httpGet:
    path: {{ .ready }}
    port: {{ .port }}
    scheme: {{ .scheme | default "HTTP" }}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 3
livenessProbe:
  httpGet: *health
  periodSeconds: 30
  timeoutSeconds: 10
  # Restarting it ends what runs: only after five minutes.
  failureThreshold: 10
{{- end }}
