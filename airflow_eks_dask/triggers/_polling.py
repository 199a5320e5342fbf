"""What triggers have in common that look at something again and again, as nobody tells them when it has come about."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from airflow.triggers.base import BaseTrigger
from asgiref.sync import sync_to_async

if TYPE_CHECKING:
    from collections.abc import Callable

Seen = TypeVar("Seen")


class PollingTrigger(BaseTrigger):
    """A trigger that is made again of what it was made of. It keeps each of its arguments under its name."""

    arguments: ClassVar[tuple[str, ...]]
    """The names of its arguments."""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the import path of this class and the arguments to make it again."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        return path, {name: getattr(self, name) for name in self.arguments}


async def look_until(
    is_over: Callable[[Seen], bool], look: Callable[[], Seen], *, interval: float, deadline: float
) -> Seen:
    """
    Look, in a thread, until it is over or the deadline has passed; return what was seen last.

    :param is_over: Whether there is nothing left to wait for.
    :param look: Looks; it may take a while.
    :param interval: Seconds between two looks.
    :param deadline: Seconds since the epoch after which waiting is no use.
    """
    look_in_thread = sync_to_async(look, thread_sensitive=False)
    # Nothing tells us when something has come about elsewhere.
    while not is_over(seen := await look_in_thread()) and time.time() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(interval)
    return seen
