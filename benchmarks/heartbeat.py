"""What a heartbeat of DaskExecutor costs the Airflow scheduler while many workloads are in flight."""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.local.ports import ReservedPort
from airflow_eks_dask.local.processes import LocalProcessError, ProcessSet
from benchmarks.dispatch import BATCH
from benchmarks.results import percentile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IN_FLIGHT = 10_000
HEARTBEATS = 100
TIMEOUT = 120.0


@dataclass(frozen=True)
class HeartbeatTime:
    """
    What handing over workloads, and the heartbeats after that, took.

    :param in_flight: How many workloads the executor had to keep in mind.
    :param submit_seconds: To hand over all of them, until the Dask scheduler had confirmed them.
    :param median_ms: Of a heartbeat, in milliseconds.
    :param p95_ms: 95th percentile of a heartbeat, in milliseconds.
    """

    in_flight: int
    submit_seconds: float
    median_ms: float
    p95_ms: float


def measure(in_flight: int = IN_FLIGHT, heartbeats: int = HEARTBEATS) -> HeartbeatTime:
    """
    Time heartbeats with a real Dask scheduler, which has no workers: all that is submitted stays in flight.

    Sets this process's ``AIRFLOW_HOME`` and must come before anything else that imports Airflow.

    :param in_flight: How many workloads to submit.
    :param heartbeats: How many heartbeats to time.
    :raises LocalProcessError: The Dask scheduler does not start, or the workloads do not reach it.
    """
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-heartbeat-")))
        address = stack.enter_context(_dask_scheduler(home))
        os.environ.update(
            AIRFLOW_HOME=str(home),
            AIRFLOW__CORE__LOAD_EXAMPLES="False",
            AIRFLOW__LOGGING__LOGGING_LEVEL="ERROR",
            AIRFLOW__DASK__CLUSTER_ADDRESS=address,
        )
        from airflow_eks_dask import DaskExecutor

        executor = DaskExecutor(parallelism=2 * in_flight)
        executor.start()
        stack.callback(executor.terminate)
        _beat_until(executor, lambda: _gauge(executor, "connected") == 1, "no connection to the Dask scheduler")
        workloads = [_workload(number) for number in range(in_flight)]
        start = time.perf_counter()
        # The executor offers no slots where there are no workers: handed over as Airflow's own heartbeat does it.
        for first in range(0, in_flight, BATCH):
            executor._process_workloads(workloads[first : first + BATCH])
            executor.heartbeat()
        _beat_until(executor, lambda: _confirmed(executor, in_flight), "the workloads did not reach the Dask scheduler")
        submit_seconds = time.perf_counter() - start
        times = [_timed(executor.heartbeat) for _ in range(heartbeats)]
        if len(executor.running) != in_flight:
            raise LocalProcessError(f"{len(executor.running)} workloads are in flight, expected {in_flight}")
        return HeartbeatTime(in_flight, submit_seconds, statistics.median(times) * 1e3, percentile(times, 95) * 1e3)


@contextmanager
def _dask_scheduler(home: Path) -> Iterator[str]:
    port = ReservedPort()
    with ProcessSet() as processes:
        command = ["scheduler", "--host", "127.0.0.1", "--port", str(port.number), "--dashboard-address", "127.0.0.1:0"]
        processes.start(
            "Dask scheduler",
            [sys.executable, "-m", "dask", *command],
            log_file=home / "dask-scheduler.log",
            env=os.environ,
            cwd=home,
        )
        yield f"tcp://127.0.0.1:{port.number}"
    port.close()


def _beat_until(executor: Any, done: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while not done():
        if time.monotonic() > deadline:
            raise LocalProcessError(f"Heartbeats of DaskExecutor: {otherwise} within {TIMEOUT:g} s")
        executor.heartbeat()
        time.sleep(0.01)


def _gauge(executor: Any, name: str) -> int:
    return sum(int(row.get(name, 0)) for row in executor._lanes.describe())


def _confirmed(executor: Any, count: int) -> bool:
    return _gauge(executor, "in_flight") == count and _gauge(executor, "unconfirmed") == 0


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _workload(number: int) -> Any:
    from airflow.executors import workloads
    from airflow.executors.workloads.base import BundleInfo
    from airflow.executors.workloads.task import TaskInstanceDTO

    task = TaskInstanceDTO(
        id=uuid.uuid4(),
        dag_version_id=uuid.uuid4(),
        task_id=f"task_{number}",
        dag_id="benchmark",
        run_id="benchmark",
        try_number=1,
        map_index=-1,
        pool_slots=1,
        queue="default",
        priority_weight=1,
        external_executor_id=str(uuid.uuid4()),
    )
    return workloads.ExecuteTask(
        ti=task,
        dag_rel_path=Path("benchmark.py"),
        token="x" * 400,
        log_path=f"dag_id=benchmark/run_id=benchmark/task_id=task_{number}/attempt=1.log",
        bundle_info=BundleInfo(name="benchmarks"),
    )
