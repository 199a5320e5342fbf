"""Tasks that tell a ledger when they start and end."""

from __future__ import annotations

import json
import os
import platform
import socket
import time
from datetime import timedelta
from functools import cache

from airflow.sdk import dag, get_current_context, task

RETRIES = {"retries": 2, "retry_delay": timedelta(seconds=2)}
TIMEOUT = 30


@cache
def ledger() -> socket.socket:
    """Return the connection to the ledger named in the params, which ends with this process."""
    host, port = get_current_context()["params"]["ledger"].rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=TIMEOUT)


def note(what: str) -> None:
    """
    Have it written down, and wait until it is.

    :raises OSError: The ledger is away.
    """
    ti = get_current_context()["ti"]
    key = [ti.dag_id, ti.task_id, ti.map_index, ti.run_id, ti.try_number]
    line = {"what": what, "key": key, "host": platform.node(), "pid": os.getpid(), "time": time.time()}
    ledger().sendall(f"{json.dumps(line)}\n".encode())
    if not ledger().recv(1):
        raise ConnectionResetError("the ledger has closed the connection")


@task(**RETRIES)
def plan() -> list[float]:
    """Return how long each task takes, in seconds."""
    note("start")
    seconds = list(get_current_context()["params"]["seconds"])
    note("end")
    return seconds


@task(**RETRIES)
def work(seconds: float) -> None:
    """Take some time."""
    note("start")
    time.sleep(seconds)
    note("end")


@dag(schedule=None, params={"ledger": "", "seconds": []}, max_active_tasks=64)
def chaos():
    """Run one task for each element of the plan."""
    work.expand(seconds=plan())


chaos()
