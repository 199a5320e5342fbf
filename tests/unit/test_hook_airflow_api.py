"""Airflow's REST API as tasks use it: where it is, how they log in, and what is told when it refuses."""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_eks_dask.hooks.airflow_api import AirflowApi, AirflowApiError, ApiTarget, find_api
from tests.http_server import serving

BODY = {"connection_id": "dask_default", "conn_type": "dask", "password": "the-private-key"}


class Api:
    """As much of Airflow's API server as is used: log-in, and connections in memory."""

    def __init__(self):
        self.connections = {}
        self.requests = []
        self.logins = {"ada": "lovelace"}
        self.failures = []
        """Statuses with which the next requests are answered; 0 for none at all."""
        api = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length) or b"null")
                api.requests.append(f"{self.command} {self.path}")
                if api.failures:
                    status, payload = api.failures.pop(0), {"detail": "of the moment"}
                    if not status:
                        self.connection.close()
                        return
                else:
                    status, payload = api.handle(self.command, self.path, self.headers, body)
                data = json.dumps(payload).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815 - as the base class calls them

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def handle(self, method, path, headers, body):
        if path == "/auth/token":
            if method != "POST":
                return 403, {"detail": "login is needed"}
            right = self.logins.get(body["username"]) == body["password"]
            return (201, {"access_token": "good"}) if right else (401, {"detail": "Invalid credentials"})
        if headers["Authorization"] == "Bearer viewer":
            return 403, {"detail": "Forbidden"}
        if headers["Authorization"] != "Bearer good":
            return 401, {"detail": "Invalid JWT token"}
        if method == "POST":
            if body["connection_id"] in self.connections:
                return 409, {"detail": "exists"}
            if "bad" in body:
                return 422, {"detail": [{"loc": ["body", "bad"], "msg": "is not known", "input": body}]}
            self.connections[body["connection_id"]] = body
            return 201, body
        name = path.rpartition("/")[2]
        if name not in self.connections:
            return 404, {"detail": "not found"}
        if method == "PATCH":
            self.connections[name] = body
        elif method == "DELETE":
            return 200, self.connections.pop(name)
        return 200, {**self.connections[name], "password": "***"}


@pytest.fixture
def api():
    api = Api()
    with serving(api.server):
        yield api


@pytest.fixture
def connections(monkeypatch):
    """Airflow's connections, by id."""
    found = {}

    def get(conn_id):
        if conn_id not in found:
            raise AirflowNotFoundException(conn_id)
        return found[conn_id]

    monkeypatch.setattr(BaseHook, "get_connection", staticmethod(get))
    return found


def target(api, login="ada", password="lovelace"):
    return ApiTarget(api.url, login, password, source="connection 'airflow_api'")


def test_a_connection_is_made_changed_and_deleted(api):
    with AirflowApi(target(api)) as airflow:
        assert airflow.connection("dask_default") is None
        airflow.write_connection(BODY)
        airflow.write_connection({**BODY, "password": "another"})
        assert airflow.connection("dask_default")["password"] == "***"
        assert api.connections == {"dask_default": {**BODY, "password": "another"}}
        airflow.delete_connection("dask_default")
        airflow.delete_connection("dask_default")
        assert api.connections == {}


def test_a_token_needs_no_log_in(api):
    with AirflowApi(target(api, "", "good")) as airflow:
        airflow.write_connection(BODY)
    assert "POST /auth/token" not in api.requests


@pytest.mark.parametrize("failures", [[503, 502], [0], [429]])
def test_what_passes_is_waited_for(api, failures):
    with AirflowApi(target(api)) as airflow:
        api.failures = failures
        airflow.write_connection(BODY)
    assert api.connections == {"dask_default": BODY}


def test_an_end_to_waiting(api):
    api.failures = [503] * 100
    with (
        pytest.raises(AirflowApiError, match=r"/auth/token answered 503\. It was tried for"),
        AirflowApi(target(api), patience=0.2),
    ):
        pass


def test_nobody_listens():
    nowhere = ApiTarget("http://127.0.0.1:1", password="t", source="connection 'airflow_api'")
    with AirflowApi(nowhere, patience=0.2) as airflow, pytest.raises(AirflowApiError, match="connection 'airflow_api'"):
        airflow.connection("dask_default")


@pytest.mark.parametrize(
    ("login", "password", "words"),
    [
        ("ada", "wrong", "Invalid credentials. Is what connection 'airflow_api' says"),
        ("", "expired", "Invalid JWT token. Is what connection 'airflow_api' says"),
        ("", "viewer", "needs a role that may read, create, edit and delete connections"),
        ("", "", "This Airflow wants a login. Add a connection with a user"),
    ],
)
def test_who_may_not(api, login, password, words):
    with pytest.raises(AirflowApiError) as error, AirflowApi(target(api, login, password)) as airflow:
        airflow.connection("dask_default")
    assert words in str(error.value)
    assert "wrong" not in str(error.value)


def test_a_refused_body_is_not_repeated(api):
    with AirflowApi(target(api)) as airflow, pytest.raises(AirflowApiError) as error:
        airflow.write_connection({**BODY, "bad": 1})
    assert "answered 422: body.bad: is not known" in str(error.value)
    assert "the-private-key" not in str(error.value)


def test_another_server(api):
    api.handle = lambda *_: (200, ["hello"])
    with pytest.raises(AirflowApiError, match="gave no token: is this Airflow's API server"), AirflowApi(target(api)):
        pass


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({"host": "https://a.example.com/prefix/"}, "https://a.example.com/prefix"),
        ({"host": "a.example.com"}, "https://a.example.com"),
        ({"host": "a", "schema": "http", "port": 8080}, "http://a:8080"),
    ],
)
def test_where_a_connection_leads(connections, fields, url):
    connections["airflow_api"] = Connection(
        conn_id="airflow_api", conn_type="http", login="ada", password="p", extra='{"verify": "/ca.pem"}', **fields
    )
    found = find_api("airflow_api")
    assert (found.url, found.login, found.password, found.verify) == (url, "ada", "p", "/ca.pem")
    assert "'p'" not in repr(found)


@pytest.mark.parametrize("fields", [{"host": ""}, {"host": "ftp://a"}, {"host": "a", "extra": "[]"}])
def test_a_connection_that_leads_nowhere(connections, fields):
    connections["airflow_api"] = Connection(conn_id="airflow_api", conn_type="http", **fields)
    with pytest.raises(ValueError, match="Connection 'airflow_api'"):
        find_api("airflow_api")


def test_without_a_connection_it_is_the_one_that_is_configured(connections, monkeypatch):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://127.0.0.1:8080/")
    assert find_api("airflow_api").url == "http://127.0.0.1:8080"
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "/")
    with pytest.raises(ValueError, match="There is no connection 'airflow_api' to Airflow"):
        find_api("airflow_api")


def test_a_file_of_authorities_that_is_not_there(api):
    with (
        pytest.raises(AirflowApiError, match=r"extra\.verify"),
        AirflowApi(ApiTarget(api.url, "ada", "lovelace", verify="/nonexistent.pem", source="connection 'airflow_api'")),
    ):
        pass
