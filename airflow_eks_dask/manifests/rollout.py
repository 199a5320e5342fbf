"""How far objects have come: what Kubernetes has made of what they ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eks_dask.manifests.objects import conditions
from airflow_eks_dask.resources.base import Progress, State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_eks_dask.manifests.objects import Reference

READY = Progress(State.READY)


def is_waited_for(reference: Reference) -> bool:
    """Whether objects of this kind come about after they are made; others just are."""
    return (reference.group, reference.kind) in _JUDGES


def has_pods(reference: Reference) -> bool:
    """Whether an object of this kind is a pod, or makes pods."""
    return reference.group in ("apps", "batch") or reference.kind == "Pod"


def judged(reference: Reference, found: Mapping[str, Any]) -> Progress:
    """Return how far an object has come, by its status."""
    status = found.get("status") or {}
    return _JUDGES[reference.group, reference.kind](found.get("spec") or {}, status, found["metadata"])


def _deployment(spec: Mapping[str, Any], status: Mapping[str, Any], metadata: Mapping[str, Any]) -> Progress:
    if _is_old(status, metadata):
        return _pending("not looked at yet")
    progressing = conditions(status).get("Progressing", {})
    if progressing.get("reason") == "ProgressDeadlineExceeded":
        return Progress(State.FAILED, (progressing.get("message") or "it made no progress in time",))
    wanted = spec.get("replicas", 1)
    updated, available, all_pods = (_count(status, f"{each}eplicas") for each in ("updatedR", "availableR", "r"))
    if updated < wanted:
        return _pending(f"{updated} of {wanted} pods are made anew")
    if all_pods > updated:
        return _pending(f"{all_pods - updated} pods of before are still there")
    return READY if available >= wanted else _pending(f"{available} of {wanted} pods are available")


def _stateful_set(spec: Mapping[str, Any], status: Mapping[str, Any], metadata: Mapping[str, Any]) -> Progress:
    if _is_old(status, metadata):
        return _pending("not looked at yet")
    wanted, strategy = spec.get("replicas", 1), spec.get("updateStrategy") or {}
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    updated, ready = _count(status, "updatedReplicas"), _count(status, "readyReplicas")
    is_one = status.get("currentRevision") == status.get("updateRevision")
    if strategy.get("type") != "OnDelete" and not is_one and updated < wanted - partition:
        return _pending(f"{updated} of {wanted - partition} pods are made anew")
    if ready < wanted:
        return _pending(f"{ready} of {wanted} pods are ready")
    return READY


def _daemon_set(spec: Mapping[str, Any], status: Mapping[str, Any], metadata: Mapping[str, Any]) -> Progress:
    if _is_old(status, metadata):
        return _pending("not looked at yet")
    wanted = _count(status, "desiredNumberScheduled")
    updated, available = _count(status, "updatedNumberScheduled"), _count(status, "numberAvailable")
    if (spec.get("updateStrategy") or {}).get("type") != "OnDelete" and updated < wanted:
        return _pending(f"{updated} of {wanted} pods are made anew")
    return READY if available >= wanted else _pending(f"{available} of {wanted} pods are available")


def _job(spec: Mapping[str, Any], status: Mapping[str, Any], metadata: Mapping[str, Any]) -> Progress:
    met = {kind: each for kind, each in conditions(status).items() if each.get("status") == "True"}
    if failed := met.get("Failed"):
        return Progress(State.FAILED, (f"{failed.get('reason')}: {failed.get('message')}",))
    if "Complete" in met or spec.get("suspend"):
        return READY
    counts = [f"{_count(status, each)} {each}" for each in ("active", "succeeded", "failed")]
    return _pending(f"pods: {', '.join(counts)}")


def _pod(spec: Mapping[str, Any], status: Mapping[str, Any], metadata: Mapping[str, Any]) -> Progress:
    phase = status.get("phase") or "Pending"
    if phase == "Failed":
        return Progress(State.FAILED, ("it has failed",))
    if phase == "Succeeded" or conditions(status).get("Ready", {}).get("status") == "True":
        return READY
    return _pending(f"{phase}, and not ready")


def _condition(name: str) -> Callable[[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]], Progress]:
    def judge(spec: Mapping[str, Any], status: Mapping[str, Any], metadata: Mapping[str, Any]) -> Progress:
        condition = conditions(status).get(name, {})
        if condition.get("status") == "True":
            return READY
        return _pending(f"not {name}: {condition.get('message') or 'nothing is said of it'}")

    return judge


_JUDGES = {
    ("apps", "Deployment"): _deployment,
    ("apps", "StatefulSet"): _stateful_set,
    ("apps", "DaemonSet"): _daemon_set,
    ("batch", "Job"): _job,
    ("", "Pod"): _pod,
    ("apiextensions.k8s.io", "CustomResourceDefinition"): _condition("Established"),
    ("apiregistration.k8s.io", "APIService"): _condition("Available"),
}


def _is_old(status: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    """Whether a status is of before the last change."""
    return _count(status, "observedGeneration") < int(metadata.get("generation") or 0)


def _count(status: Mapping[str, Any], name: str) -> int:
    return int(status.get(name) or 0)


def _pending(what: str) -> Progress:
    return Progress(State.PENDING, (what,))
