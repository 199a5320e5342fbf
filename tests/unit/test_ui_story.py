"""What the page tells of runs and of the past, from Airflow's database."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from uuid import uuid4

import pytest
from airflow.models.dagrun import DagRun
from airflow.models.log import Log
from airflow.models.taskinstance import TaskInstance
from airflow.utils.state import DagRunState, TaskInstanceState
from airflow.utils.types import DagRunType

from airflow_eks_dask.executors.changes import Change, Journal
from airflow_eks_dask.ui import history, progress
from airflow_eks_dask.ui.progress import step_state

NOW = datetime.now(timezone.utc)
SUCCESS, FAILED, RUNNING = TaskInstanceState.SUCCESS, TaskInstanceState.FAILED, TaskInstanceState.RUNNING


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([None, None], "waiting"),
        ([None, "scheduled"], "waiting"),
        (["success", None], "running"),
        (["deferred", None], "running"),
        (["running", "up_for_retry"], "retrying"),
        (["success", "skipped"], "done"),
        (["skipped"], "skipped"),
        (["success", "upstream_failed"], "failed"),
        (["running", "failed"], "failed"),
    ],
)
def test_the_state_of_a_step(states, expected):
    assert step_state(states) == expected


class TestRuns:
    """Of DAGs that build the cluster or take it away."""

    @pytest.fixture
    def add(self, session):
        def add(dag_id, run_id, state, *, ended=None, **tasks):
            run = DagRun(dag_id=dag_id, run_id=run_id, run_type=DagRunType.MANUAL, state=state, start_date=NOW)
            run.end_date, run.run_after = ended, NOW
            session.add(run)
            for number, (task_id, task_state) in enumerate(tasks.items()):
                start = NOW + timedelta(seconds=number) if task_state else None
                values = {"dag_id": dag_id, "run_id": run_id, "task_id": task_id.replace("__", "."), "map_index": -1}
                more = {"state": task_state, "start_date": start, "pool": "default_pool", "try_number": 1}
                # Not by its constructor, which wants an operator.
                session.execute(TaskInstance.__table__.insert().values(id=uuid4(), **REST, **values, **more))
            session.commit()

        return add

    def test_steps_are_told_in_order_with_what_failed(self, session, add):
        add(
            "eks_dask_bootstrap",
            "r",
            DagRunState.RUNNING,
            preflight=SUCCESS,
            network__vpc=FAILED,
            network__nat=None,
            verify=None,
        )
        (run,) = progress.find_runs(session, {"eks_dask_bootstrap"})
        assert (run["run_id"], run["state"]) == ("r", "running")
        steps = {step["id"]: (step["state"], step["done"], step["total"]) for step in run["steps"]}
        assert list(steps) == ["preflight", "network", "verify"]
        assert steps == {"preflight": ("done", 1, 1), "network": ("failed", 0, 2), "verify": ("waiting", 0, 1)}
        (failed,) = run["steps"][1]["failed"]
        assert failed["task_id"] == "network.vpc"

    def test_others_are_left_out(self, session, add):
        add("eks_dask_bootstrap", "done", DagRunState.SUCCESS, ended=NOW - timedelta(hours=1))
        add("eksXdask_bootstrap", "like_it", DagRunState.RUNNING)
        add("sample_etl", "mine", DagRunState.RUNNING)
        add("eks_dask_teardown_secret", "not_mine", DagRunState.RUNNING)
        assert progress.find_runs(session, {"eks_dask_bootstrap", "eksXdask_bootstrap", "sample_etl"}) == []

    def test_the_end_is_shown_for_a_while(self, session, add):
        add("eks_dask_teardown", "1", DagRunState.FAILED, ended=NOW - timedelta(minutes=1))
        (run,) = progress.find_runs(session, {"eks_dask_teardown"})
        assert run["state"] == "failed"
        assert run["ended"] > 0

    def test_the_order_is_that_of_the_dag(self, session, add, monkeypatch):
        class Node:
            def __init__(self, name):
                self.node_id, self.label = name, name.title()

        class Dag:
            class task_group:  # noqa: N801
                @staticmethod
                def topological_sort():
                    return [Node("first"), Node("second")]

        class Dags:
            def get_dag_for_run(self, run, session):
                return Dag

        monkeypatch.setattr(progress, "_dags", Dags)
        add("eks_dask_bootstrap", "1", DagRunState.RUNNING, second__x=None, first__x=None)
        (run,) = progress.find_runs(session, {"eks_dask_bootstrap"})
        assert [step["label"] for step in run["steps"]] == ["First", "Second"]


REST = {
    "dag_version_id": None,
    "pool_slots": 1,
    "priority_weight": 1,
    "max_tries": 0,
    "custom_operator_name": "",
    "executor_config": {},
    "span_status": "not_started",
    "context_carrier": {},
}


def add_change(session, event, minutes_ago=0, **about):
    log = Log(event=event, owner="DaskExecutor", extra=json.dumps(about))
    log.dttm = NOW - timedelta(minutes=minutes_ago)
    session.add(log)
    session.commit()
    return log.dttm.timestamp()


class TestSince:
    """Since when a lane uses its cluster."""

    def test_starts_of_airflow_schedulers_do_not_count(self, session):
        add_change(session, "dask lane moved", 30, lane="default", cluster="a")
        moved = add_change(session, "dask lane moved", 20, lane="default", cluster="b", former="a")
        add_change(session, "dask lane moved", 10, lane="default", cluster="b")
        add_change(session, "dask lane moved", 5, lane="gpu", cluster="c")
        assert history.lanes_since(session, {"default": "b", "local": "d"}) == {"default": moved}

    def test_it_is_not_known_if_the_log_tells_of_another_cluster(self, session):
        add_change(session, "dask lane moved", 1, lane="default", cluster="a")
        assert history.lanes_since(session, {"default": "b"}) == {}

    def test_an_entry_that_somebody_else_made_does_no_harm(self, session):
        for extra in (None, "", "{", "[1]", '"x"'):
            session.add(Log(event="dask lane moved", extra=extra))
        session.commit()
        assert history.lanes_since(session, {"default": "a"}) == {}
        assert len(history.recent_events(session, ())) == 5


class TestEvents:
    """Moves and faults, in sentences."""

    @pytest.mark.parametrize(
        ("event", "about", "what", "fault"),
        [
            ("dask lane moved", {"lane": "default", "cluster": "b"}, "Lane default runs on b", False),
            (
                "dask lane moved",
                {"lane": "default", "cluster": "b", "former": "a"},
                "Lane default moved from a to b",
                False,
            ),
            ("dask lane lost", {"lane": "gpu"}, "Lane gpu: nothing says any more where its cluster is", True),
            ("dask cluster lost", {"cluster": "b", "reason": "gone"}, "Lost b", True),
            ("dask cluster not reached", {"cluster": "b", "reason": "gone"}, "Could not reach b", True),
            ("dask cluster connected", {"cluster": "b"}, "Connected to b", False),
            ("dask cluster left", {"cluster": "b"}, "Nothing runs on b any more", False),
        ],
    )
    def test_what_the_executor_writes(self, session, event, about, what, fault):
        for entry in Journal("DaskExecutor").entries([Change(event, about)]):
            session.add(entry)
        session.commit()
        (told,) = history.recent_events(session, ())
        assert told["what"].startswith(what)
        assert (told["fault"], told["reason"]) == (fault, about.get("reason"))

    def test_there_are_not_too_many(self, session):
        for number in range(history.EVENTS_SHOWN + 5):
            add_change(session, "dask cluster lost", number, cluster=str(number))
        told = history.recent_events(session, ())
        assert len(told) == history.EVENTS_SHOWN
        assert told[0]["what"] == "Lost 0"


def test_a_connection_that_comes_and_goes_does_not_fill_the_database(caplog):
    from airflow_eks_dask.executors.changes import LIMIT, WINDOW

    now = [0.0]
    journal = Journal("DaskExecutor", lambda: now[0])
    flapping = [Change("dask cluster lost", {"cluster": "a"})] * (LIMIT + 10)
    assert len(journal.entries(flapping)) == LIMIT
    assert "Not written into the audit log" in caplog.text
    # Somebody has decided that a lane moves.
    assert len(journal.entries([Change("dask lane moved", {"lane": "default"})])) == 1
    now[0] = WINDOW
    assert len(journal.entries(flapping)) == LIMIT
