"""
Let Airflow's supervisor notice at once that its task process has ended.

The supervisor learns of the end by polling after each event on the task's sockets. When the last socket closes a
moment before the process can be reaped, no further event comes and it sleeps for ``[workers]
min_heartbeat_interval`` (5 s), holding its slot: this happens to a good part of short tasks. A process file
descriptor (:manpage:`pidfd_open(2)`) in the supervisor's selector is the missing event.
"""

from __future__ import annotations

import os
import selectors
from functools import wraps
from typing import Any


class _ProcessEnd:
    """Becomes readable when a process ends."""

    def __init__(self, pid: int) -> None:
        self._descriptor = os.pidfd_open(pid)

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1

    def __del__(self) -> None:
        # The supervisor closes it only when it hears of the end from here first.
        self.close()


def watch_task_processes() -> None:
    """
    Have every supervisor of this process watch its task process.

    Does nothing where the system has no process descriptors. Where Airflow has mended it, one more event does no harm.
    """
    if not hasattr(os, "pidfd_open"):
        return
    from airflow.sdk.execution_time.supervisor import ActivitySubprocess

    register_pipe_readers = ActivitySubprocess._register_pipe_readers

    @wraps(register_pipe_readers)
    def register(self: ActivitySubprocess, *args: Any, **kwargs: Any) -> None:
        register_pipe_readers(self, *args, **kwargs)
        # The selector's loop takes pairs: what to call when ready (False: that was all), and what to call then.
        handlers = (lambda _: False, self.selector.unregister)
        self.selector.register(_ProcessEnd(self.pid), selectors.EVENT_READ, handlers)

    ActivitySubprocess._register_pipe_readers = register  # type: ignore[method-assign, assignment]
