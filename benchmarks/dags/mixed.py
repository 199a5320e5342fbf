"""Tasks that wait between no time and a few seconds, side by side."""

from __future__ import annotations

import os
import time

from airflow.sdk import dag, task

from benchmarks.workloads import mixed_durations


@task
def sleep(seconds: float) -> None:
    """Take some time but no processor."""
    time.sleep(seconds)


@dag(schedule=None, catchup=False)
def mixed() -> None:
    """Run them side by side."""
    for number, seconds in enumerate(mixed_durations(int(os.environ.get("BENCHMARK_MIXED_TASKS", "60")))):
        sleep.override(task_id=f"task_{number}")(seconds)


mixed()
