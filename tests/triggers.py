"""Triggers, as the triggerer runs them."""

from __future__ import annotations

import asyncio
import json
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger


def run_trigger(trigger: BaseTrigger) -> Any:
    """Make a trigger again of what is kept of it in the database, and return its event."""
    path, arguments = json.loads(json.dumps(trigger.serialize()))
    module, _, name = path.rpartition(".")

    async def first():
        return await anext(getattr(import_module(module), name)(**arguments).run())

    return asyncio.run(first()).payload
