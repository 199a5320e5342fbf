"""
The warm launcher: a process with Airflow imported that forks one process for each workload.

Started by the Dask worker as ``python -m airflow_eks_dask.worker.launcher FD MODULE [PRELOAD ...]``: FD is one end of a
socket pair, MODULE what runs workloads (:mod:`.airflow_workload`), and PRELOAD what else they are known to import.
For each workload the worker passes the end of another pair over it. The launcher forks a workload process onto that
channel, writes its process id there and, when it has ended, its wait status. It has one thread, which makes forking
safe, and when the worker goes away it ends every workload and itself. When it is warm it says so, in one JSON line:
what MODULE has to tell about the worker's configuration, which the Dask worker itself does not load.
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
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil

from airflow_eks_dask.worker import sessions, workload_process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

log = logging.getLogger(__name__)


class Launcher:
    """
    Forks workload processes and reaps them.

    :param control: Gives the channels; its end of file means that the worker is gone.
    :param run: Runs a payload in a workload process.
    """

    def __init__(self, control: socket.socket, run: Callable[[bytes], None]) -> None:
        self._control = control
        self._run = run
        self._channels: dict[int, socket.socket] = {}
        self._wakeup, wakeup_write = socket.socketpair()
        self._wakeup.setblocking(False)
        wakeup_write.setblocking(False)
        self._wakeup_write = wakeup_write

    def serve(self, description: Mapping[str, Any]) -> None:
        """
        Launch workloads until the worker is gone.

        :param description: What to tell the worker first.
        """
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._wakeup_write.fileno(), warn_on_full_buffer=False)
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(self._wakeup, selectors.EVENT_READ)
            self._control.sendall(json.dumps(description).encode() + b"\n")
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if self._wakeup in ready:
                    self._wakeup.recv(4096)
                    self._reap()
                if self._control in ready and not self._accept():
                    break
        for session in list(self._channels):
            sessions.kill(session)

    def _accept(self) -> bool:
        data, descriptors, _, _ = socket.recv_fds(self._control, 1, 1)
        if not data:
            return False
        for descriptor in descriptors:
            self._launch(socket.socket(fileno=descriptor))
        return True

    def _launch(self, channel: socket.socket) -> None:
        launcher = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:
            self._send(channel, {"reason": f"no process could be started for it: {error}"})
            channel.close()
            return
        if pid == 0:
            self._close_all()
            workload_process.main(channel, launcher, self._run)
        self._channels[pid] = channel
        self._send(channel, {"pid": pid})

    def _close_all(self) -> None:
        """Let go, in a new child, of what belongs to the launcher and to other workloads."""
        for inherited in (self._control, self._wakeup, self._wakeup_write, *self._channels.values()):
            inherited.close()

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                channel = self._channels.pop(pid, None)
                if channel is not None:  # else an orphan of some workload that came to us
                    sessions.kill(pid)
                    self._send(channel, {"exit": os.waitstatus_to_exitcode(status)})
                    channel.close()

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
