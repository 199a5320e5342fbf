"""Have objects be gone that manifests describe, where they are ours."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.manifests import ownership
from airflow_eks_dask.manifests.api import object_api
from airflow_eks_dask.manifests.errors import ManifestError
from airflow_eks_dask.manifests.objects import Change, ObjectAction
from airflow_eks_dask.manifests.order import deletion_stages
from airflow_eks_dask.manifests.waiting import wait_until_gone
from airflow_eks_dask.manifests.wanted import wanted_objects

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import kubernetes.client  # type: ignore[import-untyped]

    from airflow_eks_dask.manifests.api import ObjectApi
    from airflow_eks_dask.manifests.objects import Reference

_log = logging.getLogger(__name__)


def delete(
    client: kubernetes.client.ApiClient,
    documents: Iterable[Mapping[str, Any]],
    *,
    owner: str,
    namespace: str = "default",
    propagation: str = "Foreground",
    dry_run: bool = False,
    timeout: float = 300,
    poll_interval: float = 1,
) -> list[Change]:
    """
    Delete the objects that manifests describe, and wait until they are gone; what is not the owner's stays.

    They go in reverse order of applying, custom resources before all else. Where nothing is, nothing happens.

    :param client: Of the cluster.
    :param documents: The manifests; of each only what the object is called counts.
    :param owner: Whose the objects are: the value of the label that they got when they were applied.
    :param namespace: Of objects that name none, and whose kind has one.
    :param propagation: One of :data:`.PROPAGATIONS`.
    :param dry_run: Whether to say only what would be deleted.
    :param timeout: Seconds that all of it may take.
    :param poll_interval: Seconds between two looks.
    :raises ManifestError: Something is wrong with the manifests, or objects are not gone in time.
    :raises KubernetesError: Kubernetes refused, or was not reached.
    """
    deadline = time.monotonic() + timeout
    with object_api(client) as api:
        references = wanted_objects(api, documents, owner=owner, namespace=namespace, needs_kinds=False)
        changes = plan_deletion(api, references, owner)
        while not dry_run and (ending := delete_next(api, references, owner=owner, propagation=propagation)):
            wait_until_gone(api, ending, deadline=deadline, poll_interval=poll_interval)
            if time.monotonic() > deadline:
                raise ManifestError(f"Not all is gone after {timeout:g} s. Run it again to go on")
        return changes


def plan_deletion(api: ObjectApi, references: Iterable[Reference], owner: str) -> list[Change]:
    """
    Return what there is to delete, in order, and what is absent or another's.

    :raises KubernetesError: Kubernetes refused, or was not reached.
    """
    return [_judged(each, api.get(each), owner) for stage in deletion_stages(references) for each in stage]


def delete_next(api: ObjectApi, references: Iterable[Reference], *, owner: str, propagation: str) -> list[Reference]:
    """
    Delete what goes next, and return it: it has to be gone before this is called again; empty when nothing is left.

    :raises KubernetesError: Kubernetes refused, or was not reached.
    """
    for stage in deletion_stages(references):
        ending = []
        for reference in stage:
            found = api.get(reference)
            if found is None or _judged(reference, found, owner).action is not ObjectAction.DELETE:
                continue
            ending.append(reference)
            if not found["metadata"].get("deletionTimestamp"):
                _log.info("Deleting %s", reference)
                api.delete(reference, found["metadata"]["uid"], propagation)
        if ending:
            return ending
    return []


def _judged(reference: Reference, found: Mapping[str, Any] | None, owner: str) -> Change:
    if found is None:
        return Change(reference, ObjectAction.ABSENT)
    if refusal := ownership.refusal(owner, found):
        return Change(reference, ObjectAction.KEEP, reason=refusal)
    return Change(reference, ObjectAction.DELETE)
