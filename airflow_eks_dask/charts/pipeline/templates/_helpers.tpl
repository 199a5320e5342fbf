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

{{- define "pipeline.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 50000
runAsGroup: 0
fsGroup: 0
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "pipeline.containerSecurityContext" -}}
allowPrivilegeEscalation: false
privileged: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Environment variables from an object: name to string, or to {valueFrom: ...} */}}
{{- define "pipeline.env" -}}
{{- range $name, $value := . }}
- name: {{ $name }}
{{- if kindIs "map" $value }}
{{ toYaml $value | indent 2 }}
{{- else }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}
{{- end }}

{{/* Where Dask finds its certificates; each role finds the same ones. */}}
{{- define "pipeline.tlsEnv" -}}
{{- if .Values.tls.enabled }}
- name: DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION
  value: "True"
- name: DASK_DISTRIBUTED__COMM__TLS__CA_FILE
  value: /etc/dask/tls/ca.crt
{{- range list "SCHEDULER" "WORKER" "CLIENT" }}
- name: DASK_DISTRIBUTED__COMM__TLS__{{ . }}__CERT
  value: /etc/dask/tls/tls.crt
- name: DASK_DISTRIBUTED__COMM__TLS__{{ . }}__KEY
  value: /etc/dask/tls/tls.key
{{- end }}
{{- end }}
{{- end }}

{{- define "pipeline.tlsMount" -}}
{{- if .Values.tls.enabled }}
- name: tls
  mountPath: /etc/dask/tls
  readOnly: true
{{- end }}
{{- end }}

{{/* (list root role), role being scheduler or worker */}}
{{- define "pipeline.tlsSecretName" -}}
{{- $tls := (index . 0).Values.tls -}}
{{ index $tls (printf "%sSecretName" (index . 1)) | default $tls.secretName }}
{{- end }}

{{/* (list root role) */}}
{{- define "pipeline.tlsVolume" -}}
{{- if (index . 0).Values.tls.enabled }}
- name: tls
  secret:
    secretName: {{ include "pipeline.tlsSecretName" . }}
    # For the group, which fsGroup makes the container's.
    defaultMode: 0440
{{- end }}
{{- end }}

{{/* Where a pod may be: (dict with nodeSelector, tolerations, affinity, priorityClassName) */}}
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

{{/* Probes of a process whose event loop answers at a path: (dict path port startSeconds) */}}
{{- define "pipeline.probes" -}}
startupProbe:
  httpGet: &health
    path: {{ .path }}
    port: {{ .port }}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: {{ div .startSeconds 2 }}
readinessProbe:
  httpGet: *health
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
