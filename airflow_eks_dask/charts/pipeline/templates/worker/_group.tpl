{{/* A worker group with its defaults: (list root group) */}}
{{- define "pipeline.workerGroup" -}}
{{- $defaults := deepCopy (index . 0).Values.workerDefaults -}}
{{- $own := deepCopy (index . 1) -}}
{{- $merged := mergeOverwrite $defaults $own -}}
{{- /* One volume has one source, and resources belong together. */ -}}
{{- range list "scratch" "resources" }}
{{- if hasKey $own . }}{{ $_ := set $merged . (index $own .) }}{{ end }}
{{- end }}
{{- toYaml $merged }}
{{- end }}

{{/* (list root group) */}}
{{- define "pipeline.workerSelectorLabels" -}}
{{ include "pipeline.selectorLabels" (list (index . 0) "worker") }}
airflow-eks-dask/worker-group: {{ (index . 1).name }}
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
