"""Wait for objects to be gone, or for their kinds to be served."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.manifests.errors import ManifestError
from airflow_eks_dask.manifests.objects import conditions

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from airflow_eks_dask.manifests.api import ObjectApi
    from airflow_eks_dask.manifests.objects import Reference


def wait_until_gone(
    api: ObjectApi, references: Collection[Reference], *, deadline: float, poll_interval: float
) -> None:
    """
    Wait until objects that are being deleted are gone.

    :param deadline: On the clock of :func:`time.monotonic`.
    :param poll_interval: Seconds between two looks.
    :raises ManifestError: Some are left when the time is over.
    :raises KubernetesError: Kubernetes refused, or was not reached.
    """
    while left := still_there(api, references):
        if time.monotonic() > deadline:
            raise ManifestError.of("These are not gone in time", left)
        time.sleep(poll_interval)


def still_there(api: ObjectApi, references: Collection[Reference]) -> list[str]:
    """
    Return what is left, each with what keeps it.

    :raises KubernetesError: Kubernetes refused, or was not reached.
    """
    found = [(each, api.get(each)) for each in references]
    # One that is not ending is another, made since.
    return [f"{each}{_kept_by(left)}" for each, left in found if left and left["metadata"].get("deletionTimestamp")]


def wait_until_served(
    api: ObjectApi, definitions: Mapping[Reference, Mapping[str, Any]], *, deadline: float, poll_interval: float
) -> None:
    """
    Wait until the server knows kinds whose definitions were applied.

    :param definitions: The CustomResourceDefinitions.
    :param deadline: On the clock of :func:`time.monotonic`.
    :param poll_interval: Seconds between two looks.
    :raises ManifestError: It does not know them when the time is over.
    :raises KubernetesError: Kubernetes refused, or was not reached.
    """
    while left := [each for each, definition in definitions.items() if not _is_served(api, each, definition)]:
        if time.monotonic() > deadline:
            raise ManifestError.of("These are not established in time", [_not_established(api, each) for each in left])
        time.sleep(poll_interval)


def _is_served(api: ObjectApi, reference: Reference, definition: Mapping[str, Any]) -> bool:
    if conditions((api.get(reference) or {}).get("status")).get("Established", {}).get("status") != "True":
        return False
    spec = definition["spec"]
    versions = [each["name"] for each in spec.get("versions") or () if each.get("served")]
    return all(api.kind(f"{spec['group']}/{version}", spec["names"]["kind"]) for version in versions)


def _not_established(api: ObjectApi, reference: Reference) -> str:
    said = [
        each.get("message")
        for each in conditions((api.get(reference) or {}).get("status")).values()
        if each.get("status") != "True"
    ]
    return f"{reference}: {'; '.join(filter(None, said)) or 'the server says nothing of it'}"


def _kept_by(found: Mapping[str, Any]) -> str:
    metadata = found["metadata"]
    finalizers = [*(metadata.get("finalizers") or ()), *((found.get("spec") or {}).get("finalizers") or ())]
    kept = f"; it waits for {', '.join(finalizers)}" if finalizers else ""
    said = [
        each["message"]
        for each in conditions(found.get("status")).values()
        if each.get("status") == "True" and each.get("message") and found.get("kind") == "Namespace"
    ]
    return f": deleted since {metadata['deletionTimestamp']}{kept}{''.join(f'; {each}' for each in said)}"
