"""What is wanted in a cluster: the objects that manifests describe, each with its namespace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eks_dask.manifests import documents as manifests
from airflow_eks_dask.manifests import ownership
from airflow_eks_dask.manifests.errors import ManifestError
from airflow_eks_dask.manifests.objects import Reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_eks_dask.manifests.api import ObjectApi


def wanted_objects(
    api: ObjectApi, documents: Iterable[Mapping[str, Any]], *, owner: str, namespace: str, needs_kinds: bool = True
) -> dict[Reference, Mapping[str, Any]]:
    """
    Return the manifests by object.

    :param api: Of the cluster.
    :param documents: The manifests; lists among them are taken apart.
    :param owner: Whose they are.
    :param namespace: Of objects that name none, and whose kind has one.
    :param needs_kinds: Whether a kind that the cluster does not know is an error.
    :raises ManifestError: Something is wrong with them: all of it is told at once.
    :raises KubernetesError: Kubernetes refused, or was not reached.
    """
    flat = list(manifests.flattened(documents))
    found = ownership.problems(owner) + manifests.namespace_problems(namespace) + manifests.problems(flat)
    if not flat:
        found.append("there is no manifest")
    if found:
        raise ManifestError.of("The manifests can't be applied", found)
    scopes = _defined(flat)
    objects: list[tuple[Reference, Mapping[str, Any]]] = []
    for document in flat:
        version, kind = document["apiVersion"], document["kind"]
        known = api.kind(version, kind)
        scope = known.namespaced if known else scopes.get((version.rpartition("/")[0], kind))
        own = document["metadata"].get("namespace")
        reference = Reference(version, kind, (own or namespace) if scope else None, document["metadata"]["name"])
        if scope is None and needs_kinds:
            found.append(f"{reference}: the cluster knows no {kind} of {version}")
        if own and scope is False:
            found.append(f"{reference}: its kind has no namespaces, and it names {own!r}")
        found += _label_problems(reference, document, owner)
        objects.append((reference, document))
    found += manifests.duplicates(reference for reference, _ in objects)
    if found:
        raise ManifestError.of("The manifests can't be applied", found)
    return dict(objects)


def _defined(documents: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], bool]:
    """Return the kinds that are defined among the manifests: whether each has namespaces, by group and name."""
    found = {}
    for document in documents:
        spec = document.get("spec")
        if document["kind"] == "CustomResourceDefinition" and isinstance(spec, dict):
            kind = (spec.get("names") or {}).get("kind")
            found[spec.get("group", ""), kind or ""] = spec.get("scope") == "Namespaced"
    return found


def _label_problems(reference: Reference, document: Mapping[str, Any], owner: str) -> list[str]:
    given = (document["metadata"].get("labels") or {}).get(ownership.LABEL, owner)
    return [] if given == owner else [f"{reference}: its label {ownership.LABEL} is {given!r}, and not {owner!r}"]
