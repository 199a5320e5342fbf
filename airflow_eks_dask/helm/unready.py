"""Why pods of a release are not ready: Helm tells only that they are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eks_dask.hooks.kubernetes import KubernetesCluster

_TIMEOUT = 5.0


def unready_pods(cluster: KubernetesCluster, namespace: str, release: str) -> list[str]:
    """
    Return what holds up a release's pods, known by the label ``app.kubernetes.io/instance``.

    :raises KubernetesError: The API did not answer.
    """
    from kubernetes.client import CoreV1Api  # type: ignore[import-untyped]

    from airflow_eks_dask.hooks.eks import kubernetes_errors

    with kubernetes_errors(f"looking at the pods of release {release}"), cluster.client() as client:
        pods = CoreV1Api(client).list_namespaced_pod(
            namespace, label_selector=f"app.kubernetes.io/instance={release}", _request_timeout=_TIMEOUT
        )
    return [f"pod {pod.metadata.name}: {reason}" for pod in pods.items for reason in _reasons(pod.status)]


def _reasons(status: Any) -> Iterator[str]:
    for condition in status.conditions or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            yield f"not scheduled: {condition.message}"
    for container in [*(status.init_container_statuses or []), *(status.container_statuses or [])]:
        state, last = container.state, container.last_state
        if state.waiting:
            after = f", after exit code {last.terminated.exit_code}" if last and last.terminated else ""
            yield f"container {container.name} waits: {state.waiting.reason or 'no reason given'}{after}"
        elif state.terminated and state.terminated.exit_code:
            yield f"container {container.name} ended with {state.terminated.exit_code} ({state.terminated.reason})"
        elif state.running and not container.ready:
            yield f"container {container.name} runs, and is not ready"
