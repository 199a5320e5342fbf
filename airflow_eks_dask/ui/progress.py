"""How far runs of the DAGs have come that build the cluster or take it away, step by step."""

from __future__ import annotations

import logging
from collections import defaultdict
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.models.dagbag import DBDagBag
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from airflow.utils.state import DagRunState, TaskInstanceState
from sqlalchemy import or_, select

from airflow_eks_dask.bootstrap.runs import BOOTSTRAP, TEARDOWN
from airflow_eks_dask.ui.tasks import task_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

PREFIXES = (BOOTSTRAP, TEARDOWN)
KEPT = timedelta(minutes=30)
"""For so long the end of a run is shown."""
RUNS_SHOWN = 4
FAILED_SHOWN = 5

DONE = (TaskInstanceState.SUCCESS, TaskInstanceState.SKIPPED)
FAILED = (TaskInstanceState.FAILED, TaskInstanceState.UPSTREAM_FAILED)
ENDED = ("done", "failed", "skipped")
"""Of the states of a step."""


@cache
def _dags() -> DBDagBag:
    return DBDagBag(load_op_links=False)


def find_runs(session: Session, dag_ids: Collection[str]) -> list[dict[str, Any]]:
    """
    Return the runs under way, and those that ended a moment ago, the latest first.

    :param dag_ids: The DAGs that the user may read.
    """
    under_way = DagRun.state.in_([DagRunState.QUEUED, DagRunState.RUNNING])
    rows = session.scalars(
        select(DagRun)
        .where(
            or_(*(DagRun.dag_id.startswith(prefix, autoescape=True) for prefix in PREFIXES)),
            DagRun.dag_id.in_(list(dag_ids)),
            or_(under_way, DagRun.end_date > datetime.now(timezone.utc) - KEPT),
        )
        .order_by(DagRun.id.desc())
        .limit(RUNS_SHOWN)
    )
    return [_run(session, row) for row in rows]


def _run(session: Session, run: DagRun) -> dict[str, Any]:
    tasks: defaultdict[str, list[TaskInstance]] = defaultdict(list)
    query = select(TaskInstance).where(
        TaskInstance.dag_id == run.dag_id,
        TaskInstance.run_id == run.run_id,
        or_(TaskInstance.state.is_(None), TaskInstance.state != TaskInstanceState.REMOVED),
    )
    for ti in session.scalars(query):
        tasks[ti.task_id.partition(".")[0]].append(ti)
    labels = _labels(session, run)
    order = {step: number for number, step in enumerate(labels)}
    steps = sorted(tasks, key=lambda step: (order.get(step, len(order)), _started(tasks[step]) or float("inf"), step))
    return {
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "state": str(run.state),
        "started": run.start_date.timestamp() if run.start_date else None,
        "ended": run.end_date.timestamp() if run.end_date else None,
        "steps": [{"id": step, "label": labels.get(step, step), **_step(tasks[step])} for step in steps],
    }


def _labels(session: Session, run: DagRun) -> dict[str, str]:
    """Return the steps of a DAG, with what people call them, in the order in which they can begin."""
    try:
        dag = _dags().get_dag_for_run(run, session)
        children = dag.task_group.topological_sort() if dag else []
    except Exception as error:  # noqa: BLE001 - whatever is wrong with a DAG in the database, its steps have names
        log.warning("The order of the steps of DAG %s cannot be read: %s", run.dag_id, error)
        return {}
    return {str(node.node_id): str(node.label) for node in children}


def _step(tasks: Sequence[TaskInstance]) -> dict[str, Any]:
    failed = [ti for ti in tasks if ti.state == TaskInstanceState.FAILED]
    ended = [ti.end_date.timestamp() for ti in tasks if ti.end_date]
    state = step_state([ti.state for ti in tasks])
    return {
        "state": state,
        "done": sum(ti.state in DONE for ti in tasks),
        "total": len(tasks),
        "started": _started(tasks),
        "ended": max(ended) if ended and state in ENDED else None,
        "failed": [task_of(ti.dag_id, ti.run_id, ti.task_id, ti.map_index) for ti in failed[:FAILED_SHOWN]],
    }


def step_state(states: Iterable[str | None]) -> str:
    """
    Return the state of a step, in one word.

    :param states: Those of its tasks; None for one that was not looked at yet.
    """
    all_of = set(states)
    if all_of & set(FAILED):
        return "failed"
    if all_of <= set(DONE):
        return "skipped" if all_of == {TaskInstanceState.SKIPPED} else "done"
    if TaskInstanceState.UP_FOR_RETRY in all_of:
        return "retrying"
    return "waiting" if all_of <= {None, TaskInstanceState.SCHEDULED} else "running"


def _started(tasks: Sequence[TaskInstance]) -> float | None:
    return min((ti.start_date.timestamp() for ti in tasks if ti.start_date), default=None)
