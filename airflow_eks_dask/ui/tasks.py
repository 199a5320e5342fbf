"""What Airflow's database tells about workloads, as far as a user may see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import or_, select

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy.orm import Session

DRAIN_EVENT = "dask worker drain"
EVENTS = (DRAIN_EVENT, "queue not served", "state mismatch")
"""In Airflow's audit log: of this page, of the executor, and of Airflow when a workload ended without its task."""
EVENTS_SHOWN = 20


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
        row.external_executor_id: {
            "dag_id": row.dag_id,
            "run_id": row.run_id,
            "task_id": row.task_id,
            "map_index": row.map_index,
        }
        for row in rows
        if row.external_executor_id
    }


def named(workload: Mapping[str, Any], tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return a workload with its task instance; with ``None``, and without its label, if the user may not see that."""
    return {
        "queue": workload["queue"],
        "since": workload["since"],
        "task": tasks.get(workload["key"]),
    }


def recent_events(session: Session, dag_ids: Collection[str]) -> list[dict[str, Any]]:
    """
    Return the last faults and drains, the latest first.

    :param dag_ids: The DAGs that the user may read; events of others are left out.
    """
    rows = session.scalars(
        select(Log)
        .where(Log.event.in_(EVENTS), or_(Log.dag_id.is_(None), Log.dag_id.in_(list(dag_ids))))
        .order_by(Log.dttm.desc())
        .limit(EVENTS_SHOWN)
    )
    return [
        {
            "when": row.dttm.timestamp() if row.dttm else 0,
            "event": row.event,
            "what": ".".join(filter(None, [row.dag_id, row.task_id])) or row.owner,
            "reason": row.extra,
        }
        for row in rows
    ]


def note_drain(session: Session, user: str, worker: str, *, cancel: bool) -> None:
    """Write into Airflow's audit log who took a worker out of service, or back."""
    session.add(Log(event=DRAIN_EVENT, owner=user, extra=f"{worker} {'serves again' if cancel else 'drains'}"))
