"""Measures one run of a row: times from the metadata database, processor time and memory from the kernel."""

from __future__ import annotations

import sys
import time
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
import psycopg2

from airflow_eks_dask.local.processes import LocalProcessError
from benchmarks.results import AIRFLOW_CPU, EXECUTOR_CPU, POSTGRES_CPU, Idle, Sample, overhead, percentile

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from benchmarks.systems import System
    from benchmarks.workloads import Row

ROW_TIMEOUT = 900.0
# Without a process that starts or ends, in seconds; and how long to wait for that.
QUIET = 3.0
SETTLE_TIMEOUT = 60.0
# The mapped row has one task more, which tells what is mapped over.
_MEASURED = """
    SELECT scheduled_dttm, queued_dttm, start_date, end_date FROM task_instance
    WHERE dag_id = %s AND run_id = %s AND task_id <> 'numbers'
"""


@dataclass(frozen=True)
class TaskTimes:
    """When a task could be scheduled, was queued, started and ended."""

    scheduled: datetime
    queued: datetime
    started: datetime
    ended: datetime


def supported() -> bool:
    """Tell whether this machine's kernel tells what is measured here."""
    return sys.platform == "linux"


def warm_up(system: System) -> None:
    """Run a few tasks: whatever is imported, connected or compiled once has then been."""
    tasks = 2 * system.slots
    _run(system, "mapped", {"tasks": tasks})


def idle_memory(system: System, run: int) -> Idle:
    """Measure what the executor keeps in memory for its slots."""
    _settle(system)
    pss, count = 0, 0
    for process in _executor_processes(system):
        with suppress(psutil.NoSuchProcess):
            # An ended task's process that its parent has not collected yet holds no memory.
            if process.status() != psutil.STATUS_ZOMBIE:
                pss += process.memory_full_info().pss
                count += 1
    return Idle(system.executor, run, count, system.slots, pss)


def run_row(system: System, row: Row, run: int) -> Sample:
    """
    Run a row and measure it.

    :raises AirflowWaitError: It did not succeed in time; the message holds the logs of tasks that failed.
    """
    system.client.wait_for_dag(row.name, timeout=120)
    _settle(system)
    before = cpu_times(system)
    run_id = _run(system, row.name, dict(row.params))
    _settle(system)
    after = cpu_times(system)
    times = _task_times(system.database, row.name, run_id)
    if len(times) != row.tasks:
        raise RuntimeError(f"{row.name}: {len(times)} tasks have run, expected {row.tasks}")
    cpu = {component: (after[component] - before[component]) / row.tasks for component in after}
    return sample(system.executor, row, run, system.slots, times, cpu)


def sample(executor: str, row: Row, run: int, slots: int, times: Sequence[TaskTimes], cpu: dict[str, float]) -> Sample:
    """
    Put together what a run has shown.

    :param cpu: Seconds per task, by component.
    """
    seconds = (max(task.ended for task in times) - min(task.scheduled for task in times)).total_seconds()
    waits = [(task.started - task.queued).total_seconds() for task in times]
    return Sample(
        executor=executor,
        row=row.name,
        run=run,
        tasks=row.tasks,
        seconds=seconds,
        queued_p50=percentile(waits, 50),
        queued_p95=percentile(waits, 95),
        overhead=overhead(seconds, slots, row.width, row.work, row.tasks),
        cpu=cpu,
    )


def cpu_times(system: System) -> dict[str, float]:
    """
    Return the seconds of processor time that each component has used, processes that ended included.

    The kernel adds a process's time to its parent's when the parent collects it, which all parents here do. What the
    Airflow scheduler has started is the executor's.
    """
    scheduler = psutil.Process(system.airflow.pid("scheduler"))
    times = scheduler.cpu_times()
    beside = sum(cpu_of_tree(pid) for pid in system.beside.values())
    below = sum(cpu_of_tree(child.pid) for child in scheduler.children())
    result = {name: cpu_of_tree(system.airflow.pid(name)) for name in AIRFLOW_CPU if name != "scheduler"}
    return {
        EXECUTOR_CPU: times.children_user + times.children_system + below + beside,
        "scheduler": times.user + times.system,
        **result,
        POSTGRES_CPU: cpu_of_tree(system.postgres_pid),
    }


def cpu_of_tree(pid: int) -> float:
    """
    Return the seconds of processor time of a process and all below it, those that ended included.

    :param pid: Process id; 0 seconds if there is none any more.
    """
    total = 0.0
    for process in _tree(pid):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _tree(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _executor_processes(system: System) -> list[psutil.Process]:
    below = psutil.Process(system.airflow.pid("scheduler")).children(recursive=True)
    return [*below, *(process for pid in system.beside.values() for process in _tree(pid))]


def _settle(system: System) -> None:
    """
    Wait until the executor starts and ends no processes any more.

    Those of the last tasks end a little after the run; only then has their time been added to their parents'.

    :raises LocalProcessError: It goes on and on.
    """
    deadline = time.monotonic() + SETTLE_TIMEOUT
    before, since = _executor_pids(system), time.monotonic()
    while time.monotonic() - since < QUIET:
        if time.monotonic() > deadline:
            raise LocalProcessError(
                f"{system.executor} has processes that come and go {SETTLE_TIMEOUT:g} s after a run"
            )
        time.sleep(0.1)
        if (now := _executor_pids(system)) != before:
            before, since = now, time.monotonic()


def _executor_pids(system: System) -> set[int]:
    return {process.pid for process in _executor_processes(system)}


def _run(system: System, dag_id: str, params: dict[str, int]) -> str:
    system.client.wait_for_dag(dag_id, timeout=120)
    run_id = system.client.trigger(dag_id, params)
    system.client.wait_for_run(dag_id, run_id, timeout=ROW_TIMEOUT)
    return run_id


def _task_times(database: str, dag_id: str, run_id: str) -> list[TaskTimes]:
    with closing(psycopg2.connect(database, connect_timeout=5)) as connection, connection.cursor() as cursor:
        cursor.execute(_MEASURED, (dag_id, run_id))
        return [TaskTimes(*row) for row in cursor.fetchall()]
