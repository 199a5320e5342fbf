"""
Many tasks at once.

Starts a number of equal tasks, waits for all of them and checks that each did its work: a first test of a new
cluster, and a measure of how fast it is.
"""

from __future__ import annotations

import time
from collections import Counter

from airflow.sdk import Param, dag, task

PARAMS = {
    "n": Param(8, type="integer", minimum=1, maximum=1000, title="Tasks", description="Number of equal tasks."),
    "seconds": Param(
        0,
        type="number",
        minimum=0,
        maximum=600,
        title="Seconds per task",
        description="How long each task sleeps, or how much processor time it uses.",
    ),
    "mode": Param(
        "sleep",
        type="string",
        enum=["sleep", "cpu"],
        title="Mode",
        description="sleep: wait without using the processor. cpu: use that much processor time, which takes "
        "longer where tasks share cores.",
    ),
}


def spend(seconds: float, mode: str) -> None:
    """
    Spend time.

    :param mode: ``sleep`` to wait that long, ``cpu`` to use that much processor time.
    """
    if mode == "sleep":
        time.sleep(seconds)
        return
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


@task
def numbers(params: dict | None = None) -> list[int]:
    """Return the numbers of the tasks."""
    return list(range(params["n"]))


@task
def work(number: int, params: dict | None = None) -> int:
    """Spend the time asked for; return the task's own number."""
    spend(params["seconds"], params["mode"])
    return number


@task
def collect(expected: list[int], found: list[int]) -> int:
    """
    Return the number of results.

    :raises ValueError: A result is missing or not what it should be.
    """
    # A slice is fetched in one request; iterating would take one for each task.
    results = found[:]
    if Counter(results) != Counter(expected):
        missing = sorted(set(expected) - set(results))
        raise ValueError(
            f"{len(expected)} tasks should each have returned its number, but {len(results)} results came "
            f"back; missing: {missing}. Look at the logs of these tasks."
        )
    return len(results)


@dag(
    schedule=None,
    catchup=False,
    tags=["sample", "benchmark"],
    doc_md=__doc__,
    params=PARAMS,
    # Pools and the executor's free slots alone decide how many run at once.
    max_active_tasks=1000,
)
def sample_parallel() -> None:
    """Many tasks at once."""
    expected = numbers()
    collect(expected, work.expand(number=expected))


sample_parallel()
