"""What an upgrade would change: rendered manifests compared, without showing what Secrets hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import yaml  # type: ignore[import-untyped]

from airflow_eks_dask.manifests.difference import difference as object_difference


@dataclass(frozen=True)
class Rendered:
    """
    What a revision of a release consists of, as Helm's JSON tells it.

    :param values: The values given to the chart. They may be secret.
    :param objects: The manifests, hooks included, by what each is called. They may be secret.
    """

    values: dict[str, Any] = field(default_factory=dict, repr=False)
    objects: dict[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_json(cls, release: dict[str, Any]) -> Rendered:
        """Read a release as ``helm status`` and ``helm upgrade`` write it with ``--output json``."""
        objects: dict[str, Any] = {}
        for manifest in [release.get("manifest") or "", *(each["manifest"] for each in release.get("hooks") or [])]:
            objects |= _objects(manifest)
        return cls(values=release.get("config") or {}, objects=objects)


def difference(before: Rendered, after: Rendered) -> list[str]:
    """
    Return the lines of a unified diff, object by object; none if all objects are the same.

    Of a Secret the keys are shown, and whether what they hold has changed.
    """
    names = sorted(before.objects.keys() | after.objects.keys())
    return [
        line for name in names for line in object_difference(name, before.objects.get(name), after.objects.get(name))
    ]


def _objects(manifest: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    # Helm has parsed it already; a tag that this reader does not know is of no matter to it.
    for document in yaml.load_all(manifest, yaml.BaseLoader):
        if isinstance(document, dict):
            metadata = document.get("metadata") or {}
            parts = [document.get("kind", ""), metadata.get("namespace", ""), metadata.get("name", "")]
            found["/".join(filter(None, parts))] = document
    return found
