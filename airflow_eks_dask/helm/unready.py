"""Why pods of a release are not ready: Helm tells only that they are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_eks_dask.hooks.kubernetes import KubernetesCluster

_TIMEOUT = 5.0


def unready_pods(cluster: KubernetesCluster, namespace: str, release: str) -> list[str]:
    """
    Return what holds up a release's pods, known by the label ``app.kubernetes.io/instance``.

    :raises KubernetesError: The API did not answer.
    """
    from kubernetes.client import CoreV1Api  # type: ignore[import-untyped]

    from airflow_eks_dask.hooks.eks import kubernetes_errors
    from airflow_eks_dask.manifests.pods import held_up

    with kubernetes_errors(f"looking at the pods of release {release}"), cluster.client() as client:
        pods = CoreV1Api(client).list_namespaced_pod(
            namespace, label_selector=f"app.kubernetes.io/instance={release}", _request_timeout=_TIMEOUT
        )
    return held_up(pods.items)
