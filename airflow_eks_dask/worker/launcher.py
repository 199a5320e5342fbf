"""
The warm launcher: a process with Airflow imported that forks the processes which run workloads.

Started by the Dask worker as ``python -m airflow_eks_dask.worker.launcher FD MODULE [PRELOAD ...]``: FD is one end of a
socket pair, MODULE what runs workloads (:mod:`.airflow_workload`), and PRELOAD what else they are known to import.
Over it come orders, each a line of JSON: ``run`` a workload, with the end of another pair as its channel, ``end`` it
(SIGTERM), ``kill`` all its processes. A workload goes to a workload process that has just done its last one, or to a
new one. On the channel the launcher writes the process id and, when the workload has ended, an exit code. It has one
thread, which makes forking safe, and when the worker goes away it ends every workload and itself. When it is warm it
says so, in one line: what MODULE has to tell about the worker's configuration, which the Dask worker itself does not
load.
"""

from __future__ import annotations

import gc
import importlib
import json
import logging
import os
import selectors
import signal
import socket
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from airflow_eks_dask.worker import sessions, workload_process

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

log = logging.getLogger(__name__)

IDLE_LIMIT = 2.0
"""Seconds that a workload process waits for its next workload."""


@dataclass(slots=True, eq=False)
class _Process:
    """
    A workload process.

    :param link: Takes the channel of a workload there, and gives a byte when that is done.
    :param key: Of the workload that it runs; None while it waits for one.
    :param channel: Of the same.
    :param is_last: Whether it runs no other after it.
    :param idle_since: When it began to wait, by the monotonic clock.
    """

    pid: int
    link: socket.socket
    key: str | None = None
    channel: socket.socket | None = None
    is_last: bool = False
    idle_since: float = 0


