from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from airflow_eks_dask.local.client import AirflowApiError, AirflowClient, AirflowWaitError
from airflow_eks_dask.local.ports import free_port
from airflow_eks_dask.local.processes import LocalProcessError
from tests.http_server import serving


class FakeAirflow(ThreadingHTTPServer):
    """Answers as Airflow's REST API does; ``answers`` maps a path to what comes next, the last one for ever."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = {}
        self.requests = []
        self.token = 0

    def answer(self, path, *answers):
        self.answers[path] = list(answers)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        url = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        self.server.requests.append((self.command, url.path, parse_qs(url.query), body))
        if url.path == "/auth/token":
            self.server.token += 1
            return self.send(201, {"access_token": str(self.server.token)})
        if self.headers["Authorization"] != f"Bearer {self.server.token}":
            return self.send(401, {"detail": "expired"})
        answers = self.server.answers.get(url.path, [(404, {"detail": "not found"})])
        status, content = answers.pop(0) if len(answers) > 1 else answers[0]
        if callable(content):
            content = content(parse_qs(url.query))
        return self.send(status, content)

    def do_POST(self):
        self.do_GET()

    def do_PATCH(self):
        self.do_GET()

    def send(self, status, content):
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def airflow():
    server = FakeAirflow()
    with serving(server):
        yield server


@pytest.fixture
def client(airflow):
    with AirflowClient(f"http://127.0.0.1:{airflow.server_port}") as client:
        yield client


def task(task_id, state, map_index=-1):
    return {"task_id": task_id, "map_index": map_index, "state": state, "try_number": 1, "duration": None}


RUN = "/api/v2/dags/d/dagRuns/r%2B1"


def test_trigger_hands_over_the_params(airflow, client):
    airflow.answer("/api/v2/dags/d/dagRuns", (200, {"dag_run_id": "r+1"}))
    assert client.trigger("d", {"n": 3}) == "r+1"
    assert airflow.requests[-1][3] == {"conf": {"n": 3}, "logical_date": None}


def test_a_refusal_tells_what_was_refused_and_why(airflow, client):
    airflow.answer("/api/v2/dags/d/dagRuns", (400, {"detail": "n is too large"}))
    with pytest.raises(AirflowApiError, match=r"POST .*/dags/d/dagRuns answered 400: .*n is too large") as caught:
        client.trigger("d", {"n": 3})
    assert caught.value.status == 400


def test_a_new_token_is_taken_when_the_old_one_expired(airflow, client):
    airflow.answer(RUN, (200, {"state": "running"}))
    assert client.dag_run("d", "r+1").state == "running"
    airflow.token += 1
    assert client.dag_run("d", "r+1").state == "running"


def test_a_user_logs_in_with_a_password(airflow):
    airflow.answer(RUN, (200, {"state": "running"}))
    with AirflowClient(f"http://127.0.0.1:{airflow.server_port}", login=("ada", "lovelace")) as client:
        client.dag_run("d", "r+1")
    assert airflow.requests[0] == ("POST", "/auth/token", {}, {"username": "ada", "password": "lovelace"})


def test_task_instances_of_all_pages(airflow, client):
    items = [task("t", "success", index) for index in range(230)]

    def page(query):
        offset = int(query["offset"][0])
        return {"task_instances": items[offset : offset + int(query["limit"][0])], "total_entries": len(items)}

    airflow.answer(f"{RUN}/taskInstances", (200, page))
    assert [found.map_index for found in client.task_instances("d", "r+1")] == list(range(230))


def test_waits_until_the_dag_is_parsed_and_unpauses_it(airflow, client):
    airflow.answer("/api/v2/dags/d", (404, {}), (200, {"is_paused": True}))
    client.wait_for_dag("d", timeout=20)
    assert airflow.requests[-1] == ("PATCH", "/api/v2/dags/d", {}, {"is_paused": False})


def test_a_missing_dag_is_explained_by_import_errors(airflow, client):
    error = {"filename": "broken.py", "stack_trace": "SyntaxError: no"}
    airflow.answer("/api/v2/importErrors", (200, {"import_errors": [error]}))
    with pytest.raises(AirflowWaitError, match=r"(?s)DAG 'd' was not there after 0 s.*broken.py.*SyntaxError: no"):
        client.wait_for_dag("d", timeout=0)


def test_wait_reports_progress_and_returns_the_run(airflow, client):
    airflow.answer(RUN, (200, {"state": "running"}), (200, {"state": "success", "duration": 1.5}))
    airflow.answer(f"{RUN}/taskInstances", (200, {"task_instances": [task("t", None)], "total_entries": 1}))
    seen = []
    run = client.wait_for_run("d", "r+1", on_progress=seen.append, poll_interval=0.01)
    assert (run.state, run.duration) == ("success", 1.5)
    assert [[found.state for found in tasks] for tasks in seen] == [["none"], ["none"]]


def fail(airflow, state):
    airflow.answer(RUN, (200, {"state": state}))
    tasks = [task("good", "success"), task("bad", "failed", 2), task("later", "queued")]
    airflow.answer(f"{RUN}/taskInstances", (200, {"task_instances": tasks, "total_entries": 3}))
    error = {"exc_type": "ValueError", "exc_value": "no such street"}
    log = [{"timestamp": "12:00", "level": "error", "event": "Task failed", "error_detail": [error]}, "plain"]
    airflow.answer(f"{RUN}/taskInstances/bad/logs/1", (200, {"content": log}))


def test_a_failed_run_shows_states_and_logs(airflow, client):
    fail(airflow, "failed")
    with pytest.raises(AirflowWaitError) as caught:
        client.wait_for_run("d", "r+1")
    for part in (
        "ended as failed, expected success",
        "1 failed, 1 queued, 1 success",
        "Not finished: later",
        "bad[2] is failed",
        "12:00 error Task failed ValueError: no such street\nplain",
    ):
        assert part in str(caught.value)


def test_a_failed_run_may_be_what_is_waited_for(airflow, client):
    fail(airflow, "failed")
    assert client.wait_for_run("d", "r+1", expected="failed").state == "failed"
    assert client.wait_for_run("d", "r+1", expected=None).state == "failed"


def test_a_run_that_does_not_end(airflow, client):
    fail(airflow, "running")
    with pytest.raises(AirflowWaitError, match=r"has not ended within 0 s \(state: running\)"):
        client.wait_for_run("d", "r+1", timeout=0)


def test_return_value(airflow, client):
    fail(airflow, "success")
    path = f"{RUN}/taskInstances/good/xcomEntries/return_value"
    good = client.task_instances("d", "r+1")[0]
    assert client.return_value("d", "r+1", good) is None
    airflow.answer(path, (200, {"value": {"rows": 3}}))
    assert client.return_value("d", "r+1", good) == {"rows": 3}


def test_a_wait_outlives_a_server_that_is_away_but_not_its_deadline():
    with (
        AirflowClient(f"http://127.0.0.1:{free_port()}") as client,
        pytest.raises(AirflowWaitError, match=r"state: unknown.*cannot be read"),
    ):
        client.wait_for_run("d", "r", timeout=0)


def test_a_wait_ends_at_once_when_a_component_ended():
    def check():
        raise LocalProcessError("scheduler exited with code 1")

    with (
        AirflowClient(f"http://127.0.0.1:{free_port()}", check=check) as client,
        pytest.raises(LocalProcessError, match="scheduler"),
    ):
        client.wait_for_dag("d", timeout=600)


def test_a_server_that_is_away_is_told_outside_of_waits():
    with AirflowClient(f"http://127.0.0.1:{free_port()}") as client, pytest.raises(httpx.TransportError):
        client.dag_run("d", "r")
