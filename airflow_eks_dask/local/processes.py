"""Child processes that end with the process that started them, whichever way that one ends."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from typing_extensions import Self

MARKER = "AIRFLOW_EKS_DASK_PROCESSES"
POLL_INTERVAL = 0.05


class LocalProcessError(RuntimeError):
    """A local process could not be started, or ended before it was asked to."""


def tail(file: Path, lines: int = 20) -> str:
    """Return the last lines of a text file, or a remark if there is none."""
    try:
        with file.open(encoding="utf-8", errors="replace") as text:
            return "".join(deque(text, maxlen=lines)).rstrip() or f"({file} is empty)"
    except FileNotFoundError:
        return f"({file} does not exist)"


@dataclass(frozen=True)
class Child:
    """A process started here, leader of its own session, with its output in a file."""

    name: str
    popen: subprocess.Popen[bytes]
    log_file: Path

    @property
    def running(self) -> bool:
        """Whether the process has not ended yet."""
        return self.popen.poll() is None

    def failure(self) -> str:
        """Say how the process ended, with the end of its output."""
        code = self.popen.returncode
        how = f"was ended by {signal.Signals(-code).name}" if code and code < 0 else f"exited with code {code}"
        return f"{self.name} {how}. The end of {self.log_file}:\n{tail(self.log_file)}"


def relatives(marker: str, sessions: Iterable[int]) -> list[psutil.Process]:
    """
    Return the living processes that carry a marker in their environment or belong to one of the sessions.

    Either alone misses some: a process may leave its session, and a program may overwrite its environment.

    :param marker: Value to look for; empty: look at the sessions only.
    """
    wanted = set(sessions)
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if os.getsid(process.pid) in wanted or (marker and process.environ().get(MARKER) == marker):
                found.append(process)
    return found


def end_all(marker: str, leaders: Mapping[int, signal.Signals], grace: float) -> None:
    """
    Ask each leader to end, wait, and kill what is left of them and of all they started.

    :param marker: What their environment carries.
    :param leaders: Process ids of session leaders, and the signal that asks each to end.
    :param grace: Seconds to wait between asking and killing.
    """
    family = relatives(marker, leaders)
    asked = [process for process in family if process.pid in leaders]
    # Twice: Airflow's scheduler loses a signal that comes while Python calls back for a weak reference.
    for _ in range(2):
        for process in asked:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(leaders[process.pid])
        _wait_until_gone(asked, grace / 2)
    # Twice: the first pass may miss what one of them was just starting.
    for _ in range(2):
        left = relatives(marker, leaders)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        _wait_until_gone(left, timeout=5)


def _wait_until_gone(processes: Sequence[psutil.Process], timeout: float) -> None:
    """Wait until each process ended; one that its parent has not collected yet counts as ended."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline and any(_alive(process) for process in processes):
        time.sleep(POLL_INTERVAL)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class ProcessSet:
    """
    Processes that are ended together: by ``close``, or by their guard when this process dies first.

    The guard is a small process (``guard.py``) that reads from a pipe whose other end only this process has. The
    kernel closes it even after SIGKILL. Linux's parent-death signal would be lost when PostgreSQL changes its user,
    and fires when the *thread* that started the child ends.

    :param directories: Directories to remove when the processes are ended.
    """

    def __init__(self, directories: Sequence[Path] = ()) -> None:
        self.marker = secrets.token_hex(8)
        self._directories = [str(directory) for directory in directories]
        self._leaders: dict[int, signal.Signals] = {}
        self._guard: subprocess.Popen[bytes] | None = None
        self._children: list[Child] = []

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        log_file: Path,
        env: Mapping[str, str],
        stop_signal: signal.Signals = signal.SIGTERM,
        **options: Any,
    ) -> Child:
        """
        Start a process in a session of its own.

        :param name: What messages call it.
        :param command: Program and arguments. No secrets: every user of the machine can read them.
        :param log_file: File that its output is appended to.
        :param env: Its whole environment.
        :param stop_signal: The signal that asks it to end.
        :param options: Passed on to ``subprocess.Popen``.
        """
        guard_input = self._guard_input()
        # Readable by its owner only: logs of programs may hold what their environment holds.
        descriptor = os.open(log_file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            popen = subprocess.Popen(
                list(command),
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=subprocess.STDOUT,
                env={**env, MARKER: self.marker},
                start_new_session=True,
                **options,
            )
        finally:
            os.close(descriptor)
        self._leaders[popen.pid] = stop_signal
        os.write(guard_input, f"{popen.pid} {int(stop_signal)}\n".encode())
        child = Child(name, popen, log_file)
        self._children.append(child)
        return child

    def stop(self, child: Child, *, grace: float = 20) -> None:
        """Ask one process to end, and kill it and the rest of its session if it has not within ``grace`` seconds."""
        pid = child.popen.pid
        if child not in self._children:
            return
        # No marker: the other children of this set carry the same one.
        end_all("", {pid: self._leaders[pid]}, grace)
        child.popen.wait(timeout=5)
        # Forgotten here and by the guard: the id may soon be a stranger's.
        os.write(self._guard_input(), f"{pid} 0\n".encode())
        del self._leaders[pid]
        self._children.remove(child)

    def close(self, *, grace: float = 20) -> None:
        """
        End all processes of this set and all that they started, and remove its directories.

        Nothing happens if none was started.

        :param grace: Seconds to wait between asking and killing.
        """
        if self._guard is None:
            return
        end_all(self.marker, self._leaders, grace)
        for child in self._children:
            child.popen.wait(timeout=5)
        self._guard.communicate(timeout=30)
        self._guard = None
        self._children.clear()
        self._leaders.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _guard_input(self) -> int:
        if self._guard is None:
            self._guard = subprocess.Popen(
                [sys.executable, "-m", "airflow_eks_dask.local.guard", self.marker, *self._directories],
                stdin=subprocess.PIPE,
                cwd="/",
                start_new_session=True,
            )
        if self._guard.stdin is None:
            raise LocalProcessError("The guard of local processes has no pipe to read from.")
        return self._guard.stdin.fileno()
