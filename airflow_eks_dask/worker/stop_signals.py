"""
SIGTERM and SIGINT to a ``dask worker``: the first asks it to leave when its workloads have ended, the next at once.

``dask worker`` has no hook for that: with a nanny it closes the worker within 10 s of a signal, without one it simply
returns from its event loop. So the handlers of its processes are replaced here, and of no others: a process that
hosts a ``LocalCluster`` keeps its own.
"""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

NUMBERS = (signal.SIGTERM, signal.SIGINT)


class StopSignals:
    """
    Counts the signals, and tells.

    :param loop: Where to tell.
    :param tell: Called with each signal and how many have come.
    :param pass_on: Whether Dask's own handler hears of the first one too.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, tell: Callable[[signal.Signals, int], None], *, pass_on: bool
    ) -> None:
        self._loop = loop
        self._tell = tell
        self._pass_on = pass_on
        self._previous: dict[int, Any] = {}
        self.count = 0

    def install(self) -> None:
        """Install the handlers; again, if Dask has put back what it found."""
        for number in NUMBERS:
            current = signal.getsignal(number)
            if current != self._handle:
                self._previous[number] = current
                signal.signal(number, self._handle)

    def uninstall(self) -> None:
        """Put back the handlers found, where no one else has."""
        for number, previous in self._previous.items():
            if signal.getsignal(number) == self._handle:
                signal.signal(number, previous)

    def _handle(self, number: int, frame: Any) -> None:
        # No logging: a handler may interrupt a write to the log.
        self.count += 1
        if self._pass_on and self.count == 1:
            self._previous[number](number, frame)
        self._loop.call_soon_threadsafe(self._tell, signal.Signals(number), self.count)


def is_dask_command() -> bool:
    """Whether this is the main thread of ``dask worker``, which waits for signals."""
    return _in_main_thread() and all(
        getattr(signal.getsignal(number), "__module__", "") == "distributed._signals" for number in NUMBERS
    )


def is_left_to_default() -> bool:
    """Whether this is a main thread in which nothing handles or ignores the signals."""
    return _in_main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
