"""What Airflow's database tells about workloads, as far as a user may see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.models.taskinstance import TaskInstance
from sqlalchemy import select

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy.orm import Session


def find_tasks(session: Session, keys: Collection[str], dag_ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """
    Return the task instances of workloads.

    :param keys: Of the workloads, which Airflow keeps as ``external_executor_id``.
    :param dag_ids: The DAGs that the user may read; task instances of others are left out.
    """
    rows = session.scalars(
        select(TaskInstance).where(
            TaskInstance.external_executor_id.in_(list(keys)), TaskInstance.dag_id.in_(list(dag_ids))
        )
    )
    return {
        row.external_executor_id: task_of(row.dag_id, row.run_id, row.task_id, row.map_index)
        for row in rows
        if row.external_executor_id
    }


def task_of(dag_id: str, run_id: str | None, task_id: str, map_index: int | None) -> dict[str, Any]:
    """Return what the page needs to link to a task instance."""
    return {
        "dag_id": dag_id,
        "run_id": run_id,
        "task_id": task_id,
        "map_index": -1 if map_index is None else map_index,
    }


def named(workload: Mapping[str, Any], tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return a workload with its task instance; with ``None``, and without its label, if the user may not see that."""
    return {
        "queue": workload["queue"],
        "since": workload["since"],
        "task": tasks.get(workload["key"]),
    }
