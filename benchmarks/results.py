"""What was measured, and the arithmetic on it."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence


@dataclass(frozen=True)
class Sample:
    """
    One run of one row with one executor. Times are in seconds.

    :param tasks: How many tasks ran.
    :param seconds: From the moment the first could be scheduled to the end of the last.
    :param queued_p50: Median of the times from being queued to starting.
    :param queued_p95: Their 95th percentile.
    :param overhead: Time of a slot that a task took beyond its own work.
    :param cpu: Processor time per task, by component.
    """

    executor: str
    row: str
    run: int
    tasks: int
    seconds: float
    queued_p50: float
    queued_p95: float
    overhead: float
    cpu: Mapping[str, float]


@dataclass(frozen=True)
class Idle:
    """
    Memory of an executor that has run something and has nothing to do.

    :param processes: Number of its processes.
    :param slots: How many tasks it can run at the same time.
    :param pss: Bytes of all of them; a page that several share counts once, in parts.
    """

    executor: str
    run: int
    processes: int
    slots: int
    pss: int


@dataclass(frozen=True)
class Metric:
    """
    Something to compare executors by.

    :param title: With its unit.
    :param of: Takes it from a sample.
    :param more_is_better: Whether a larger number is the better one.
    """

    title: str
    of: Callable[[Sample], float]
    more_is_better: bool = False


EXECUTOR_CPU = "executor"
AIRFLOW_CPU = ("scheduler", "api-server", "dag-processor", "triggerer")
POSTGRES_CPU = "postgresql"

METRICS = (
    Metric("tasks/s", lambda sample: sample.tasks / sample.seconds, more_is_better=True),
    Metric("queued → start p50, s", lambda sample: sample.queued_p50),
    Metric("queued → start p95, s", lambda sample: sample.queued_p95),
    Metric("overhead per task, s", lambda sample: sample.overhead),
    Metric("CPU per task, s", lambda sample: sample.cpu[EXECUTOR_CPU]),
    Metric("CPU of Airflow and PostgreSQL per task, s", lambda sample: other_cpu(sample)),
)


def other_cpu(sample: Sample) -> float:
    """Return the processor time per task of all but the executor, in seconds."""
    return sum(seconds for component, seconds in sample.cpu.items() if component != EXECUTOR_CPU)


def percentile(values: Iterable[float], percent: float) -> float:
    """
    Return a percentile, between two values in proportion.

    :param percent: 0 to 100.
    :raises ValueError: There are no values, or there is no such percentile.
    """
    ordered = sorted(values)
    if not ordered or not 0 <= percent <= 100:
        raise ValueError(f"no {percent:g}th percentile of {len(ordered)} values")
    position = (len(ordered) - 1) * percent / 100
    below, above = ordered[math.floor(position)], ordered[math.ceil(position)]
    return below + (above - below) * (position - math.floor(position))


def overhead(seconds: float, slots: int, width: int, work: float, tasks: int) -> float:
    """
    Return the time of a slot that each task took beyond its own work, in seconds.

    :param seconds: That all tasks took together, from first to last.
    :param slots: How many could run at the same time for the executor,
    :param width: and for the DAG.
    :param work: Seconds of all tasks' own work.
    :param tasks: How many there were.
    """
    return (seconds * min(slots, width) - work) / tasks


def median_of(samples: Sequence[Sample], metric: Metric) -> float:
    """
    Return the median of a metric over runs.

    :raises statistics.StatisticsError: There are no samples.
    """
    return statistics.median(metric.of(sample) for sample in samples)


def advantage(ours: float, theirs: float, *, more_is_better: bool) -> float:
    """
    Return how many times better ours is: 2 is twice as good, 0.5 half as good. Not a number if that can't be said.

    :param more_is_better: Whether a larger number is the better one.
    """
    better, worse = (ours, theirs) if more_is_better else (theirs, ours)
    return better / worse if better > 0 and worse > 0 else math.nan
