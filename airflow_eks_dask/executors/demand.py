"""
How many tasks wait in Airflow, by queue.

Airflow asks an executor how many tasks it takes, then sends those of highest priority, whatever their queue. Room in
one lane must therefore be offered only while tasks of that lane are there to take it, or it would be filled with tasks
that wait for another.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from sqlalchemy import func, select

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)

INTERVAL = 1.0


def scheduled_by_queue() -> dict[str, int]:
    """Count the tasks that are ready to be queued, by queue."""
    from airflow.models.taskinstance import TaskInstance
    from airflow.utils.session import create_session
    from airflow.utils.state import TaskInstanceState

    query = (
        select(TaskInstance.queue, func.count())
        .where(TaskInstance.state == TaskInstanceState.SCHEDULED)
        .group_by(TaskInstance.queue)
    )
    with create_session() as session:
        return {queue: count for queue, count in session.execute(query) if queue}


class DemandWatch:
    """
    Counts again and again while somebody wants to know, in a thread of its own.

    :param counter: Counts.
    """

    def __init__(self, counter: Callable[[], Mapping[str, int]] = scheduled_by_queue) -> None:
        self._counter = counter
        self._counts: Mapping[str, int] = {}
        self._wanted = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def counts(self) -> Mapping[str, int]:
        """Return the last counts, and have them counted anew."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="dask-demand-watch", daemon=True)
            self._thread.start()
        self._wanted.set()
        return self._counts

    def stop(self) -> None:
        """End the watch; a count under way is not waited for."""
        self._stop.set()
        self._wanted.set()

    def _run(self) -> None:
        failing = False
        while not self._stop.wait(INTERVAL):
            self._wanted.wait()
            self._wanted.clear()
            if self._stop.is_set():
                return
            try:
                self._counts = dict(self._counter())
                failing = False
            except Exception as error:  # noqa: BLE001 - without the database Airflow itself stands still, we wait with it
                if not failing:
                    log.warning("The tasks that wait could not be counted: %s", error)
                failing = True
