{{/* The secrets of Airflow that it needs, and where the rest is: executionApi of the values */}}
{{- define "pipeline.executionApiEnv" -}}
AIRFLOW_CONFIG: /etc/airflow/airflow.cfg
AIRFLOW__DATABASE__SQL_ALCHEMY_CONN:
  valueFrom: {secretKeyRef: {name: {{ .metadataSecretName }}, key: {{ .metadataSecretKey }}}}
AIRFLOW__API_AUTH__JWT_SECRET:
  valueFrom: {secretKeyRef: {name: {{ .jwtSecretName }}, key: {{ .jwtSecretKey }}}}
AIRFLOW__CORE__FERNET_KEY:
  valueFrom: {secretKeyRef: {name: {{ .fernetKeySecretName }}, key: {{ .fernetKeySecretKey }}}}
{{- end }}
