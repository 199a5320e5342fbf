"""Which of several runs works on a cluster."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_eks_dask.bootstrap import runs
from airflow_eks_dask.hooks.airflow_api import ApiTarget
from tests.airflow_api import Api
from tests.http_server import serving

FORM = {"cluster_name": "pipelines", "region_name": "", "plan_only": False, "airflow_api_conn_id": "airflow_api"}


def a_run(run_id, minute=0, dag_id=runs.BOOTSTRAP, **conf):
    queued = f"2026-01-01T00:{minute:02}:00Z"
    return {"dag_id": dag_id, "dag_run_id": run_id, "state": "running", "queued_at": queued, "conf": conf}


def first(active, run_id="ours", dag_id=runs.BOOTSTRAP, **form):
    found = runs.first_other(active, dag_id, run_id, FORM | form)
    return found and found["dag_run_id"]


def test_who_is_alone_goes_on():
    assert first([a_run("ours")]) is None


def test_the_second_is_refused_and_the_first_is_not():
    active = [a_run("ours", 5), a_run("theirs", 3)]
    assert first(active) == "theirs"
    assert first(active, "theirs") is None


def test_of_two_at_the_same_moment_one_is_refused():
    active = [a_run("ours"), a_run("theirs")]
    assert [first(active), first(active, "theirs")].count(None) == 1


def test_a_run_that_failed_and_is_cleared_waits_for_the_one_at_work():
    # Clearing its tasks has queued it again.
    active = [a_run("failed, cleared", 9), a_run("at work", 5)]
    assert first(active, "failed, cleared") == "at work"
    assert first(active, "at work") is None


def test_building_and_removing_are_in_each_others_way():
    active = [a_run("ours", 5), a_run("removal", 1, runs.TEARDOWN, cluster_name="pipelines")]
    assert first(active) == "removal"


@pytest.mark.parametrize(
    "conf",
    [{"cluster_name": "other"}, {"region_name": "eu-west-1"}, {"plan_only": True}],
)
def test_others_are_not_in_the_way(conf):
    active = [a_run("ours", 5), a_run("theirs", 1, **conf)]
    assert first(active, region_name="eu-central-1") is None


@pytest.mark.parametrize("conf", [{}, {"region_name": ""}, {"region_name": None}, {"region_name": "eu-central-1"}])
def test_a_region_that_is_not_said_may_be_the_same(conf):
    active = [a_run("ours", 5), a_run("theirs", 1, **conf)]
    assert first(active, region_name="eu-central-1") == "theirs"


@pytest.fixture
def api(monkeypatch):
    api = Api()
    target = ApiTarget(api.url, "ada", "lovelace", source="connection 'airflow_api'")
    monkeypatch.setattr(runs, "find_api", lambda _: target)
    with serving(api.server):
        yield api


def context(**form):
    ours = SimpleNamespace(dag_id=runs.BOOTSTRAP, run_id="ours")
    return {"params": FORM | form, "dag_run": ours}


def test_a_task_of_the_second_fails_for_good(api):
    api.runs = [a_run("theirs", 1), a_run("ours", 2)]
    with pytest.raises(AirflowFailException, match="Run theirs of eks_dask_bootstrap works on the cluster pipelines"):
        runs.refuse_second(context())
    api.runs[0]["state"] = "success"
    runs.refuse_second(context())


def test_a_plan_is_never_refused(api):
    api.runs = [a_run("theirs", 1)]
    runs.refuse_second(context(plan_only=True))
    assert api.requests == []


def test_nothing_is_done_while_others_can_not_be_seen(api):
    api.logins = {}
    with pytest.raises(AirflowFailException, match=r"could not be found out: .*Invalid credentials"):
        runs.refuse_second(context())
