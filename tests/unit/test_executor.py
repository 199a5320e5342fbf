"""The executor's side of Airflow's contract, without a cluster."""

from __future__ import annotations

import json
import uuid
from types import SimpleNamespace

import pytest
from airflow.executors import workloads
from airflow.executors.workloads.base import BundleInfo
from airflow.executors.workloads.task import TaskInstanceDTO
from airflow.utils.state import TaskInstanceState

from airflow_eks_dask import DaskExecutor
from airflow_eks_dask.endpoint import Endpoint
from airflow_eks_dask.executors import dask_executor
from airflow_eks_dask.executors.cluster import Cluster
from airflow_eks_dask.executors.lanes import Lanes
from airflow_eks_dask.executors.settings import DaskSettings
from airflow_eks_dask.worker.protocol import Capacity
from tests.unit.fake_link import FakeLink

ENDPOINT = Endpoint("tcp://127.0.0.1:1")


def task(name: str = "t", **changes) -> workloads.ExecuteTask:
    fields = {
        "id": uuid.uuid4(),
        "task_id": name,
        "dag_id": "d",
        "run_id": "r",
        "try_number": 1,
        "map_index": -1,
        "dag_version_id": uuid.uuid4(),
        "pool_slots": 1,
        "queue": "default",
        "priority_weight": 1,
        "external_executor_id": f"id of {name}",
        **changes,
    }
    return workloads.ExecuteTask(
        ti=TaskInstanceDTO(**fields),
        dag_rel_path="d.py",
        token="secret",
        log_path=f"d/{name}.log",
        bundle_info=BundleInfo(name="b"),
    )


class Executor(DaskExecutor):
    """One whose clusters are fake links, and that keeps what it tells Airflow."""

    def __init__(self, **options) -> None:
        super().__init__(parallelism=8, **options)
        self._settings = DaskSettings(None, "", 10)
        self._connections = self._demand = SimpleNamespace(news=dict, counts=dict, stop=lambda: None)
        self.links: dict[Endpoint | None, FakeLink] = {}
        self._lanes = Lanes((), "default", self._new_cluster)
        self._lanes.point("default", ENDPOINT)

    def _new_cluster(self, endpoint):
        self.links[endpoint] = FakeLink()
        return Cluster("test", self.links[endpoint], 300)

    @property
    def link(self) -> FakeLink:
        return self.links[ENDPOINT]


@pytest.fixture
def executor():
    return Executor()


@pytest.mark.parametrize(("address", "expected"), [("", True), ("tcp://127.0.0.1:8786", False)])
def test_is_local_while_no_address_is_set(address, expected, monkeypatch):
    monkeypatch.setenv("AIRFLOW__DASK__CLUSTER_ADDRESS", address)
    assert DaskExecutor.is_local is expected
    assert DaskExecutor.serve_logs is expected


class TestSlots:
    """How many tasks it takes from Airflow."""

    def test_none_before_the_cluster_is_there(self, executor):
        executor.sync()
        assert executor.slots_available == 0

    def test_what_the_cluster_can_run(self, executor):
        executor.link.connect(slots=4, free=3)
        executor.sync()
        assert executor.slots_available == 3

    def test_no_more_than_parallelism(self, executor):
        executor.link.connect(slots=90)
        executor.sync()
        assert executor.slots_available == 8

    def test_none_while_the_cluster_is_away(self, executor):
        executor.link.connect()
        executor.link.disconnect()
        executor.sync()
        assert executor.slots_available == 0


def test_a_task_becomes_a_submission(executor):
    executor.link.connect()
    executor.sync()
    config = {"dask": {"resources": {"GPU": 1}}, "other": "is not ours"}
    workload = task(queue="large", priority_weight=7, map_index=3, executor_config=config)
    executor._process_workloads([workload])
    (submission,) = executor.link.submitted.values()
    assert (submission.key, submission.queue, submission.priority) == ("id of t", "large", 7)
    assert (submission.resources, submission.log_path) == ({"GPU": 1.0}, "d/t.log")
    assert submission.label == "d.t[3] r try 1"
    assert b"secret" in submission.payload
    assert "secret" not in repr(submission)
    assert workload.ti.key in executor.running


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"resource": {"GPU": 1}}, "resource: Extra inputs are not permitted"),
        ({"resources": {"GPU": 0}}, "resources.GPU: Input should be greater than 0"),
        ({"resources": {"GPU": "much"}}, "resources.GPU: Input should be a valid number"),
        ({"resources": {"airflow": 2}}, "every task holds one slot"),
        ("large", "it: Input should be a valid dictionary"),
    ],
)
def test_a_wrong_executor_config_fails_its_task_alone(executor, config, words):
    executor.link.connect()
    executor.sync()
    wrong, right = task("wrong", executor_config={"dask": config}), task("right")
    executor._process_workloads([wrong, right])
    state, reason = executor.event_buffer[wrong.ti.key]
    assert state == TaskInstanceState.FAILED
    assert words in reason
    assert set(executor.link.submitted) == {"id of right"}


