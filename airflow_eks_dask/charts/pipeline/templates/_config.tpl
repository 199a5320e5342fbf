{{- define "pipeline.executionApiUrl" -}}
{{ .Values.executionApi.url }}
{{- end }}

{{/* Airflow's configuration file: what the chart has to say, then what the values say. */}}
{{- define "pipeline.airflowConfig" -}}
{{- $ours := dict
  "core" (dict "execution_api_server_url" (include "pipeline.executionApiUrl" .) "load_examples" "False")
  "logging" (dict "base_log_folder" "/opt/airflow/logs")
-}}
{{- range $section, $options := mergeOverwrite $ours (deepCopy .Values.config) }}
[{{ $section }}]
{{- range $option, $value := $options }}
{{ $option }} = {{ include "pipeline.configValue" (list $value) | replace "%" "%%" }}
{{- end }}
{{ end }}
{{- end }}

{{- define "pipeline.configValue" -}}
{{- $value := index . 0 -}}
{{- if or (kindIs "map" $value) (kindIs "slice" $value) -}}
{{ toJson $value }}
{{- else if kindIs "bool" $value -}}
{{ ternary "True" "False" $value }}
{{- else if kindIs "float64" $value -}}
{{- /* Helm reads all numbers as floats, and would write large ones with an exponent. */ -}}
{{ if eq $value (floor $value) }}{{ int64 $value }}{{ else }}{{ $value }}{{ end }}
{{- else -}}
{{ $value }}
{{- end -}}
{{- end }}

{{/* Annotations that change when what a pod reads at its start has changed: (list root role) */}}
{{- define "pipeline.checksums" -}}
{{- $root := index . 0 -}}
{{- $role := index . 1 -}}
{{- $secrets := list -}}
{{- if $root.Values.tls.enabled }}{{ $secrets = append $secrets (include "pipeline.tlsSecretName" .) }}{{ end -}}
{{- if ne $role "scheduler" -}}
checksum/config: {{ include "pipeline.airflowConfig" $root | sha256sum }}
{{- end }}
checksum/secrets: {{ include "pipeline.secretVersions" (list $root $secrets) }}
{{- end }}

{{/* Versions of Secrets, not their content, which a checksum could give away: (list root names) */}}
{{- define "pipeline.secretVersions" -}}
{{- $root := index . 0 -}}
{{- $versions := list -}}
{{- range index . 1 -}}
{{- $secret := lookup "v1" "Secret" $root.Release.Namespace . -}}
{{- if $secret -}}
{{- $versions = append $versions (printf "%s/%s/%s" . $secret.metadata.uid $secret.metadata.resourceVersion) -}}
{{- end -}}
{{- end -}}
{{ join "," $versions | sha256sum }}
{{- end }}
