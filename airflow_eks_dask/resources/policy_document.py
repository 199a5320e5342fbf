"""IAM policy documents: the same meaning can be written in many ways, and AWS gives back another than it got."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_OLDEST = "2008-10-17"
"""The version of the language that a document has which names none."""

_ROOT = re.compile(r"arn:aws[a-z-]*:iam::(?P<account>\d{12}):root")


def is_same(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> bool:
    """
    Whether two policy documents mean the same.

    Neither the order of statements, actions, resources, principals and values matters, nor whether one of them stands
    in a list, nor the names of statements. Source:
    https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html.
    """
    return _meaning(one) == _meaning(other)


def _meaning(document: Mapping[str, Any] | None) -> tuple[str, list[str]] | None:
    if not document:
        return None
    statements = (_statement(statement) for statement in _as_list(document.get("Statement", [])))
    return document.get("Version", _OLDEST), sorted(json.dumps(statement, sort_keys=True) for statement in statements)


def _statement(statement: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _element(key, value) for key, value in statement.items() if key != "Sid"}


def _element(key: str, value: Any) -> Any:
    if key in ("Principal", "NotPrincipal"):
        return _principal(value)
    if key in ("Action", "NotAction"):
        return sorted({action.lower() for action in _as_list(value)})
    if key in ("Resource", "NotResource"):
        return sorted(set(_as_list(value)))
    if key == "Condition":
        return {
            operator.lower(): {
                name.lower(): sorted({_text(each) for each in _as_list(values)}) for name, values in conditions.items()
            }
            for operator, conditions in value.items()
        }
    return value


def _principal(value: Any) -> Any:
    everybody = {"AWS": "*"} if value == "*" else value
    return {kind: sorted({_account(each) for each in _as_list(names)}) for kind, names in everybody.items()}


def _account(principal: str) -> str:
    """Return an account's number for the ARN of its root: they mean the same."""
    if root := _ROOT.fullmatch(principal):
        return root["account"]
    return principal


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
