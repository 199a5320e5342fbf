"""Trivial tasks, one after the other."""

from __future__ import annotations

import os

from airflow.sdk import chain as one_after_the_other
from airflow.sdk import dag, task


@task
def nothing() -> None:
    """Do nothing: whatever time it takes is Airflow's."""


@dag(schedule=None, catchup=False)
def chain() -> None:
    """Run one after the other."""
    links = int(os.environ.get("BENCHMARK_CHAIN_TASKS", "20"))
    one_after_the_other(*[nothing.override(task_id=f"task_{number}")() for number in range(links)])


chain()
