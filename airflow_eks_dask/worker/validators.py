"""
Have Airflow build its validators once, before workloads are forked, and not in each of them.

The task runner makes pydantic's :class:`~pydantic.TypeAdapter` of all messages that a supervisor may send, twice, and
of JSON for each rendered template: a third of the processor time of a task that does little. They hold no state.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

from pydantic import JsonValue, TypeAdapter

_MODULES = ("airflow.sdk.execution_time.comms", "airflow.sdk.execution_time.task_runner")


@cache
def _of_hashable(type_: Any) -> TypeAdapter[Any]:
    return TypeAdapter(type_)


def _shared(type_: Any) -> TypeAdapter[Any]:
    try:
        return _of_hashable(type_)
    except TypeError:  # what can't be looked up is made anew
        return TypeAdapter(type_)


def share_validators() -> None:
    """Make the validators of this process and of its children shared; where Airflow makes none, nothing happens."""
    import msgspec
    from airflow.sdk.execution_time import comms

    for module in map(importlib.import_module, _MODULES):
        if getattr(module, "TypeAdapter", None) is TypeAdapter:
            module.TypeAdapter = _shared  # type: ignore[attr-defined]
    for type_ in (comms.ToTask, comms.StartupDetails, JsonValue):
        _shared(type_)
    # msgspec, too, looks into a type when it is first decoded.
    for frame in (comms._RequestFrame, comms._ResponseFrame):
        msgspec.msgpack.Decoder(frame)
