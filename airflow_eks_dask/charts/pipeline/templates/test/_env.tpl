{{/* What files/check.py wants to know. */}}
{{- define "pipeline.testEnv" -}}
{{- $workers := dict -}}
{{- range (include "pipeline.workerGroups" . | fromYamlArray) -}}
{{- $name := printf "%s-worker-%s-" (include "pipeline.fullname" $) .name -}}
{{- $_ := set $workers $name (ternary .keda.minReplicaCount .replicas .keda.enabled | int) -}}
{{- end -}}
SCHEDULER: {{ include "pipeline.schedulerAddress" . }}
WORKERS: {{ toJson $workers | quote }}
EXECUTION_API_URL: {{ include "pipeline.executionApiUrl" . }}
TIMEOUT: {{ .Values.test.timeout | quote }}
{{- end }}
