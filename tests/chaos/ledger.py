"""What really ran, written down as the tasks themselves tell it, and by the kernel's word on their deaths."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from typing_extensions import Self

Key = tuple[str, str, int, str, int]
"""Dag, task, map index, run, try."""

LOOK = 0.05


@dataclass(slots=True)
class Start:
    """
    One process that began a try.

    :param host: Name of its machine or pod.
    :param ended: When the task had done its work; None if it never had.
    :param died: When its process was gone.
    """

    key: Key
    pid: int
    started: float
    ended: float | None = None
    died: float | None = None
    host: str = ""

    @property
    def task(self) -> tuple[str, str, int, str]:
        """What all tries of one task have in common."""
        return self.key[:4]


class _Tasks(ThreadingTCPServer):
    """Listens to tasks; each has a connection of its own."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, host: str, starts: list[Start]) -> None:
        super().__init__((host, 0), _Told)
        self.starts = starts


class _Told(StreamRequestHandler):
    """What one task's process tells: a line of JSON when it starts and when it ends, each of which is confirmed."""

    server: _Tasks

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # A pod whose network went before its processes says no goodbye.
        for option, value in ((socket.TCP_KEEPIDLE, 5), (socket.TCP_KEEPINTVL, 2), (socket.TCP_KEEPCNT, 3)):
            self.connection.setsockopt(socket.IPPROTO_TCP, option, value)

    def handle(self) -> None:
        start: Start | None = None
        with suppress(OSError):  # however the connection ends, the process has ended
            while (line := self.rfile.readline()).endswith(b"\n"):
                told = json.loads(line)
                if start is None:
                    dag, task, map_index, run, try_number = told["key"]
                    key = (dag, task, map_index, run, try_number)
                    start = Start(key, told["pid"], told["time"], host=told["host"])
                    self.server.starts.append(start)
                else:
                    start.ended = told["time"]
                self.wfile.write(b".")
        if start is not None:
            start.died = time.time()


@dataclass
class Ledger:
    """
    Listens to tasks, whose processes keep their connections open: the kernel closes them when a process is gone.

    :param host: IP address of this machine by which tasks reach it.
    """

    host: str = "127.0.0.1"
    starts: list[Start] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._server = _Tasks(self.host, self.starts)
        self._thread = threading.Thread(target=self._server.serve_forever, name="ledger", daemon=True)

    @property
    def address(self) -> str:
        """Where tasks tell: host and port."""
        return f"{self.host}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def running(self) -> list[Start]:
        """Return those whose process lives."""
        return [start for start in list(self.starts) if start.died is None]


def duplicated(starts: Iterable[Start]) -> list[Key]:
    """Return the tries that were begun more than once."""
    seen: set[Key] = set()
    twice = []
    for start in starts:
        if start.key in seen:
            twice.append(start.key)
        seen.add(start.key)
    return twice


def overlapping(starts: Iterable[Start]) -> list[Key]:
    """Return the tries that began while another process of the same task still lived."""
    by_task: dict[tuple[str, str, int, str], list[Start]] = {}
    for start in starts:
        by_task.setdefault(start.task, []).append(start)
    return [
        later.key
        for tries in by_task.values()
        for earlier, later in pairwise(sorted(tries, key=lambda start: start.started))
        if earlier.died is None or earlier.died > later.started
    ]


def first_start_after(starts: Iterable[Start], moment: float) -> float | None:
    """Return the seconds from a moment to the first start after it."""
    after = [start.started for start in starts if start.started > moment]
    return min(after) - moment if after else None


def busy_again(starts: Iterable[Start], moment: float, slots: int) -> float | None:
    """
    Return the seconds from a moment until every slot has a task that began after it, or went on through it.

    :return: None if that was not seen: too little was left to run.
    """
    events = []
    for start in starts:
        events += [(start.started, 1), (start.died or float("inf"), -1)]
    running, was_idle = 0, False
    for when, change in sorted(events):
        running += change
        if when > moment:
            was_idle |= running < slots
            if was_idle and running >= slots:
                return when - moment
    return None


def wait(look: Callable[[], object], timeout: float, what: Callable[[], str]) -> None:
    """
    Wait until something is true.

    :raises TimeoutError: It was not, in time.
    """
    deadline = time.monotonic() + timeout
    while not look():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout:g} s: {what()}")
        time.sleep(LOOK)
