"""Read the wanted state of a resource from what a user or a template gave: texts become what they stand for."""

from __future__ import annotations

from dataclasses import MISSING, fields
from functools import cache
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from airflow_eks_dask.resources.base import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from _typeshed import DataclassInstance
    from pydantic_core import ErrorDetails


def read_wanted(
    resource_class: type[DataclassInstance], given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str]]:
    """
    Return the fields as they are declared; and why others can't be read so, by field.

    A template makes texts: ``"3"`` stands for a number where one is due, ``"false"`` for a truth value. Nothing else is
    taken for what it is not.

    :param resource_class: Whose fields they are; or another dataclass that tells what is wanted.
    :param given: Values by field; those that are missing have defaults, or are among what can't be read.
    """
    adapters = _adapters(resource_class)
    read: dict[str, Any] = {}
    unread = {name: f"{name}: is needed" for name in sorted(needed_fields(resource_class) - set(given))}
    for name, value in given.items():
        # In a dry run nobody knows yet what stands for it.
        if isinstance(value, str) and value == UNKNOWN:
            read[name] = value
            continue
        try:
            read[name] = adapters[name].validate_python(value, strict=isinstance(value, (bool, int, float)))
        except ValidationError as error:
            unread[name] = "; ".join(_told(name, each) for each in error.errors())
    return read, unread


def needed_fields(resource_class: type[DataclassInstance]) -> set[str]:
    """Return the names of the fields that have no default."""
    return {each.name for each in fields(resource_class) if each.default is each.default_factory is MISSING}


@cache
def _adapters(resource_class: type[DataclassInstance]) -> dict[str, TypeAdapter[Any]]:
    hints = get_type_hints(resource_class)
    return {each.name: TypeAdapter(hints[each.name]) for each in fields(resource_class)}


def _told(name: str, error: ErrorDetails) -> str:
    where = "".join(f"[{part!r}]" for part in error["loc"])
    said = error["msg"][:1].lower() + error["msg"][1:]
    return f"{name}{where} = {error['input']!r}: {said}"
