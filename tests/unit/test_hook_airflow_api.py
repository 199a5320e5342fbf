"""Airflow's REST API as tasks use it: where it is, how they log in, and what is told when it refuses."""

from __future__ import annotations

import pytest
from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_eks_dask.hooks.airflow_api import AirflowApi, AirflowApiError, ApiTarget, find_api
from tests.airflow_api import Api
from tests.http_server import serving

BODY = {"connection_id": "dask_default", "conn_type": "dask", "password": "the-private-key"}


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


def a_run(run_id, state="running", dag_id="build"):
    return {"dag_id": dag_id, "dag_run_id": run_id, "state": state, "conf": {"a": 1}}


def test_runs_that_are_active(api):
    api.runs = [a_run("queued", "queued"), a_run("over", "success"), a_run("another's", dag_id="other"), a_run("now")]
    with AirflowApi(target(api)) as airflow:
        assert [run["dag_run_id"] for run in airflow.active_runs("build")] == ["queued", "now"]
        assert airflow.active_runs("unknown") == []


def test_runs_come_page_by_page(api):
    api.runs = [a_run(f"run {number}") for number in range(120)]
    with AirflowApi(target(api)) as airflow:
        assert [run["dag_run_id"] for run in airflow.active_runs("build")] == [f"run {n}" for n in range(120)]
    assert len([request for request in api.requests if "dagRuns" in request]) == 3


def test_a_note_is_written_and_cut_if_it_is_too_long(api):
    api.runs = [a_run("manual__2026-01-01T00:00:00+00:00")]
    with AirflowApi(target(api)) as airflow:
        airflow.write_note("build", "manual__2026-01-01T00:00:00+00:00", "**done**")
        assert api.runs[0]["note"] == "**done**"
        airflow.write_note("build", "manual__2026-01-01T00:00:00+00:00", "x" * 2000)
        assert api.runs[0]["note"] == "x" * 999 + "…"
        with pytest.raises(AirflowApiError, match="answered 404"):
            airflow.write_note("build", "gone", "**done**")
