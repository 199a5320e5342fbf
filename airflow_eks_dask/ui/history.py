"""What happened to lanes, clusters and workers, read from Airflow's audit log as far as a user may see it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow.models.log import Log
from sqlalchemy import or_, select

from airflow_eks_dask.executors import changes
from airflow_eks_dask.ui.tasks import task_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from sqlalchemy.orm import Session

WORKER_DRAINED = "dask worker drain"
TASK_NOT_ENDED = "state mismatch"
"""What Airflow calls it when a workload ended without its task."""

_SENTENCES = {
    changes.LANE_LOST: "Lane {lane}: nothing says any more where its cluster is, and new tasks wait",
    changes.CLUSTER_CONNECTED: "Connected to {cluster}",
    changes.CLUSTER_UNREACHED: "Could not reach {cluster}; tasks wait",
    changes.CLUSTER_LOST: "Lost {cluster}",
    changes.CLUSTER_LEFT: "Nothing runs on {cluster} any more, and no lane uses it",
}
_FAULTS = (
    changes.LANE_LOST,
    changes.CLUSTER_UNREACHED,
    changes.CLUSTER_LOST,
    changes.QUEUE_NOT_SERVED,
    TASK_NOT_ENDED,
)
EVENTS = (*_FAULTS, changes.LANE_MOVED, changes.CLUSTER_CONNECTED, changes.CLUSTER_LEFT, WORKER_DRAINED)
EVENTS_SHOWN = 30
MOVES_READ = 200
"""How far back it is looked for since when a lane uses its cluster: each start of an Airflow scheduler is in there."""


def recent_events(session: Session, dag_ids: Collection[str]) -> list[dict[str, Any]]:
    """
    Return the last moves, faults and drains, the latest first.

    :param dag_ids: The DAGs that the user may read; events of others are left out.
    """
    rows = session.scalars(
        select(Log)
        .where(Log.event.in_(EVENTS), or_(Log.dag_id.is_(None), Log.dag_id.in_(list(dag_ids))))
        .order_by(Log.dttm.desc(), Log.id.desc())
        .limit(EVENTS_SHOWN)
    )
    return [_event(row) for row in rows]


def lanes_since(session: Session, clusters: Mapping[str, str]) -> dict[str, float]:
    """
    Return since when lanes use their clusters, in seconds since 1970, as far as the audit log tells.

    :param clusters: The name of each lane's cluster.
    """
    rows = session.scalars(
        select(Log).where(Log.event == changes.LANE_MOVED).order_by(Log.dttm.desc(), Log.id.desc()).limit(MOVES_READ)
    )
    since: dict[str, float] = {}
    before: set[str] = set()
    for row in rows:
        about = _about(row)
        lane = about.get("lane", "")
        if lane in before or lane not in clusters or row.dttm is None:
            continue
        if about.get("cluster") == clusters[lane]:
            since[lane] = row.dttm.timestamp()
        else:
            before.add(lane)
    return since


def note_drain(session: Session, user: str, worker: str, *, cancel: bool) -> None:
    """Write into Airflow's audit log who took a worker out of service, or back."""
    session.add(Log(event=WORKER_DRAINED, owner=user, extra=f"{worker} {'serves again' if cancel else 'drains'}"))


def _event(row: Log) -> dict[str, Any]:
    about = _about(row)
    if row.event == WORKER_DRAINED:
        what, reason = f"Worker {row.extra}", f"asked for by {row.owner}"
    elif row.event == changes.LANE_MOVED:
        what, reason = _move(about), None
    elif row.event in _SENTENCES:
        what, reason = _SENTENCES[row.event].format_map({"lane": "?", "cluster": "a cluster", **about}), None
    else:
        what, reason = row.event.capitalize(), row.extra
    return {
        "when": row.dttm.timestamp() if row.dttm else 0,
        "what": what,
        "reason": about.get("reason") or reason,
        "fault": row.event in _FAULTS,
        "task": task_of(row.dag_id, row.run_id, row.task_id, row.map_index) if row.dag_id and row.task_id else None,
    }


def _move(about: Mapping[str, str]) -> str:
    lane, cluster, former = about.get("lane", "?"), about.get("cluster", "a cluster"), about.get("former")
    return f"Lane {lane} moved from {former} to {cluster}" if former else f"Lane {lane} runs on {cluster}"


def _about(row: Log) -> dict[str, str]:
    """Return what the executor has written about a change; nothing for what others have."""
    try:
        about = json.loads(row.extra or "{}")
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in about.items()} if isinstance(about, dict) else {}
