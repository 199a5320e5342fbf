"""Airflow's tasks in pods, as their users meet them: samples succeed, and logs are there."""

from __future__ import annotations

import json

import psycopg2
import pytest

from tests.cluster.installation import DATA, SLOTS
from tests.cluster.pipelines import REPLICAS
from tests.conftest import eventually

pytestmark = [pytest.mark.any_airflow, pytest.mark.timeout(1200)]

WHILE, END = "this is said while the task runs", "this is said at the end"


def rows(dsn, query, *values):
    with psycopg2.connect(dsn, connect_timeout=10) as connection, connection.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchall()


def test_the_address_is_published_and_nothing_secret_with_it(pipelines):
    returned = pipelines.publish(pipelines.installation)
    endpoint = pipelines.installation.endpoint
    assert returned["address"] == endpoint.address
    assert set(returned["workers"]) <= pipelines.installation.pod_names()
    (written,) = [
        each
        for each in pipelines.client.request("GET", "/connections")["connections"]
        if each["connection_id"] == "dask_default"
    ]
    assert f"tls://{written['host']}:{written['port']}" == endpoint.address
    key = (pipelines.installation.tls / "client-key.pem").read_text().splitlines()[1]
    assert key not in json.dumps([returned, written])


def test_the_chart_says_that_all_is_well(pipelines, capfd):
    pipelines.installation.test()
    said = capfd.readouterr()
    told = said.out + said.err
    assert "refuses clients without TLS or without a certificate" in told
    assert f"{REPLICAS} workers compute, and reach Airflow's execution API" in told


def test_many_tasks_run_in_all_pods(pipelines):
    pods = pipelines.installation.pod_names()
    assert len(pods) == REPLICAS
    run_id = pipelines.run("sample_parallel", n=4 * REPLICAS * SLOTS, seconds=1)
    assert pipelines.hosts("sample_parallel", run_id) == pods


def test_a_pipeline_computes_on_its_cluster_and_loads_a_database(pipelines):
    pods = pipelines.installation.pod_names()
    run_id = pipelines.run("sample_etl", rows=24_000, data_dir=DATA)
    assert pipelines.hosts("sample_etl", run_id) <= pods
    report = pipelines.returned("sample_etl", run_id, "report")
    ((loaded,),) = rows(pipelines.results, "select sum(trips) from sample_etl_daily where run_id = %s", run_id)
    assert (report["rows_in"], report["good"]) == (24_000, loaded)
    assert report["chart"].startswith(DATA)
    look = "import pathlib; print(pathlib.Path(chart).read_bytes()[:4])"
    assert "PNG" in pipelines.installation.python(min(pods), look, chart=report["chart"])


def test_a_log_is_read_while_its_task_runs_and_when_its_pod_is_gone(pipelines):
    def log():
        return pipelines.client.task_log("talk", talk.run_id, "talk")

    with pipelines.talk() as talk:
        eventually(lambda: WHILE in log(), what="the log is read from the pod")
        (task,) = pipelines.client.task_instances("talk", talk.run_id)
        assert task.state == "running"
        pod = task.data["hostname"]
        assert pod in pipelines.installation.pod_names()
        assert f"through {pipelines.installation.endpoint.address}" in log()
        assert END not in log()
        talk.say("good-bye")
        pipelines.client.wait_for_run("talk", talk.run_id)
    pipelines.installation.kubectl("delete", "pod", pod)
    assert pod not in pipelines.installation.pod_names()
    assert WHILE in log()
    assert f"{END}: good-bye" in log()
    pipelines.wait_until_settled(REPLICAS * SLOTS)
    assert f"{END}: good-bye" in log()
