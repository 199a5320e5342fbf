"""Tasks that verify a Dask cluster with mutual TLS and move a running executor there, and home again."""

from __future__ import annotations

import json

import pytest

from tests.integration.system import only
from tests.integration.test_tls import TlsCluster, make_certificates


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def dask(system, tmp_path_factory, tls):
    """A cluster with TLS whose workers know Airflow."""
    cluster = TlsCluster(tmp_path_factory.mktemp("publish-dask"), tls)
    cluster.environment.update(system.airflow.environment)
    cluster.start_scheduler()
    cluster.start_worker("--nthreads", "1", "--name", "there")
    yield cluster
    cluster.stop()


def connection(system):
    found = system.client.request("GET", "/connections")["connections"]
    return next((each for each in found if each["connection_id"] == "dask_default"), None)


def where_tasks_run(system) -> str:
    run_id = system.run("probe_look_around")
    return str(system.returned("probe_look_around", run_id, "look_around")["dask_scheduler"])


def log_of(system, dag_id, **params) -> str:
    run_id = system.run(dag_id, expected="failed", **params)
    return system.client.task_log(dag_id, run_id, dag_id)


@only("embedded")
@pytest.mark.timeout(1200)
def test_the_executor_moves_there_and_home_again_without_a_restart(system, dask, tls):
    scheduler = system.airflow.pid("scheduler")
    assert where_tasks_run(system).startswith("tcp://127.0.0.1:")
    params = {"address": dask.address, "tls": str(tls)}

    run_id = system.run("publish", timeout=360, **params)
    returned = system.returned("publish", run_id, "publish")
    assert (returned["address"], returned["workers"], returned["slots"]) == (dask.address, ["there"], 2)
    assert where_tasks_run(system) == dask.address
    written = connection(system)
    assert written["description"] == "Dask cluster pipelines, published by airflow-eks-dask"
    key = (tls / "client-key.pem").read_text().splitlines()[1]
    shown = [system.client.task_log("publish", run_id, "publish"), json.dumps(returned), json.dumps(written)]
    path = f"/dags/publish/dagRuns/{run_id}/taskInstances/publish"
    shown.append(json.dumps(system.client.request("GET", path)["rendered_fields"]))
    assert "client-key.pem" in shown[-1]
    assert key not in "".join(shown)

    # Once more: it stays, and nothing is said twice.
    system.run("publish", timeout=360, **params)
    assert connection(system) == written

    # Another cluster's name: refused, and untouched.
    assert "was not written for 'others'" in log_of(system, "publish", **params, cluster="others")
    assert "was not written for 'others'" in log_of(system, "withdraw", cluster="others")
    assert connection(system) == written

    system.run("withdraw")
    assert connection(system) is None
    assert where_tasks_run(system).startswith("tcp://127.0.0.1:")
    run_id = system.run("withdraw")
    assert system.returned("withdraw", run_id, "withdraw") == {"deleted": None}
    assert system.airflow.pid("scheduler") == scheduler


@only("embedded")
def test_a_cluster_that_is_not_good_is_not_published(system, dask, tls, tmp_path):
    theirs = make_certificates(tmp_path / "theirs")
    said = log_of(system, "publish_in_vain", address=dask.address, tls=str(tmp_path / "nowhere"))
    assert "What is wanted can't be: tls_ca" in said
    said = log_of(system, "publish_in_vain", address=dask.address, tls=str(theirs))
    assert f"No connection to the Dask scheduler at {dask.address}" in said
    assert connection(system) is None
