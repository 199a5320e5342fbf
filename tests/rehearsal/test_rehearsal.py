"""From Airflow's UI, in a real browser: build, watch, use, and take down; nothing is left."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.sync_api import expect

from airflow_eks_dask.bootstrap.runs import BOOTSTRAP, TEARDOWN
from airflow_eks_dask.local.client import AirflowApiError
from tests.aws import account
from tests.browser.site import PATH, rows, section
from tests.cluster.conftest import kubectl
from tests.rehearsal.stage import TIMEOUT, objects
from tests.rehearsal.timetable import tell_groups
from tests.rehearsal.visitor import Visitor

pytestmark = [pytest.mark.any_airflow, pytest.mark.timeout(5400)]

SAMPLE = "sample_parallel"
NAMESPACE = "dask"
POD = re.compile(r"pipeline-worker-default-[\w-]+")
NAMESPACES = f"({NAMESPACE}|headlamp)"
GOES_WITH_THE_CLUSTER = re.compile(
    rf"Namespace /{NAMESPACES}|ServiceAccount {NAMESPACES}/default|ConfigMap {NAMESPACES}/kube-root-ca.crt"
    rf"|Secret {NAMESPACES}/default-token-\w+"
    rf"|Secret {NAMESPACE}/pipeline-(authority|scheduler-tls|worker-tls|client-tls)"
)
"""What a cluster takes with it when AWS deletes it; here it is there for other tests."""


def world(stage):
    """What there is outside of the cluster."""
    return stage.connections(), stage.variables()


def steps_of(frame, dag_id, state):
    """Wait until the page says how a run has ended; all its steps have."""
    progress = section(frame, dag_id)
    expect(progress.get_by_text(state, exact=True).first).to_be_visible(timeout=TIMEOUT * 1000)
    return [each.inner_text() for each in progress.get_by_role("listitem").all()]


def test_all_of_it(stage, site, timetable):
    before = account.contents(stage.aws), objects(), world(stage)
    scheduler = stage.airflow.pid("scheduler")
    visitor = Visitor(site.visitor(None))
    with timetable.step("log in, open the DAG, fill in the form, trigger it"):
        visitor.log_in("admin", stage.passwords["admin"])
        visitor.open_dag(BOOTSTRAP)
        built = visitor.trigger(stage.form(), stage.schemas(BOOTSTRAP))
    with timetable.step("bootstrap, followed on the page"):
        frame = visitor.open_cluster_page()
        steps = steps_of(frame, BOOTSTRAP, "success")
    assert len(steps) == 14
    tell_groups(stage.client.task_instances(BOOTSTRAP, built))
    run = stage.client.wait_for_run(BOOTSTRAP, built)
    assert run.state == "success"
    assert stage.authenticator.admitted
    note = stage.note(BOOTSTRAP, built)
    address = re.search(r"4 slots at `(tls://[\d.]+:8786)`", note)[1]

    with timetable.step("who may see nothing sees nothing"):
        nothing_is_told(stage, built)

    with timetable.step("the executor has moved"):
        there = section(frame, f"The cluster at {address}")
        expect(there.get_by_text("lane default", exact=True)).to_be_visible()
        expect(there.get_by_text("connected", exact=True)).to_be_visible()
        expect(section(frame, "The embedded cluster").get_by_text("lane local", exact=True)).to_be_visible()
        expect(rows(frame, f"Workers of the cluster at {address}")).to_have_count(2)

    with timetable.step("a sample pipeline, triggered in the UI, and its log"):
        visitor.open_dag(SAMPLE)
        sample = visitor.trigger({"n": 6, "seconds": 1}, stage.schemas(SAMPLE))
        stage.client.wait_for_run(SAMPLE, sample, timeout=TIMEOUT)
        pods = set(kubectl("--namespace", NAMESPACE, "get", "pods", "--output=name").replace("pod/", "").split())
        hosts = stage.hosts(SAMPLE, sample)
        assert hosts <= pods
        assert all(POD.fullmatch(host) for host in hosts)
        visitor.page.goto(f"/dags/{SAMPLE}/runs/{sample}/tasks/collect")
        expect(visitor.page.get_by_text("Done. Returned value was: 6")).to_be_visible()

    with timetable.step("teardown, triggered in the UI"):
        visitor.open_dag(TEARDOWN)
        form = {"cluster_name": "rehearsal", "cluster_name_again": "rehearsal"}
        gone = visitor.trigger({**form, "database": "delete", "keep_bucket": False}, stage.schemas(TEARDOWN))
        frame = visitor.open_cluster_page()
        steps_of(frame, TEARDOWN, "success")
        tell_groups(stage.client.task_instances(TEARDOWN, gone))
    assert stage.note(TEARDOWN, gone).endswith("Nothing of it is left.")

    with timetable.step("the executor is at home, and tasks run there"):
        home = section(frame, "The embedded cluster")
        expect(home.get_by_text("lane default", exact=True)).to_be_visible()
        sample = stage.run(SAMPLE, n=2)
        assert not any(POD.fullmatch(host) for host in stage.hosts(SAMPLE, sample))
    assert stage.airflow.pid("scheduler") == scheduler

    in_aws, in_cluster, in_airflow = before
    assert account.differences(in_aws, account.contents(stage.aws)) == []
    left = objects() - in_cluster
    assert [each for each in left if not GOES_WITH_THE_CLUSTER.fullmatch(each)] == []
    assert world(stage) == in_airflow


def nothing_is_told(stage, run_id):
    """Who may log in and nothing else gets neither the page, nor the form, nor what came of it."""
    with stage.airflow.client(login=("guest", stage.passwords["guest"])) as guest:
        for path in (f"/dags/{BOOTSTRAP}/details", f"/dags/{BOOTSTRAP}/dagRuns/{run_id}", f"/dags/{BOOTSTRAP}/dagRuns"):
            with pytest.raises(AirflowApiError, match="403"):
                guest.request("GET", path)
        with pytest.raises(AirflowApiError, match="403"):
            guest.trigger(BOOTSTRAP)
    credentials = {"username": "guest", "password": stage.passwords["guest"]}
    with httpx.Client(base_url=stage.airflow.base_url, timeout=30, trust_env=False) as http:
        token = http.post("/auth/token", json=credentials).json()["access_token"]
        answer = http.get(f"{PATH}api/overview", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 403
    with (
        stage.airflow.client(login=("viewer", stage.passwords["viewer"])) as viewer,
        pytest.raises(AirflowApiError, match="403"),
    ):
        viewer.trigger(BOOTSTRAP)
