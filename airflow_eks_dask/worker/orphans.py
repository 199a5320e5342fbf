"""
Processes whose parent has ended, below a workload process that has templates.

A template's successor has to become a child of the workload process when its predecessor, a task's process, ends. So
the workload process is a subreaper (:manpage:`PR_SET_CHILD_SUBREAPER(2const)`), and what else a task leaves behind
becomes its child too. Whatever of that ends has to be let go of, or it stays in the kernel's list of processes.
"""

from __future__ import annotations

import os
from contextlib import suppress
from functools import cache, wraps
from typing import Any

from airflow_eks_dask.worker import sessions


@cache
def adopt() -> None:
    """Become the parent of descendants whose parent ends, and let go of those that have ended: once in a process."""
    from airflow.sdk.execution_time.supervisor import ActivitySubprocess

    sessions.adopt_orphans()
    send_heartbeat = ActivitySubprocess._send_heartbeat_if_needed

    @wraps(send_heartbeat)
    def send_heartbeat_and_reap(self: ActivitySubprocess, *args: Any, **kwargs: Any) -> Any:
        # The supervisor comes here every few seconds.
        reap(but=self.pid)
        return send_heartbeat(self, *args, **kwargs)  # type: ignore[no-untyped-call]

    ActivitySubprocess._send_heartbeat_if_needed = send_heartbeat_and_reap  # type: ignore[method-assign]


def reap(*, but: int | None = None) -> None:
    """
    Let go of the children of this process that have ended.

    :param but: The task's process, whose end is the supervisor's to learn. What ended after it stays as well.
    """
    with suppress(ChildProcessError):
        while (ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) and ended.si_pid != but:
            os.waitpid(ended.si_pid, os.WNOHANG)
