"""Many trivial tasks that do not wait for each other."""

from __future__ import annotations

import os

from airflow.sdk import dag, task


@task
def nothing() -> None:
    """Do nothing: whatever time it takes is Airflow's."""


@dag(schedule=None, catchup=False)
def wide() -> None:
    """Run them side by side."""
    for number in range(int(os.environ.get("BENCHMARK_WIDE_TASKS", "200"))):
        nothing.override(task_id=f"task_{number}")()


wide()
