"""In which order objects are applied, and deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_eks_dask.manifests.objects import Reference

FIRST = ("Namespace", "CustomResourceDefinition")
"""Others can't be made without them."""

_KINDS = (
    *FIRST,
    "PriorityClass",
    "StorageClass",
    "ResourceQuota",
    "LimitRange",
    "NetworkPolicy",
    "ServiceAccount",
    "Secret",
    "ConfigMap",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
    "Service",
    "DaemonSet",
    "Pod",
    "Deployment",
    "StatefulSet",
    "PodDisruptionBudget",
    "HorizontalPodAutoscaler",
    "Job",
    "CronJob",
    "Ingress",
    "APIService",
)
_RANKS = {kind: rank for rank, kind in enumerate(_KINDS)}

_LAST = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
"""They have a say in all that is made after them, and what answers for them has to run."""


def is_custom(reference: Reference) -> bool:
    """Whether Kubernetes itself does not know the kind: its own groups are words, or end with ``k8s.io``."""
    return "." in reference.group and not reference.group.endswith(".k8s.io")


def sorted_for_apply(references: Iterable[Reference]) -> list[Reference]:
    """Return what is needed before what needs it, and otherwise the order that was given."""
    return sorted(references, key=_rank)


def deletion_stages(references: Iterable[Reference]) -> list[list[Reference]]:
    """
    Return what goes first, and what only when that is gone, each in reverse order of applying.

    Custom resources go first: what runs in the cluster may have to clean up after them, which it can't once it is gone.
    """
    backwards = sorted_for_apply(references)[::-1]
    stages = [
        [each for each in backwards if is_custom(each) and each.kind not in FIRST],
        [each for each in backwards if not is_custom(each) and each.kind not in FIRST],
        [each for each in backwards if each.kind in FIRST],
    ]
    return [stage for stage in stages if stage]


def _rank(reference: Reference) -> int:
    if reference.kind in _LAST:
        return len(_KINDS) + 1
    return len(_KINDS) if is_custom(reference) else _RANKS.get(reference.kind, len(_KINDS))
