{{/* The worker groups, with their defaults. */}}
{{- define "pipeline.workerGroups" -}}
{{- $groups := list -}}
{{- range .Values.workers -}}
{{- $group := mergeOverwrite (deepCopy $.Values.workerDefaults) (deepCopy .) -}}
{{- /* These are whole: volumes have one source, and limits go with requests. */ -}}
{{- range $whole := list "scratch" "logs" "resources" -}}
{{- with index $.Values.workers (len $groups) -}}
{{- if hasKey . $whole -}}{{- $_ := set $group $whole (index . $whole) -}}{{- end -}}
{{- end -}}
{{- end -}}
{{- $groups = append $groups $group -}}
{{- end -}}
{{ toYaml $groups }}
{{- end }}

{{/* (list root group) */}}
{{- define "pipeline.workerSelectorLabels" -}}
{{ include "pipeline.selectorLabels" (list (index . 0) "worker") }}
airflow-eks-dask/worker-group: {{ (index . 1).name }}
{{- end }}

{{/* What a worker has to find in its environment: a group */}}
{{- define "pipeline.workerEnv" -}}
POD_NAME: {valueFrom: {fieldRef: {fieldPath: metadata.name}}}
AIRFLOW_CONFIG: /etc/airflow/airflow.cfg
AIRFLOW__DASK__QUEUES: {{ join "," .queues | quote }}
# Those of Dask, and /ready.
DASK_DISTRIBUTED__WORKER__HTTP__ROUTES: >-
  ['distributed.http.worker.prometheus', 'distributed.http.health', 'airflow_eks_dask.worker.readiness']
{{- end }}

{{/* What `dask worker --resources` takes: slots are the resource `airflow`. */}}
{{- define "pipeline.daskResources" -}}
airflow={{ .slots }}
{{- range $name, $amount := .daskResources }} {{ $name }}={{ $amount }}{{ end }}
{{- end }}

{{/* (list root group) */}}
{{- define "pipeline.topologySpread" -}}
{{- $root := index . 0 -}}
{{- $group := index . 1 -}}
{{- $selector := dict "matchLabels" (include "pipeline.workerSelectorLabels" . | fromYaml) -}}
{{- $zone := dict "maxSkew" 1 "topologyKey" "topology.kubernetes.io/zone" "whenUnsatisfiable" "ScheduleAnyway" -}}
{{- $node := dict "maxSkew" 1 "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" "ScheduleAnyway" -}}
{{- $constraints := list -}}
{{- range ($group.topologySpreadConstraints | default (list $zone $node)) -}}
{{- $constraint := merge (dict) . (dict "labelSelector" $selector) -}}
{{- if semverCompare ">=1.27-0" $root.Capabilities.KubeVersion.Version -}}
{{- /* Pods of the former version are on their way out. */ -}}
{{- $constraint = merge $constraint (dict "matchLabelKeys" (list "pod-template-hash")) -}}
{{- end -}}
{{- $constraints = append $constraints $constraint -}}
{{- end -}}
{{ toYaml $constraints }}
{{- end }}

{{/* SQL for the number of slots that a group's queues want. Tasks that find no slot wait in Airflow, as scheduled. */}}
{{- define "pipeline.wantedSlots" -}}
SELECT count(*) FROM task_instance WHERE state IN ('scheduled', 'queued', 'running', 'restarting') AND queue IN (
{{- range $index, $queue := .queues }}{{ if $index }}, {{ end }}'{{ replace "'" "''" $queue }}'{{ end -}}
)
{{- end }}
