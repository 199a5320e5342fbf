"""Who is kept out of pods and APIs, what pods may do, and what nobody gets to see."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import time
from functools import partial

import httpx
import pytest

from tests.cluster import exposure
from tests.cluster.conftest import BESIDE
from tests.cluster.installation import DATA
from tests.integration.test_tls import client_context, first_byte, first_byte_without_tls, make_certificates

pytestmark = [pytest.mark.any_airflow, pytest.mark.timeout(1200)]

USER = ["50000"] * 4
"""Real, effective, saved and file system's."""


class TestListeners:
    """The Dask scheduler behind its load balancer, and workers: for whoever shows a certificate of the authority."""

    @pytest.fixture(params=["scheduler", "worker"])
    def where(self, request, pipelines):
        if request.param == "scheduler":
            host, port = pipelines.installation.endpoint.address.removeprefix("tls://").rsplit(":", 1)
            return {"host": host, "port": int(port)}
        if not BESIDE.exists():
            pytest.skip("pods of this cluster are not reached from here")
        return {"host": pipelines.installation.pods("worker")[0]["status"]["podIP"], "port": 8788}

    def test_a_certificate_opens(self, pipelines, where):
        tls = pipelines.installation.tls
        assert first_byte(context=client_context(tls, tls), **where)

    def test_no_certificate_does_not(self, pipelines, where):
        with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
            first_byte(context=client_context(pipelines.installation.tls, None), **where)

    def test_one_of_another_authority_does_not(self, pipelines, where, tmp_path):
        theirs = make_certificates(tmp_path / "theirs")
        with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
            first_byte(context=client_context(pipelines.installation.tls, theirs), **where)

    def test_nothing_is_said_without_tls(self, where):
        assert first_byte_without_tls(**where) in (b"", b"\x15")


def test_the_load_balancer_does_not_lead_to_the_dashboard(pipelines):
    host = pipelines.installation.endpoint.address.removeprefix("tls://").rsplit(":", 1)[0]
    with pytest.raises(OSError, match=r"."):
        socket.create_connection((host, 8787), timeout=3)


class TestExecutionApi:
    """It answers tasks of this Airflow, in TLS, and nobody else."""

    @pytest.fixture
    def ask(self, pipelines):
        """Ask for the connection to the results, password and all; return the status."""

        def ask(token=None, method="GET", path="connections/sample_results"):
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            with pipelines.execution_api.client(headers=headers) as http:
                return http.request(method, path, json={} if method != "GET" else None).status_code

        return ask

    @pytest.fixture
    def token(self, pipelines):
        return partial(exposure.task_token, pipelines)

    def test_a_token_opens(self, ask, token):
        assert ask(token()) == 200

    def test_a_missing_token_does_not(self, ask):
        assert ask() == 401

    def test_a_foreign_token_does_not(self, ask, token):
        assert ask("nonsense") == 403
        assert ask(token(secret="x" * 86)) == 403

    def test_a_token_that_has_expired_does_not(self, ask, token):
        assert ask(token(exp=int(time.time()) - 600)) == 403

    def test_the_token_of_a_user_does_not(self, pipelines, ask):
        answer = httpx.get(f"{pipelines.airflow.base_url}/auth/token", trust_env=False)
        assert ask(answer.json()["access_token"]) == 403

    def test_the_token_of_another_task_does_not(self, pipelines, ask, token):
        run_id = pipelines.run("sample_parallel", n=1)
        mine, theirs = [task.data["id"] for task in pipelines.client.task_instances("sample_parallel", run_id)][:2]
        path = f"task-instances/{theirs}/heartbeat"
        assert ask(token(sub=mine), "PUT", path) == 403
        assert ask(token(sub=theirs), "PUT", path) != 403

    def test_it_speaks_tls_alone(self, pipelines):
        with pytest.raises(httpx.TransportError):
            httpx.get(pipelines.execution_api.url.replace("https:", "http:") + "health", trust_env=False)
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(pipelines.execution_api.url + "health", trust_env=False)


def test_no_process_is_root_or_may_become_it(pipelines):
    installation = pipelines.installation
    with pipelines.talk() as talk:
        seen = {name: exposure.look_inside(installation, name) for name in installation.pod_names()}
        seen |= {name: exposure.look_inside(installation, name) for name in installation.pod_names("scheduler")}
        (task,) = pipelines.client.task_instances("talk", talk.run_id)
        # Worker, launcher, supervisor and task; tini; and who looks.
        assert len(seen[task.data["hostname"]]["processes"]) >= 6
    pipelines.client.wait_for_run("talk", talk.run_id)
    assert len(seen) >= 3
    for pod, inside in seen.items():
        for process in inside["processes"].values():
            about = f"{pod}: {process['command']}"
            assert process["Uid"] == USER, about
            assert process["Gid"] == ["0"] * 4, about
            assert {int(process[f"Cap{which}"][0], 16) for which in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {0}, about
            assert process["NoNewPrivs"] == ["1"], about
        assert inside["writing"] == {"/probe": "EROFS", "/opt/airflow/probe": "EROFS", "/etc/probe": "EROFS"} | {
            "/tmp/probe": None
        }, pod
        assert not inside["token"], f"{pod} has a token for Kubernetes"
        assert installation.kubectl("exec", pod, "--", "id", "-u").strip() == "50000"


def test_no_secret_shows(pipelines):
    installation = pipelines.installation
    # Something with secrets has to have happened: connections, tokens, a database.
    run_id = pipelines.run("sample_etl", rows=2_000, data_dir=DATA)
    unspeakable = exposure.secrets(pipelines, installation.tls, pipelines.execution_api.tls)
    texts = exposure.shown(installation)
    for task in pipelines.client.task_instances("sample_etl", run_id):
        text = pipelines.client.task_log("sample_etl", run_id, task.task_id, map_index=task.map_index)
        texts[f"log of task {task.label}"] = text
    for file in pipelines.airflow.home.rglob("*.log"):
        texts[str(file)] = file.read_text(errors="replace")
    assert all(texts[name] for name in ("kubectl describe", "events", "helm get values", "helm get manifest"))
    assert [name for name in texts if name.startswith("log of pipeline-worker")]
    assert exposure.found(texts, unspeakable) == []

    # They would be found: Secrets have them.
    held = json.loads(installation.kubectl("get", "secrets", "--output", "json"))["items"]
    decoded = {
        f"{each['metadata']['name']}: {key}": base64.b64decode(value).decode(errors="replace")
        for each in held
        for key, value in each.get("data", {}).items()
    }
    assert {each.partition(" in ")[0] for each in exposure.found(decoded, unspeakable)} >= {
        str(installation.tls / "scheduler-key.pem"),
        str(installation.tls / "worker-key.pem"),
    }
