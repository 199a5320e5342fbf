"""How long everything took."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from airflow_eks_dask.local.client import TaskInstance


@dataclass
class Timetable:
    """Steps, each with its seconds, as they are done."""

    steps: list[tuple[str, float]] = field(default_factory=list)
    begun: float = field(default_factory=time.monotonic)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure a step, and tell when it is done."""
        start = time.monotonic()
        yield
        self.steps.append((name, time.monotonic() - start))
        print(f"{self.steps[-1][1]:8.1f} s  {name}", flush=True)

    def tell(self) -> None:
        """Tell what all of it took."""
        print(f"{time.monotonic() - self.begun:8.1f} s  in all", flush=True)


def tell_groups(tasks: Iterable[TaskInstance]) -> None:
    """Tell how long each group of tasks of a run took, and when it began after the first."""
    spans: dict[str, list[datetime]] = {}
    for task in tasks:
        if task.data["start_date"] and task.data["end_date"]:
            moments = [datetime.fromisoformat(task.data[name]) for name in ("start_date", "end_date")]
            spans.setdefault(task.task_id.partition(".")[0], []).extend(moments)
    first = min(min(moments) for moments in spans.values())
    for group, moments in sorted(spans.items(), key=lambda each: min(each[1])):
        begun, took = (min(moments) - first).total_seconds(), (max(moments) - min(moments)).total_seconds()
        print(f"           {took:8.1f} s  {group}, begun after {begun:.0f} s", flush=True)
