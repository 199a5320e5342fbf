"""The dispatch path alone: what the executor and the dispatcher do for a workload, without network and processes."""

from __future__ import annotations

import gc
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_eks_dask.executors import in_flight
from airflow_eks_dask.executors.in_flight import InFlight
from airflow_eks_dask.worker import dispatcher
from airflow_eks_dask.worker.dispatcher import Dispatcher
from airflow_eks_dask.worker.protocol import Outcome, Submission

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WORKLOADS = (100, 1_000, 10_000, 100_000)
WORKERS = (1, 10, 100, 1_000)
SLOTS = 4
BATCH = 512
"""Workloads that come at a time; about what Airflow sends in one heartbeat of a large installation."""


@dataclass(frozen=True)
class DispatchTime:
    """
    What dispatching took.

    :param workloads: How many there were, all waiting before the first ended.
    :param workers: How many could take them.
    :param seconds: From the first submission to the last report.
    """

    workloads: int
    workers: int
    seconds: float

    @property
    def microseconds_each(self) -> float:
        """Microseconds per workload."""
        return self.seconds / self.workloads * 1e6


class _Simulation:
    """The two state machines joined without a network; workers end workloads in the order in which they started."""

    def __init__(self, workers: int) -> None:
        self.executor: InFlight[int] = InFlight()
        self.dispatcher = Dispatcher()
        self.reported = 0
        self._running: deque[tuple[str, str]] = deque()
        self.executor.connected()
        for number in range(workers):
            self._carry_out(self.dispatcher.worker_ready(f"tcp://worker-{number}", str(number), SLOTS))

    def submit(self, submissions: dict[int, Submission]) -> None:
        for instruction in self.executor.submit(submissions):
            match instruction:
                case in_flight.Send(batch):
                    self._carry_out(self.dispatcher.submit(batch))
                    self.executor.confirmed([submission.key for submission in batch])

    def run_all(self) -> None:
        while self._running:
            worker, key = self._running.popleft()
            self._carry_out(self.dispatcher.finished(Outcome(key, True, worker=worker)))

    def _carry_out(self, instructions: Iterable[dispatcher.Instruction]) -> None:
        for instruction in instructions:
            match instruction:
                case dispatcher.Run(worker, submission):
                    self._running.append((worker, submission.key))
                case dispatcher.Report(outcome):
                    self.reported += len(self.executor.ended(outcome))
        # The scheduler plugin looks at it after each message, to tell executors of changes.
        _ = self.dispatcher.capacity


def time_dispatch(workloads: int, workers: int) -> DispatchTime:
    """
    Take workloads from the executor to workers and back.

    :raises RuntimeError: Not each of them was reported once, so the time means nothing.
    """
    simulation = _Simulation(workers)
    payload = b"x" * 1_000
    submissions = [(number, Submission(f"key-{number}", payload, priority=number % 10)) for number in range(workloads)]
    gc.collect()
    start = time.perf_counter()
    for first in range(0, workloads, BATCH):
        simulation.submit(dict(submissions[first : first + BATCH]))
    simulation.run_all()
    seconds = time.perf_counter() - start
    if simulation.reported != workloads or len(simulation.executor):
        raise RuntimeError(f"{simulation.reported} of {workloads} workloads were reported on {workers} workers")
    return DispatchTime(workloads, workers, seconds)


def measure(
    workloads: Sequence[int] = WORKLOADS, workers: Sequence[int] = WORKERS, repeats: int = 3
) -> list[DispatchTime]:
    """
    Time all combinations, each several times, and keep the quickest: whatever else the machine does only adds.

    :param repeats: How often each is tried.
    """
    return [
        min((time_dispatch(total, count) for _ in range(repeats)), key=lambda result: result.seconds)
        for total in workloads
        for count in workers
    ]
