"""
Ending everything a workload started.

A workload process leads a session (:manpage:`setsid(2)`). Airflow's supervisor gives the task a process group of its
own, and tasks start groups too, but all stay in the session: its id finds them, orphans included.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Collection

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def members(session: int) -> list[int]:
    """
    List the processes of a session.

    :param session: The session's id, which is the process id of its leader.
    """
    found = []
    for pid in psutil.pids():
        with suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == session:
                found.append(pid)
    return found


def kill(session: int, *, spared: Collection[int] = ()) -> None:
    """
    End all processes of a session at once (SIGKILL).

    :param session: The session's id, which is the process id of its leader.
    :param spared: Ids of those that go on.
    """
    # A process may fork while the list is read: go on until a list is empty.
    for _ in range(10):
        pids = [pid for pid in members(session) if pid not in spared and not _is_zombie(pid)]
        if not pids:
            return
        for pid in pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _is_zombie(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return True


def die_with_parent() -> None:
    """Have the kernel end this process (SIGKILL) when the thread that forked it ends. Linux only."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def adopt_orphans() -> None:
    """Become the parent of descendants whose parent ends, so that they are found and reaped. Linux only."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
