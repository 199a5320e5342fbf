"""A DAG run without Airflow: what its tasks leave for one another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator


class Run:
    """
    Runs tasks, and stands in for the task instance that they ask for results.

    ``left``: what they pushed, by task and key.
    """

    def __init__(self) -> None:
        self.left: dict[tuple[str, str], Any] = {}
        self._task_id = ""

    def run(self, task: BaseOperator) -> Any:
        """Run a task, and return what it returns."""
        self._task_id = task.task_id
        return task.execute({"ti": self, "task_instance": self, "task": task})

    def xcom_push(self, key: str, value: Any, **_: Any) -> None:
        """Keep what a task leaves for others."""
        self.left[self._task_id, key] = value

    def xcom_pull(self, task_ids: list[str], key: str) -> list[Any]:
        """Return what tasks have left."""
        return [self.left.get((task_id, key)) for task_id in task_ids]
