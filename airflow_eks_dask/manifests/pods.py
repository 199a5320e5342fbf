"""What holds up pods: judged by what the kubelet and the scheduler say of them, and by events."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from kubernetes.client import AppsV1Api, CoreV1Api  # type: ignore[import-untyped]

from airflow_eks_dask.hooks.eks import kubernetes_errors

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    import kubernetes.client  # type: ignore[import-untyped]

_OPERATORS = {"In": "in", "NotIn": "notin"}
_MOST = 500
"""Of events that are looked at."""
_TOLD = 5
"""Events, the newest."""


def held_up(pods: Iterable[Any]) -> list[str]:
    """
    Return what holds up pods, one line for each reason; none if all are ready or have done their work.

    :param pods: As the client of ``kubernetes`` gives them.
    """
    return [f"pod {pod.metadata.name}: {reason}" for pod in pods for reason in _reasons(pod.status)]


def pods_of(client: kubernetes.client.ApiClient, found: Mapping[str, Any]) -> list[Any]:
    """
    Return the pods of a workload that are not about to end; the one itself, if it is a pod.

    :param found: The workload, with ``spec.selector`` if it has pods.
    :raises KubernetesError: Kubernetes refused, or was not reached.
    """
    metadata, api = found["metadata"], CoreV1Api(client)
    selector = (found.get("spec") or {}).get("selector") or {}
    which = {"label_selector": as_text(selector)}
    if found["kind"] == "Pod":
        which = {"field_selector": f"metadata.name={metadata['name']}"}
    elif not which["label_selector"]:
        return []
    with kubernetes_errors(f"looking at the pods of {found['kind']} {metadata['name']}"):
        pods = api.list_namespaced_pod(metadata["namespace"], **which).items
    return [pod for pod in pods if pod.metadata.deletion_timestamp is None]


def warnings_about(
    client: kubernetes.client.ApiClient, found: Mapping[str, Any], pods: Collection[Any] = ()
) -> list[str]:
    """
    Return what the newest events say that warn of a workload, of its pods, or of what makes them.

    :raises KubernetesError: Kubernetes refused, or was not reached.
    """
    metadata = found["metadata"]
    uids = {metadata["uid"], *(pod.metadata.uid for pod in pods), *_replica_sets(client, found)}
    with kubernetes_errors(f"looking at the events of {found['kind']} {metadata['name']}"):
        events = CoreV1Api(client).list_namespaced_event(
            metadata["namespace"], field_selector="type=Warning", limit=_MOST
        )
    told: dict[str, None] = {}
    for event in sorted(events.items, key=when):
        about = event.involved_object
        if about.uid in uids:
            line = f"event {event.reason} of {about.kind} {about.name}: {' '.join((event.message or '').split())}"
            # Said again, it counts as the newest.
            told.pop(line, None)
            told[line] = None
    return list(told)[-_TOLD:]


def as_text(selector: Mapping[str, Any]) -> str:
    """Return a selector of labels as a query takes it."""
    parts = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for each in selector.get("matchExpressions") or ():
        key, operator = each["key"], each["operator"]
        if operator in _OPERATORS:
            parts.append(f"{key} {_OPERATORS[operator]} ({','.join(each['values'])})")
        else:
            parts.append(key if operator == "Exists" else f"!{key}")
    return ",".join(parts)


def _replica_sets(client: kubernetes.client.ApiClient, found: Mapping[str, Any]) -> list[str]:
    """Return which ReplicaSets a Deployment has pods of."""
    if found["kind"] != "Deployment":
        return []
    metadata = found["metadata"]
    with kubernetes_errors(f"looking at the ReplicaSets of Deployment {metadata['name']}"):
        sets = AppsV1Api(client).list_namespaced_replica_set(
            metadata["namespace"], label_selector=as_text(found["spec"]["selector"])
        )
    return [
        each.metadata.uid
        for each in sets.items
        if each.spec.replicas and any(owner.uid == metadata["uid"] for owner in each.metadata.owner_references or ())
    ]


def when(event: Any) -> datetime:
    """Return when an event happened last, as far as it tells."""
    earliest = datetime.min.replace(tzinfo=timezone.utc)
    return event.last_timestamp or event.event_time or event.metadata.creation_timestamp or earliest


def _reasons(status: Any) -> Iterator[str]:
    if status.phase == "Failed" and status.reason:
        yield f"failed: {status.reason}{_because(status.message)}"
    for condition in status.conditions or []:
        if condition.type == "PodScheduled" and condition.status == "False":
            yield f"not scheduled: {condition.message}"
    for container in [*(status.init_container_statuses or []), *(status.container_statuses or [])]:
        state, last = container.state, container.last_state and container.last_state.terminated
        after = f", after {_ended(last)}" if last else ""
        if state.waiting:
            reason = f"{state.waiting.reason or 'no reason given'}{_because(state.waiting.message)}"
            yield f"container {container.name} waits: {reason}{after}"
        elif state.terminated and state.terminated.exit_code:
            yield f"container {container.name} ended with {_ended(state.terminated)}"
        elif state.running and not container.ready:
            yield f"container {container.name} runs, and is not ready{after}"


def _ended(terminated: Any) -> str:
    return f"exit code {terminated.exit_code} ({terminated.reason or 'no reason given'})"


def _because(message: str | None) -> str:
    return f": {message}" if message else ""
