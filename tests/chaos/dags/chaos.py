"""Tasks that write down when they start and end, each line in one write."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta

from airflow.sdk import dag, get_current_context, task

RETRIES = {"retries": 2, "retry_delay": timedelta(seconds=2)}


def note(what: str) -> None:
    """Append a line to the ledger named in the params."""
    context = get_current_context()
    ti = context["ti"]
    key = [ti.dag_id, ti.task_id, ti.map_index, ti.run_id, ti.try_number]
    line = json.dumps({"what": what, "key": key, "pid": os.getpid(), "time": time.time()})
    descriptor = os.open(context["params"]["ledger"], os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


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