def test_how_a_task_ended_is_told_with_the_reason(executor):
    executor.link.connect()
    executor.sync()
    good, bad = task("good"), task("bad")
    executor._process_workloads([good, bad])
    executor.link.end("id of good")
    executor.link.end("id of bad", success=False, reason="worker w lost while running it")
    executor.sync()
    assert executor.event_buffer[good.ti.key] == (TaskInstanceState.SUCCESS, None)
    assert executor.event_buffer[bad.ti.key] == (TaskInstanceState.FAILED, "worker w lost while running it")
    assert not executor.running


def test_sync_never_raises(executor, capsys):
    executor.link.pending = [object()]
    executor._lanes.sync = None
    executor.sync()
    assert "could not take in" in capsys.readouterr().out


def test_a_queue_nobody_serves_is_told_in_the_event_log_of_the_task(executor):
    executor.link.connect()
    executor.sync()
    told = []
    executor.log_task_event = lambda **event: told.append(event)
    workload = task(queue="large")
    executor._process_workloads([workload])
    executor.link.pending.append(Capacity(1, 4, 4, {"default": 4}, {"large": 1}))
    executor.sync()
    (event,) = told
    assert event["ti_key"] == workload.ti.key
    assert "'large'" in event["extra"]


def test_what_happens_to_clusters_is_left_for_the_audit_log(executor):
    executor.link.connect()
    executor.sync()
    executor.link.disconnect("no answer")
    executor.sync()
    told = [(entry.event, json.loads(entry.extra), entry.owner, entry.dag_id) for entry in executor._task_event_logs]
    moved = {"lane": "default", "cluster": f"the cluster at {ENDPOINT.address}"}
    assert told == [
        ("dask lane moved", moved, "Executor", None),
        ("dask cluster connected", {"cluster": "test"}, "Executor", None),
        ("dask cluster lost", {"cluster": "test", "reason": "no answer"}, "Executor", None),
    ]


class TestAdoption:
    """Tasks of an Airflow scheduler that is gone."""

    @staticmethod
    def ti(workload, state):
        return SimpleNamespace(
            key=workload.ti.key,
            queue=workload.ti.queue,
            state=state,
            external_executor_id=workload.ti.external_executor_id,
        )

    def test_those_the_cluster_has_are_taken_over_and_the_rest_starts_again(self, executor):
        executor.link.connect()
        executor.sync()
        ran, never = task("ran"), task("never")
        tis = [self.ti(ran, TaskInstanceState.RUNNING), self.ti(never, TaskInstanceState.QUEUED)]

        def ask(question):
            executor.link.asked = list(question.keys)
            executor.link.answer(present=("id of ran",))

        executor.link.ask = ask
        assert executor.try_adopt_task_instances(tis) == [tis[1]]
        assert executor.running == {ran.ti.key}
        assert never.ti.key not in executor.event_buffer
        executor.link.end("id of ran")
        executor.sync()
        assert executor.event_buffer[ran.ti.key][0] == TaskInstanceState.SUCCESS

    def test_without_an_answer_all_count_as_running(self, executor, monkeypatch):
        monkeypatch.setattr(dask_executor, "_ADOPTION_TIMEOUT", 0.2)
        assert executor.try_adopt_task_instances([self.ti(task(), TaskInstanceState.RUNNING)]) == []
        assert len(executor.running) == 1

    def test_those_of_an_embedded_cluster_ended_with_it(self, executor):
        ti = self.ti(task(queue="local"), TaskInstanceState.RUNNING)
        assert executor.try_adopt_task_instances([ti]) == [ti]

    def test_what_has_no_id_cannot_be_found(self, executor):
        ti = self.ti(task(external_executor_id=None), TaskInstanceState.QUEUED)
        assert executor.try_adopt_task_instances([ti]) == [ti]


def test_a_revoked_task_is_forgotten_and_ended(executor):
    executor.link.connect()
    executor.sync()
    workload = task()
    executor._process_workloads([workload])
    executor.revoke_task(ti=SimpleNamespace(key=workload.ti.key))
    assert executor.link.revoked == ["id of t"]
    assert not executor.running


def test_debug_dump_tells_of_clusters(executor, capsys):
    executor.link.connect()
    executor.sync()
    executor.debug_dump()
    assert "'slots': 4" in capsys.readouterr().out


def test_gauges_tell_of_each_lane(executor, monkeypatch):
    gauges = {}
    monkeypatch.setattr(
        dask_executor.compat, "gauge", lambda name, value, tags: gauges.update({(name, tags["lane"]): value})
    )
    executor.link.connect(slots=4, free=3)
    executor.sync()
    assert gauges["dask_executor.slots", "default"] == 4
    assert gauges["dask_executor.free", "default"] == 3
    assert gauges["dask_executor.connected", "default"] == 1


def test_gauges_tell_of_a_lane_whose_cluster_is_not_known(executor, monkeypatch, capsys):
    gauges = {}
    monkeypatch.setattr(
        dask_executor.compat, "gauge", lambda name, value, tags: gauges.update({(name, tags["lane"]): value})
    )
    executor._lanes = Lanes(["gpu"], "default", executor._new_cluster)
    executor._process_workloads([task(queue="gpu")])
    executor.sync()
    assert "could not take in" not in capsys.readouterr().out
    assert gauges["dask_executor.connected", "gpu"] == 0
    assert gauges["dask_executor.in_flight", "gpu"] == 1
