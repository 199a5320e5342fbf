"""
What a process forked for workloads does: one after the other, it runs those that the launcher hands it.

A payload comes through a socket and never shows in an argument list, the environment or a log. What is not an error of
the task itself but of its surroundings (the API server refuses the start, the DAG bundle is missing) goes back through
the same socket as a reason, and the process ends: only one in which all went well runs another workload.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, NoReturn

import psutil

from airflow_eks_dask.worker import orphans, random_numbers, sessions

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    Run = Callable[[bytes], "Collection[int] | None"]
    """
    Runs a payload. It returns the ids of the processes that go on, for the next payload; None if this process may run
    no other. An exception is the reason why it failed.
    """

NEXT, LAST = b"n", b"l"
"""What the launcher is told when a workload is done: that another may come, or that none may."""

WORKLOADS = 50
"""How many one process runs: whatever they leave in its memory goes with it."""

_REASON_LIMIT = 1_000


def main(link: socket.socket, launcher: int, run: Run) -> NoReturn:
    """
    Run workloads until there is none or this process may run no more, then exit.

    :param link: Gives the channel of each workload; takes a byte when it is done. A channel gives the payload, preceded
        by its length in 8 bytes, and takes a JSON line if something goes wrong.
    :param launcher: Process id of the launcher that forked this process.
    :param run: Runs a payload.
    """
    status = 1
    try:
        os.setsid()
        sessions.die_with_parent()
        if os.getppid() != launcher:
            os._exit(1)  # it died between the fork and here, when nothing could tell us
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        _run_all(link, run)
        status = 0
    except BaseException:  # noqa: BLE001 - the last frame of this process: whatever comes is printed
        traceback.print_exc()
    finally:
        os._exit(status)


def _run_all(link: socket.socket, run: Run) -> None:
    # What belongs to this process and not to the task that its supervisor forks.
    own = [link]
    _prepare_tasks(own)
    for left in reversed(range(WORKLOADS)):
        data, descriptors, _, _ = socket.recv_fds(link, 1, 1)
        if not data:
            return
        random_numbers.seed()
        with socket.socket(fileno=descriptors[0]) as channel:
            own[1:] = [channel]
            try:
                staying = run(_receive(channel))
            except BaseException as error:
                _tell(channel, error)
                raise
        _flush()
        # The workload is done, but what it has left running is not.
        sessions.kill(os.getpid(), spared={os.getpid(), *(staying or ())})
        orphans.reap()
        # The supervisor of the next task forks, which is safe with one thread only.
        may_go_on = staying is not None and left > 0 and psutil.Process().num_threads() == 1
        link.sendall(NEXT if may_go_on else LAST)
        if not may_go_on:
            return


def _flush() -> None:
    """Write what was printed: the next task would have it in its memory, and write it too."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()


def _prepare_tasks(own: list[socket.socket]) -> None:
    """Let the task process, which the supervisor forks from here, die when that is killed, and take nothing along."""
    supervisor = os.getpid()

    def in_child() -> None:
        if os.getppid() == supervisor:
            sessions.die_with_parent()
            for each in own:
                each.close()

    os.register_at_fork(after_in_child=in_child)


def _receive(channel: socket.socket) -> bytes:
    size = int.from_bytes(_receive_exactly(channel, 8), "big")
    return _receive_exactly(channel, size)


def _receive_exactly(channel: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = channel.recv(size - len(data))
        if not chunk:
            raise ConnectionError("the Dask worker went away before it had sent the workload")
        data += chunk
    return bytes(data)


def _tell(channel: socket.socket, error: BaseException) -> None:
    reason = f"{type(error).__name__}: {error}"[:_REASON_LIMIT]
    try:
        channel.sendall(json.dumps({"reason": reason}).encode() + b"\n")
    except OSError:
        traceback.print_exc()
