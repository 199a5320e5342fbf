"""
What reading a DAG file came to depend on, and whether its result may be used again.

While the file is read, Python tells of each file it opens and each folder it lists
(:ref:`audit events <library:audit-events>`), and of each function that the file's own code calls
(:func:`sys.setprofile`). The result may be used again for as long as all of those files and folders are as they were.
It may not be if the code asked for something else that may be different next time (a variable, a clock, a random
number, the network), or left something behind that processes can't share (a thread, an open file, a child).

Not seen is what libraries ask for in turn, and what is read by code other than Python's. So no result is used for long.
"""

from __future__ import annotations

import os
import random
import sys
import sysconfig
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

import airflow_eks_dask
from airflow_eks_dask.worker import random_numbers

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

State = tuple[int, ...] | None
"""What tells a version of a file from another; None: there is none."""

_LIBRARIES = (
    *{f"{sysconfig.get_path(name)}/" for name in ("stdlib", "platstdlib", "purelib", "platlib")},
    f"{Path(airflow_eks_dask.__file__).parent}/",
    "<frozen ",
)
"""What is below these stays as it is while a launcher runs: that has imported most of it."""

_CHANGES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

_EFFECTS = (
    "os.exec",
    "os.fork",
    "os.kill",
    "os.link",
    "os.mkdir",
    "os.posix_spawn",
    "os.remove",
    "os.rename",
    "os.rmdir",
    "os.symlink",
    "os.system",
    "os.truncate",
    "os.utime",
    "pty.",
    "shutil.",
    "socket.connect",
    "socket.get",
    "socket.send",
    "sqlite3.",
    "subprocess.",
    "sys.setprofile",
    "tempfile.",
)
"""Beginnings of audit events: what code does to the world outside its process, or asks of it."""

_NOT_TWICE = frozenset(
    {
        *(name for name in dir(random.Random) if not name.startswith("_")),
        *("now", "today", "utcnow", "yesterday", "tomorrow", "days_ago"),
        *("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "localtime", "gmtime", "strftime", "ctime"),
        *("uuid1", "uuid4", "urandom", "token_bytes", "token_hex", "token_urlsafe", "randbelow", "getpid", "getppid"),
        *("stat", "lstat", "exists", "lexists", "isfile", "isdir", "is_file", "is_dir", "getmtime", "getsize"),
        "get_parsing_context",
        *("signal", "addHandler", "removeHandler", "addFilter", "setLevel", "basicConfig", "dictConfig", "fileConfig"),
    }
)
"""
Functions that may return something else the next time or for another task, or whose effect would be undone before a
task begins. One too many only costs time.
"""


class NotKeptError(Exception):
    """Why the result of reading a DAG file may not be used again."""


@dataclass
class Reading:
    """
    What one reading depends on.

    :param begun: When it began, by the monotonic clock.
    :param states: Of each file and folder, by path, before it was read.
    :param obstacles: Why its result may not be used again.
    """

    begun: float = field(default_factory=time.monotonic)
    states: dict[str, State] = field(default_factory=dict)
    obstacles: list[str] = field(default_factory=list)

    def note(self, path: str) -> None:
        """Take down the state of a file or folder, the first time it is met."""
        path = str(Path(path).absolute())
        if path not in self.states and not _is_library(path):
            self.states[path] = _state(path)

    def is_older_than(self, seconds: float) -> bool:
        """Return whether it began longer ago."""
        return time.monotonic() - self.begun >= seconds

    def is_current(self) -> bool:
        """Return whether all that was read is as it was."""
        return all(_state(path) == state for path, state in self.states.items())

    def check(self) -> None:
        """
        Check whether the result may be used again at all.

        :raises NotKeptError: It may not.
        """
        if self.obstacles:
            raise NotKeptError(self.obstacles[0])

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take down an audit event."""
        if event == "open":
            self._opened(*arguments)
        elif event in ("os.listdir", "os.scandir"):
            self._listed(*arguments)
        elif event.startswith(_EFFECTS):
            self.obstacles.append(f"{event} while it is read")

    def _listed(self, path: object) -> None:
        if isinstance(path, int):
            self.obstacles.append("a folder is listed by its descriptor while it is read")
        else:
            self.note(os.fsdecode(path or "."))  # type: ignore[arg-type]

    def _opened(self, path: object, mode: str | None, flags: int) -> None:
        if isinstance(path, int) or path is None:
            return
        name = os.fsdecode(path)  # type: ignore[arg-type]
        if flags & _CHANGES or name.startswith(("/proc/", "/sys/", "/dev/")):
            self.obstacles.append(f"{name} is opened while it is read")
        elif not name.endswith(".pyc"):  # the source file that it is of is noted
            self.note(name)

    def called(self, frame: FrameType, event: str, argument: Any) -> None:
        """Take down a call, as :func:`sys.setprofile` has it."""
        if event == "c_call":
            name, caller = getattr(argument, "__name__", ""), frame
        elif event == "call" and frame.f_back is not None:
            name, caller = frame.f_code.co_name, frame.f_back
        else:
            return
        if name in _NOT_TWICE and not _is_library(caller.f_code.co_filename):
            self.obstacles.append(f"{caller.f_code.co_filename}:{caller.f_lineno} calls {name}()")


_observed: Reading | None = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _observed is not None:
        _observed.heard(event, arguments)


@contextmanager
def observed() -> Iterator[Reading]:
    """
    Observe what is read meanwhile. Once in a process: audit hooks stay.

    The process must have one thread.
    """
    global _observed
    reading = Reading()
    path_stats, dont_write_bytecode = SourceFileLoader.path_stats, sys.dont_write_bytecode

    def noting(self: SourceFileLoader, path: str) -> Any:
        # Before the file is read, and where its compiled form is read instead of it.
        reading.note(path)
        return path_stats(self, path)

    descriptors, numbers = _descriptors(), random_numbers.state()
    SourceFileLoader.path_stats = noting  # type: ignore[method-assign]
    sys.dont_write_bytecode = True
    sys.addaudithook(_audit)
    sys.setprofile(reading.called)
    _observed = reading
    try:
        yield reading
    finally:
        _observed = None
        sys.setprofile(None)
        sys.dont_write_bytecode = dont_write_bytecode
        SourceFileLoader.path_stats = path_stats  # type: ignore[method-assign]
    if random_numbers.state() != numbers:
        reading.obstacles.append("it seeds or draws numpy's random numbers, or imports numpy")
    process = psutil.Process()
    if process.num_threads() > 1:
        reading.obstacles.append("it leaves a thread running")
    if process.children():
        reading.obstacles.append("it leaves a process running")
    if _descriptors() - descriptors:
        reading.obstacles.append("it leaves a file or a socket open")


def _descriptors() -> set[str]:
    # The one that lists them has been closed by then, and comes out the same both times.
    return {each.name for each in Path("/proc/self/fd").iterdir()}


@cache
def _is_library(path: str) -> bool:
    return path.startswith(_LIBRARIES)


def _state(path: str) -> State:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
