"""
What a process forked for one workload does.

The payload comes through a socket and never shows in an argument list, the environment or a log. What is not an
error of the task itself but of its surroundings (the API server refuses the start, the DAG bundle is missing) goes
back through the same socket as a reason.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from typing import TYPE_CHECKING, NoReturn

from airflow_eks_dask.worker import sessions

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

_REASON_LIMIT = 1_000


def main(channel: socket.socket, launcher: int, run: Callable[[bytes], None]) -> NoReturn:
    """
    Run the workload that arrives on a channel, then exit.

    :param channel: Gives the payload, preceded by its length in 8 bytes; takes a JSON line if something goes wrong.
    :param launcher: Process id of the launcher that forked this process.
    :param run: Runs a payload; an exception is the reason why it failed.
    """
    status = 1
    try:
        os.setsid()
        sessions.die_with_parent()
        if os.getppid() != launcher:
            os._exit(1)  # it died between the fork and here, when nothing could tell us
        _bind_task_to_this_process()
        _seed_numpy()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        run(_receive(channel))
        status = 0
    except BaseException as error:  # noqa: BLE001 - the last frame of this process: whatever comes is told
        traceback.print_exc()
        _tell(channel, error)
    finally:
        os._exit(status)


def _bind_task_to_this_process() -> None:
    """Let the task process, which the supervisor forks from here, die when the supervisor is killed."""
    supervisor = os.getpid()

    def in_child() -> None:
        if os.getppid() == supervisor:
            sessions.die_with_parent()

    os.register_at_fork(after_in_child=in_child)


def _seed_numpy() -> None:
    """Give this workload random numbers of its own: Python's ``random`` does so at a fork, numpy's does not."""
    if (random := sys.modules.get("numpy.random")) is not None:
        random.seed()


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
