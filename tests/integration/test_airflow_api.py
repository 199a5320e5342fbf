"""Connections written through the REST API of an Airflow that wants a login."""

from __future__ import annotations

import json

import pytest

from airflow_eks_dask.hooks.airflow_api import AirflowApi, AirflowApiError, ApiTarget
from airflow_eks_dask.local.airflow import LocalAirflow

BODY = {
    "connection_id": "dask_default",
    "conn_type": "dask",
    "description": "a test's",
    "host": "dask.example.com",
    "port": 8786,
    "password": "the-private-key",
    "extra": json.dumps({"tls_ca": "the-authority"}),
}


@pytest.fixture(scope="module")
def airflow(tmp_path_factory, postgres):
    postgres.create_database("with_login")
    airflow = LocalAirflow(
        tmp_path_factory.mktemp("with-login"),
        postgres.sqlalchemy_url("with_login"),
        settings={
            "core": {
                "simple_auth_manager_all_admins": "False",
                "simple_auth_manager_users": "publisher:op,reader:viewer",
            }
        },
    )
    try:
        airflow.start(["api-server"], timeout=240)
        yield airflow
    finally:
        airflow.stop()


def target(airflow, login: str, password: str | None = None) -> ApiTarget:
    known = json.loads((airflow.home / "passwords.json").read_text())
    return ApiTarget(airflow.base_url, login, known[login] if password is None else password, source="'airflow_api'")


def test_a_user_with_a_role_to_do_so_writes_and_deletes(airflow):
    with AirflowApi(target(airflow, "publisher")) as api:
        assert api.connection("dask_default") is None
        api.write_connection(BODY)
        api.write_connection({**BODY, "port": 8787})
        found = api.connection("dask_default")
        assert (found["host"], found["port"], found["description"]) == ("dask.example.com", 8787, "a test's")
        assert "the-private-key" not in str(found)
        api.delete_connection("dask_default")
        api.delete_connection("dask_default")
        assert api.connection("dask_default") is None


def test_what_it_does_not_take_is_told_without_secrets(airflow):
    with AirflowApi(target(airflow, "publisher")) as api, pytest.raises(AirflowApiError) as error:
        api.write_connection({**BODY, "port": "many"})
    assert "port" in str(error.value)
    assert "the-private-key" not in str(error.value)


@pytest.mark.parametrize(
    ("login", "password", "words"),
    [
        ("reader", None, "needs a role that may read, create, edit and delete connections"),
        ("publisher", "wrong", "answered 401"),
    ],
)
def test_others_may_not(airflow, login, password, words):
    with pytest.raises(AirflowApiError, match=words), AirflowApi(target(airflow, login, password)) as api:
        api.write_connection(BODY)


def test_without_a_login_it_says_what_to_do(airflow):
    with pytest.raises(AirflowApiError, match="This Airflow wants a login"), AirflowApi(ApiTarget(airflow.base_url)):
        pass
