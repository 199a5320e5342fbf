"""What an upgrade would change: rendered manifests compared, without showing what Secrets hold."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from typing import Any

import yaml  # type: ignore[import-untyped]

HIDDEN = "<hidden>"
HIDDEN_AND_CHANGED = "<hidden, and changed>"


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
    lines: list[str] = []
    for name in sorted(before.objects.keys() | after.objects.keys()):
        old, new = before.objects.get(name), after.objects.get(name)
        if old != new:
            shown_old, shown_new = _without_secrets(old, {}), _without_secrets(new, old or {})
            lines += difflib.unified_diff(
                _yaml(shown_old), _yaml(shown_new), f"before/{name}", f"after/{name}", n=3, lineterm=""
            )
    return lines


def _objects(manifest: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    # Helm has parsed it already; a tag that this reader does not know is of no matter to it.
    for document in yaml.load_all(manifest, yaml.BaseLoader):
        if isinstance(document, dict):
            metadata = document.get("metadata") or {}
            parts = [document.get("kind", ""), metadata.get("namespace", ""), metadata.get("name", "")]
            found["/".join(filter(None, parts))] = document
    return found


def _without_secrets(each: Any, before: dict[str, Any]) -> Any:
    if not isinstance(each, dict) or each.get("kind") != "Secret":
        return each
    shown = dict(each)
    for part in ("data", "stringData"):
        former = before.get(part) or {}
        if isinstance(each.get(part), dict):
            shown[part] = {
                key: HIDDEN if not before or former.get(key) == value else HIDDEN_AND_CHANGED
                for key, value in each[part].items()
            }
    return shown


def _yaml(value: Any) -> list[str]:
    if value is None:
        return []
    return str(yaml.safe_dump(value, sort_keys=True, default_flow_style=False)).splitlines()
