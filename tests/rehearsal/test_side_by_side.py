"""Two bootstraps at the same time, and Airflow restarted in the middle of both; a second one of the same name."""

from __future__ import annotations

import pytest

from airflow_eks_dask.bootstrap.runs import BOOTSTRAP, TEARDOWN
from airflow_eks_dask.local.airflow import COMPONENTS
from tests.conftest import eventually
from tests.rehearsal.stage import SECOND_CONNECTION, TIMEOUT
from tests.rehearsal.timetable import tell_groups

pytestmark = [pytest.mark.any_airflow, pytest.mark.timeout(5400)]

FORMS = {
    "first": {"namespace": "dask"},
    "second": {"namespace": "dask-two", "connection_id": SECOND_CONNECTION, "cidr": "10.21.0.0/16"},
}
GONE = {"database": "delete", "keep_bucket": False}


@pytest.fixture
def start(stage):
    def start(name):
        small = {"workers": 1, "database": "none", "bucket": False, "dashboard": False}
        form = stage.form(cluster_name=name, **small, **FORMS[name])
        return stage.client.trigger(BOOTSTRAP, form)

    stage.client.wait_for_dag(BOOTSTRAP)
    return start


def wait_until(stage, run_id, task_id, *states):
    eventually(lambda: stage.states(BOOTSTRAP, run_id)[task_id].state in states, what=f"{task_id} is {states}")


def test_two_at_a_time_and_a_restart_in_the_middle(stage, start, timetable):
    runs = {name: start(name) for name in FORMS}
    with timetable.step("a second one of the same name is refused"):
        again = start("first")
        stage.client.wait_for_run(BOOTSTRAP, again, timeout=TIMEOUT, expected="failed")
        said = stage.client.task_log(BOOTSTRAP, again, "preflight.form")
        assert f"Run {runs['first']} of {BOOTSTRAP} works on the cluster first" in said
    with timetable.step("clusters are being made"):
        for run_id in runs.values():
            wait_until(stage, run_id, "cluster.cluster", "deferred", "success")
    with timetable.step("Airflow is restarted"):
        for name in COMPONENTS:
            stage.airflow.restart_component(name)
    with timetable.step("both are done"):
        for run_id in runs.values():
            stage.client.wait_for_run(BOOTSTRAP, run_id, timeout=TIMEOUT, poll_interval=2)
            tell_groups(stage.client.task_instances(BOOTSTRAP, run_id))
    assert set(stage.connections()) >= {"dask_default", SECOND_CONNECTION}
    assert stage.aws.boto("eks").list_clusters()["clusters"] == sorted(FORMS)
    for run_id in runs.values():
        assert "runs Airflow's tasks" in stage.note(BOOTSTRAP, run_id)

    with timetable.step("both are taken down"):
        away = {
            name: stage.client.trigger(TEARDOWN, {"cluster_name": name, "cluster_name_again": name, **GONE})
            for name in FORMS
        }
        for run_id in away.values():
            stage.client.wait_for_run(TEARDOWN, run_id, timeout=TIMEOUT, poll_interval=2)
    assert stage.aws.boto("eks").list_clusters()["clusters"] == []
    assert not set(stage.connections()) & {"dask_default", SECOND_CONNECTION}
