"""A worker's way out: take nothing new, let what runs finish for a while, end the rest, and only then leave."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

LAST_WAIT = 20.0
"""Seconds within which what is ended must have ended, and the Dask scheduler must know."""


class Departure:
    """
    One worker's departure; :meth:`start` begins it.

    :param worker: The worker's name.
    :param timeout: Seconds that what runs may take.
    :param announce: Tells the Dask scheduler, which answers through :meth:`drained` once it has heard how everything
        sent to this worker has ended. Until then more may arrive that it had sent before it knew.
    :param end_all: Ends everything that runs, with a reason.
    """

    def __init__(
        self, worker: str, timeout: float, announce: Callable[[], None], end_all: Callable[[str], None]
    ) -> None:
        self._worker = worker
        self._timeout = timeout
        self._announce = announce
        self._end_all = end_all
        self._drained = asyncio.Event()
        self._at_once = asyncio.Event()
        self._way: asyncio.Task[None] | None = None

    @property
    def started(self) -> bool:
        """Whether the worker is leaving."""
        return self._way is not None

    def start(self) -> None:
        """Begin, if it has not begun."""
        if self._way is None:
            self._way = asyncio.ensure_future(self._leave())

    def hurry(self) -> None:
        """End what runs at once."""
        self._at_once.set()

    def drained(self) -> None:
        """Note that nothing runs here any more and everyone knows."""
        self._drained.set()

    async def done(self, timeout: float | None = None) -> bool:
        """
        Wait until the worker may leave.

        :param timeout: Seconds; None: however long it takes.
        :return: Whether it may.
        """
        if self._way is not None:
            await asyncio.wait([self._way], timeout=timeout)
        return self._way is not None and self._way.done()

    async def _leave(self) -> None:
        self._announce()
        waits = [asyncio.ensure_future(event.wait()) for event in (self._drained, self._at_once)]
        await asyncio.wait(waits, timeout=self._timeout, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if self._drained.is_set():
            return
        told_twice = self._at_once.is_set()
        detail = "and told again before it had ended" if told_twice else f"and it did not end in {self._timeout:g} s"
        self._end_all(f"its worker {self._worker} was told to stop, {detail}")
        try:
            await asyncio.wait_for(self._drained.wait(), LAST_WAIT)
        except asyncio.TimeoutError:
            log.warning("The Dask scheduler did not confirm within %.0f s how workloads ended; leaving", LAST_WAIT)
