"""
What runs in the cluster beside the pipelines: charts, their versions and our values, all in this one place.

A release may be given other versions and values; what is here is what was chosen for everybody.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class ClusterService:
    """
    A Helm release of somebody else's chart.

    :param name: Of the release.
    :param repository: Where the chart is, a Helm repository.
    :param chart: What it is called there.
    :param version: Of the chart. Never a range: what is installed is what was chosen.
    :param namespace: Where it goes.
    :param values: What differs from the chart's own.
    """

    name: str
    repository: str
    chart: str
    version: str
    namespace: str
    values: dict[str, Any] = field(default_factory=dict)


HEADLAMP = ClusterService(
    name="headlamp",
    repository="https://kubernetes-sigs.github.io/headlamp/",
    chart="headlamp",
    version="0.43.0",
    namespace="headlamp",
    values={
        # The chart makes Headlamp administrator of the cluster; here, people show tokens of their own.
        "clusterRoleBinding": {"create": False},
        # No longer than the tokens of `airflow eks-dask dashboard`.
        "config": {"sessionTTL": 3600},
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
    },
)
"""
A web page of the cluster, which shows each user what that user may see.
Source: https://github.com/kubernetes-sigs/headlamp/tree/main/charts/headlamp.
"""

METRICS_SERVER = ClusterService(
    name="metrics-server",
    repository="https://kubernetes-sigs.github.io/metrics-server/",
    chart="metrics-server",
    version="3.13.1",
    namespace="kube-system",
)
"""
Processor time and memory of pods, for ``kubectl top`` and autoscaling. On EKS, the add-on of that name is it.
Source: https://github.com/kubernetes-sigs/metrics-server/tree/master/charts/metrics-server.
"""

# Pods of the chart `pipeline`: its Dask schedulers and workers tell what they measure behind the ports of their pages.
_SCRAPE_DASK = """\
- job_name: dask
  kubernetes_sd_configs:
    - role: pod
  relabel_configs:
    - source_labels:
        - __meta_kubernetes_pod_label_app_kubernetes_io_name
        - __meta_kubernetes_pod_container_port_name
      regex: pipeline;http-(dashboard|worker)
      action: keep
    - source_labels: [__meta_kubernetes_namespace]
      target_label: namespace
    - source_labels: [__meta_kubernetes_pod_name]
      target_label: pod
    - source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_instance]
      target_label: release
    - source_labels: [__meta_kubernetes_pod_label_app_kubernetes_io_component]
      target_label: component
"""

PROMETHEUS = ClusterService(
    name="prometheus",
    repository="https://prometheus-community.github.io/helm-charts",
    chart="prometheus",
    version="28.10.0",
    namespace="prometheus",
    values={
        "alertmanager": {"enabled": False},
        "prometheus-pushgateway": {"enabled": False},
        "server": {
            "retention": "15d",
            "persistentVolume": {"enabled": True, "size": "20Gi"},
            "global": {"scrape_interval": "30s"},
        },
        # A text, as the chart wants it.
        "extraScrapeConfigs": _SCRAPE_DASK,
    },
)
"""
History of what nodes, pods and Dask measure.
Source: https://github.com/prometheus-community/helm-charts/tree/main/charts/prometheus.
"""

SERVICES = {service.name: service for service in (HEADLAMP, METRICS_SERVER, PROMETHEUS)}
