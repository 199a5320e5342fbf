{{/* A network load balancer with an address of its network alone, unless it is to be public. */}}
{{- define "pipeline.loadBalancerAnnotations" -}}
{{- if eq .Values.service.type "LoadBalancer" }}
service.beta.kubernetes.io/aws-load-balancer-type: nlb
{{- if .Values.service.public }}
service.beta.kubernetes.io/aws-load-balancer-scheme: internet-facing
{{- else }}
service.beta.kubernetes.io/aws-load-balancer-scheme: internal
service.beta.kubernetes.io/aws-load-balancer-internal: "true"
service.beta.kubernetes.io/azure-load-balancer-internal: "true"
networking.gke.io/load-balancer-type: Internal
{{- end }}
{{- end }}
{{- end }}
