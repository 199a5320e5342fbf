"""What really ran, written down by the tasks themselves and by the kernel's word on their deaths."""

from __future__ import annotations

import json
import os
import selectors
import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from typing_extensions import Self

Key = tuple[str, str, int, str, int]
"""Dag, task, map index, run, try."""

LOOK = 0.05


@dataclass(slots=True)
class Start:
    """
    One process that began a try.

    :param ended: When the task had done its work; None if it never had.
    :param died: When its process was gone.
    """

    key: Key
    pid: int
    started: float
    ended: float | None = None
    died: float | None = None

    @property
    def task(self) -> tuple[str, str, int, str]:
        """What all tries of one task have in common."""
        return self.key[:4]


@dataclass
class Ledger:
    """
    Follows the file that tasks write to, and watches their processes.

    :param file: Made if it does not exist.
    """

    file: Path
    starts: list[Start] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.file.touch()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="ledger", daemon=True)
        self._selector = selectors.DefaultSelector()
        self._last: dict[tuple[int, Key], Start] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(10)
        for key in list(self._selector.get_map().values()):
            os.close(key.fd)
        self._selector.close()

    def running(self) -> list[Start]:
        """Return those whose process lives."""
        return [start for start in list(self.starts) if start.died is None]

    def _follow(self) -> None:
        with self.file.open() as lines:
            rest = ""
            while not self._stop.is_set():
                rest += lines.read()
                *whole, rest = rest.split("\n")
                for line in whole:
                    self._take(json.loads(line))
                for key, _ in self._selector.select(LOOK):
                    key.data.died = time.time()
                    self._selector.unregister(key.fd)
                    os.close(key.fd)
                if not self._selector.get_map():
                    self._stop.wait(LOOK)

    def _take(self, line: dict) -> None:
        dag, task, map_index, run, try_number = line["key"]
        key = (dag, task, map_index, run, try_number)
        if line["what"] == "end":
            self._last[line["pid"], key].ended = line["time"]
            return
        start = self._last[line["pid"], key] = Start(key, line["pid"], line["time"])
        self.starts.append(start)
        try:
            descriptor = os.pidfd_open(line["pid"])
        except ProcessLookupError:
            start.died = time.time()
        else:
            self._selector.register(descriptor, selectors.EVENT_READ, start)


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
