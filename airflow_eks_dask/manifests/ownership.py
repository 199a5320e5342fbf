"""Whose an object in Kubernetes is: its labels tell."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.resources.ownership import TAG

if TYPE_CHECKING:
    from collections.abc import Mapping

LABEL = TAG
"""Its value is the owner, such as the cluster that the object was made for: the same as on AWS."""

MANAGED_BY = "app.kubernetes.io/managed-by"
MANAGER = "airflow-eks-dask"
"""Who applies fields, unless another name is given; and the value of :data:`MANAGED_BY`."""

LONGEST_MANAGER = 128
"""Characters that Kubernetes takes for the name of one."""

_LABEL_VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


def problems(owner: object) -> list[str]:
    """Return what is wrong with an owner."""
    if isinstance(owner, str) and _LABEL_VALUE.fullmatch(owner):
        return []
    return [
        f"owner {owner!r} can be no label: 1 to 63 letters, digits, '-', '_' and '.', letter or digit first and last"
    ]


def labelled(document: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """Return a manifest with the labels of its owner."""
    metadata = document["metadata"]
    labels = {**(metadata.get("labels") or {}), MANAGED_BY: MANAGER, LABEL: owner}
    return {**document, "metadata": {**metadata, "labels": labels}}


def refusal(owner: str, found: Mapping[str, Any]) -> str | None:
    """Say why an object is not ours to change or delete; None if it is."""
    labels = (found.get("metadata") or {}).get("labels") or {}
    if labels.get(LABEL) == owner:
        return None
    if LABEL in labels:
        return f"it belongs to {labels[LABEL]!r}, and not to {owner!r} (label {LABEL})"
    by = f", but is managed by {labels[MANAGED_BY]}" if labels.get(MANAGED_BY) else ""
    return f"it was made by something else: it has no label {LABEL}{by}"