class Launcher:
    """
    Forks workload processes, hands them workloads and reaps them.

    :param control: Gives the orders; its end of file means that the worker is gone.
    :param run: Runs a payload in a workload process.
    """

    def __init__(self, control: socket.socket, run: workload_process.Run) -> None:
        self._control = control
        self._run = run
        self._orders = b""
        self._channels: deque[socket.socket] = deque()
        self._processes: dict[int, _Process] = {}
        self._idle: list[_Process] = []
        self._selector = selectors.DefaultSelector()
        self._wakeup, self._wakeup_write = socket.socketpair()
        for each in (self._wakeup, self._wakeup_write):
            each.setblocking(False)

    def serve(self, description: Mapping[str, Any]) -> None:
        """
        Launch workloads until the worker is gone.

        :param description: What to tell the worker first.
        """
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wakeup_write.fileno(), warn_on_full_buffer=False)
        with self._selector as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(self._wakeup, selectors.EVENT_READ)
            self._control.sendall(json.dumps(description).encode() + b"\n")
            while True:
                ready = [key for key, _ in selector.select(self._until_one_is_dismissed())]
                for process in (key.data for key in ready if key.data is not None):
                    self._hear(process)
                objects = {key.fileobj for key in ready}
                if self._wakeup in objects:
                    self._wakeup.recv(4096)
                    self._reap()
                if self._control in objects and not self._obey():
                    break
                self._dismiss_idle()
        for session in list(self._processes):
            sessions.kill(session)

    def _obey(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._control, 65_536, 64)
        if not data:
            return False
        self._channels.extend(socket.socket(fileno=each) for each in descriptors)
        *lines, self._orders = (self._orders + data).split(b"\n")
        for line in lines:
            ((order, key),) = json.loads(line).items()
            if order == "run":
                self._launch(key)
                self._channels.popleft()
            elif process := next((each for each in self._processes.values() if each.key == key), None):
                process.is_last = True
                if order == "end":
                    os.kill(process.pid, signal.SIGTERM)
                else:
                    sessions.kill(process.pid)
        return True

    def _launch(self, key: str) -> None:
        channel = self._channels[0]
        try:
            process = self._hand_over(channel)
        except OSError as error:
            self._send(channel, {"reason": f"no process could be started for it: {error}"})
            channel.close()
            return
        process.key, process.channel = key, channel
        self._send(channel, {"pid": process.pid})

    def _hand_over(self, channel: socket.socket) -> _Process:
        while self._idle:
            process = self._idle.pop()
            # One that has just been killed takes nothing.
            with suppress(OSError):
                socket.send_fds(process.link, [b"W"], [channel.fileno()])
                return process
        process = self._fork()
        socket.send_fds(process.link, [b"W"], [channel.fileno()])
        return process

    def _fork(self) -> _Process:
        launcher = os.getpid()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                pid = os.fork()
            except OSError:
                ours.close()
                raise
            if pid == 0:
                ours.close()
                self._close_all()
                workload_process.main(theirs, launcher, self._run)
        ours.setblocking(False)
        process = self._processes[pid] = _Process(pid, ours)
        self._selector.register(ours, selectors.EVENT_READ, process)
        return process

    def _close_all(self) -> None:
        """Let go, in a new child, of what belongs to the launcher and to other workloads."""
        processes = self._processes.values()
        channels = [process.channel for process in processes if process.channel is not None]
        links = [process.link for process in processes]
        for inherited in (self._control, self._wakeup, self._wakeup_write, *self._channels, *channels, *links):
            inherited.close()
        self._selector.close()

    def _hear(self, process: _Process) -> None:
        """Learn whether a process has done its workload."""
        if process.link.fileno() == -1:
            return
        try:
            said = process.link.recv(1)
        except BlockingIOError:
            return
        except ConnectionError:
            said = b""
        if said in (workload_process.NEXT, workload_process.LAST):
            self._ended(process, {"exit": 0})
        if said == workload_process.NEXT and not process.is_last:
            process.idle_since = time.monotonic()
            self._idle.append(process)
        else:
            self._dismiss(process)

    def _ended(self, process: _Process, message: dict[str, object]) -> None:
        if process.channel is not None:
            self._send(process.channel, message)
            process.channel.close()
            process.key = process.channel = None

    def _dismiss(self, process: _Process) -> None:
        """Hand a process nothing more, upon which it ends when it is done."""
        if process.link.fileno() != -1:
            self._selector.unregister(process.link)
            process.link.close()

    def _dismiss_idle(self) -> None:
        while self._idle and self._until_one_is_dismissed() == 0:
            self._dismiss(self._idle.pop(0))

    def _until_one_is_dismissed(self) -> float | None:
        """Return for how many seconds all that are idle may wait; None if none is."""
        return max(0, self._idle[0].idle_since + IDLE_LIMIT - time.monotonic()) if self._idle else None

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                process = self._processes.pop(pid, None)
                if process is not None:  # else an orphan of some workload that came to us
                    self._bury(process, os.waitstatus_to_exitcode(status))

    def _bury(self, process: _Process, exit_code: int) -> None:
        # It may have been done before it was ended.
        self._hear(process)
        if process in self._idle:
            self._idle.remove(process)
        self._dismiss(process)
        sessions.kill(process.pid)
        # Only a process that says so has done its workload.
        undone = {"exit": 1, "reason": "its process ended before it was done"}
        self._ended(process, {"exit": exit_code} if exit_code else undone)

    @staticmethod
    def _send(channel: socket.socket, message: dict[str, object]) -> None:
        # Where the worker is gone, the control socket says so too.
        with suppress(OSError):
            channel.sendall(json.dumps(message).encode() + b"\n")


def preload(modules: Sequence[str]) -> None:
    """Import modules; one that fails is left to the tasks, which say more about it."""
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception:  # a module's own code may raise anything, and no task may need it
            log.exception("[dask] preload_modules: %s could not be imported", module)
    if (threads := psutil.Process().num_threads()) > 1:
        log.warning(
            "%d threads run in the launcher, which forks: a module of [dask] preload_modules starts threads when it is "
            "imported. Numerical libraries don't if OMP_NUM_THREADS and OPENBLAS_NUM_THREADS are 1.",
            threads,
        )


def main() -> None:
    """Serve on the socket whose descriptor is the first argument, with the modules that are the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    sessions.adopt_orphans()
    workload = importlib.import_module(sys.argv[2])
    workload.warm_up()
    preload(sys.argv[3:])
    # What is there now stays: the garbage collector of a child would touch all of it, and so copy it.
    gc.collect()
    gc.freeze()
    Launcher(control, workload.run).serve(workload.describe())


if __name__ == "__main__":
    main()
