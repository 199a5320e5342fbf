"""Airflow's execution API beside the workers: they reach no API server of Airflow elsewhere, and tasks run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.cluster import exposure, inside
from tests.cluster.installation import NAME, SLOTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.installation import Installation
    from tests.cluster.pipelines import Pipelines

pytestmark = [pytest.mark.any_airflow, pytest.mark.timeout(1200)]

# Run in a worker: what comes of requests to an execution API, with its authority or with none.
ASK = """
import json, os, ssl, urllib.error, urllib.request
from airflow.configuration import conf
url = url or conf.get("core", "execution_api_server_url")
context = ssl.create_default_context(cafile=os.environ["AIRFLOW__API__SSL_CERT"])
def ask(path, token=""):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        request = urllib.request.Request(url + path, headers=headers)
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError as error:
        return str(error)
connection = "connections/sample_results"
print(json.dumps([url, ask("health"), ask(connection), ask(connection, "nonsense"), ask(connection, token)]))
"""


@pytest.fixture(scope="module")
def installation(pipelines: Pipelines) -> Iterator[Installation]:
    """Where tasks run while these tests do, without the execution API on this machine."""
    with inside.prepared(pipelines) as installation:
        installation.ensure()
        pipelines.run("withdraw", cluster="pipelines")
        pipelines.execution_api.stop()
        try:
            pipelines.publish(installation, "inside")
            yield installation
        finally:
            pipelines.execution_api.start()
            pipelines.run("withdraw", cluster="inside")
            installation.uninstall()
            pipelines.publish(pipelines.installation)


def ask(installation: Installation, url: str = "", token: str = "") -> list:
    (worker,) = installation.pod_names()
    return json.loads(installation.python(worker, ASK, url=url, token=token).splitlines()[-1])


def test_tasks_run_and_find_connections(pipelines, installation):
    _, health, *_ = ask(installation, pipelines.execution_api.url)
    assert "refused" in str(health), "there is an API server elsewhere that workers reach"
    pods = installation.pod_names()
    run_id = pipelines.run("sample_parallel", n=2 * SLOTS)
    assert pipelines.hosts("sample_parallel", run_id) == pods
    run_id = pipelines.run("sample_etl", rows=12_000, data_dir="/data")
    assert pipelines.hosts("sample_etl", run_id) == pods
    log = pipelines.client.task_log("sample_etl", run_id, "load")
    assert "Done" in log or "Returned value" in log


def test_it_refuses_who_has_no_token_of_this_airflow(pipelines, installation):
    token = exposure.task_token(pipelines)
    foreign = exposure.task_token(pipelines, secret="x" * 86)
    url, health, without, nonsense, right = ask(installation, token=token)
    assert url == f"https://{NAME}-execution-api:8080/execution/"
    assert (health, without, nonsense, right) == (200, 401, 403, 200)
    assert ask(installation, token=foreign)[-1] == 403


def test_it_is_not_root_and_no_secret_shows(pipelines, installation):
    for pod in installation.pod_names("execution-api"):
        seen = exposure.look_inside(installation, pod)
        assert {tuple(process["Uid"]) for process in seen["processes"].values()} == {("50000",) * 4}
        assert seen["writing"]["/opt/airflow/probe"] == "EROFS"
        assert not seen["token"]
    unspeakable = exposure.secrets(pipelines, installation.tls, pipelines.execution_api.tls)
    texts = exposure.shown(installation)
    assert [name for name in texts if name.startswith(f"log of {NAME}-execution-api")]
    assert exposure.found(texts, unspeakable) == []
