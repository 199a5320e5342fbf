"""Objects compared, without showing what Secrets hold."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Mapping

HIDDEN = "<hidden>"
HIDDEN_AND_CHANGED = "<hidden, and changed>"

_OF_THE_SERVER = ("managedFields", "resourceVersion", "generation", "uid", "creationTimestamp", "selfLink")
"""Of metadata: what nobody applies."""

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
"""The annotation in which ``kubectl apply`` keeps all of an object: of a Secret, what it holds too."""


def difference(name: str, before: Any, after: Any) -> list[str]:
    """
    Return the lines of a unified diff of an object; none if it stays the same.

    Of a Secret the keys are shown, and whether what they hold has changed.

    :param before: None: there is none.
    :param after: None: there is none any more.
    """
    if before == after:
        return []
    shown = _lines(_without_secrets(before, {})), _lines(_without_secrets(after, before or {}))
    return list(difflib.unified_diff(*shown, f"before/{name}", f"after/{name}", n=3, lineterm=""))


def essential(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object without what only the server says of it."""
    metadata = {key: value for key, value in (found.get("metadata") or {}).items() if key not in _OF_THE_SERVER}
    return {key: value for key, value in found.items() if key != "status"} | {"metadata": metadata}


def _without_secrets(each: Any, before: Mapping[str, Any]) -> Any:
    if not isinstance(each, dict) or each.get("kind") != "Secret":
        return each
    shown = dict(each)
    for part in ("data", "stringData"):
        if isinstance(each.get(part), dict):
            shown[part] = _hidden(each[part], before.get(part) or {} if before else None)
    annotations = (each.get("metadata") or {}).get("annotations") or {}
    if _LAST_APPLIED in annotations:
        shown["metadata"] = {**each["metadata"], "annotations": {**annotations, _LAST_APPLIED: HIDDEN}}
    return shown


def _hidden(values: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, str]:
    same = values if before is None else before
    return {key: HIDDEN if same.get(key) == value else HIDDEN_AND_CHANGED for key, value in values.items()}


def _lines(value: Any) -> list[str]:
    if value is None:
        return []
    return str(yaml.safe_dump(value, sort_keys=True, default_flow_style=False)).splitlines()
