"""Helm as a process: what it says is passed on while it runs, and it never outlives the task."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from airflow_eks_dask.helm.errors import HelmStoppedError
from airflow_eks_dask.worker.sessions import die_with_parent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GRACE = 3.0
"""Seconds for which Helm may write down that it failed. Airflow gives a task five, then ends it the hard way."""

STILL_RUNNING_INTERVAL = 15.0
"""Seconds of silence after which it is said that Helm still runs."""

_LOOK_INTERVAL = 0.5


@dataclass(frozen=True)
class Ended:
    """
    What a process has left.

    :param code: Its exit code.
    :param output: Its standard output.
    :param errors: Its standard error.
    """

    code: int
    output: str
    errors: str


class Process:
    """
    Runs a program, once after the other, in a process group of its own within the task's session.

    The kernel ends it with the thread that started it, however that ends (Linux only).
    """

    def __init__(self) -> None:
        self._running: subprocess.Popen[bytes] | None = None
        self._stopped = False

    def run(
        self,
        arguments: Sequence[str],
        *,
        environment: dict[str, str],
        timeout: float,
        stdin: bytes = b"",
        on_output: Callable[[str], None] | None = None,
        on_error: Callable[[str], None] | None = None,
        on_silence: Callable[[float], None] | None = None,
    ) -> Ended:
        """
        Run a program to its end.

        :param arguments: Program and arguments; what is secret belongs into ``stdin``.
        :param environment: All of its environment.
        :param timeout: Seconds after which it is ended.
        :param stdin: What it reads from standard input: a file that has no name.
        :param on_output: Called with each line of its standard output.
        :param on_error: The same for standard error.
        :param on_silence: Called with the seconds it has run, when it has said nothing for a while.
        :raises HelmStoppedError: It was ended by :meth:`stop`, or because time was up.
        """
        if self._stopped:
            raise HelmStoppedError("the task is being ended")
        begin = time.monotonic()
        with tempfile.TemporaryFile() as file:
            file.write(stdin)
            file.seek(0)
            process = subprocess.Popen(
                arguments,
                stdin=file,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=environment,
                preexec_fn=_begin_group,
            )
        self._running = process
        assert process.stdout is not None  # noqa: S101
        assert process.stderr is not None  # noqa: S101
        output, errors = _Lines(process.stdout, on_output), _Lines(process.stderr, on_error)
        try:
            in_time = self._follow(process, (output, errors), begin, timeout, on_silence)
        finally:
            # Also when a signal handler or a callback raised.
            self._end(process)
            process.stdout.close()
            process.stderr.close()
            self._running = None
        if self._stopped:
            raise HelmStoppedError("the task was ended, and Helm with it")
        if not in_time:
            raise HelmStoppedError(f"Helm was ended after {timeout:.0f} s. {errors.last(5)}".strip())
        return Ended(process.returncode, output.text(), errors.text())

    def stop(self) -> None:
        """
        End what runs, and have nothing run any more. For another thread, or a signal handler.

        The first signal lets Helm write down that the release failed; it has three seconds for it.
        """
        self._stopped = True
        if (process := self._running) is not None:
            self._end(process)

    def _follow(
        self,
        process: subprocess.Popen[bytes],
        streams: tuple[_Lines, _Lines],
        begin: float,
        timeout: float,
        on_silence: Callable[[float], None] | None,
    ) -> bool:
        """Pass on what a process says until it has ended; return whether that was in time."""
        last_word = begin
        with selectors.DefaultSelector() as selector:
            for stream in streams:
                selector.register(stream.file, selectors.EVENT_READ, stream)
            while selector.get_map():
                ready = selector.select(_LOOK_INTERVAL)
                for key, _ in ready:
                    if not key.data.read():
                        selector.unregister(key.fileobj)
                now = time.monotonic()
                if ready:
                    last_word = now
                elif process.poll() is not None:
                    # A descendant may hold the pipes open.
                    break
                if now - begin > timeout:
                    return False
                if now - last_word >= STILL_RUNNING_INTERVAL:
                    last_word = now
                    if on_silence:
                        on_silence(now - begin)
        for stream in streams:
            stream.finish()
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, begin + timeout - time.monotonic()))
        return process.returncode is not None

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + GRACE
        number = signal.SIGTERM
        while process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            while process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            number, deadline = signal.SIGKILL, time.monotonic() + GRACE


def _begin_group() -> None:
    os.setpgid(0, 0)
    die_with_parent()


class _Lines:
    """Reads a pipe and tells its lines, as they become complete."""

    def __init__(self, file: IO[bytes], tell: Callable[[str], None] | None) -> None:
        self.file = file
        self._tell = tell
        self._rest = b""
        self._all: list[bytes] = []

    def read(self) -> bool:
        """Read what there is; return whether there may be more."""
        data = os.read(self.file.fileno(), 65536)
        self._all.append(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._say(line)
        return bool(data)

    def finish(self) -> None:
        """Tell the last line, which may lack its end."""
        self._say(self._rest)
        self._rest = b""

    def text(self) -> str:
        return b"".join(self._all).decode(errors="replace")

    def last(self, count: int) -> str:
        return "\n".join(self.text().splitlines()[-count:])

    def _say(self, line: bytes) -> None:
        text = line.decode(errors="replace").rstrip()
        if self._tell and text:
            self._tell(text)
