"""Where lanes' clusters are, read from connections."""

from __future__ import annotations

import threading

import pytest

from airflow_eks_dask.endpoint import Endpoint
from airflow_eks_dask.executors import connection_watch
from airflow_eks_dask.executors.connection_watch import ConnectionWatch, Whereabouts
from tests.conftest import eventually

HERE = Whereabouts(Endpoint("tcp://127.0.0.1:1"))
NOWHERE = Whereabouts(None)


def test_news_is_told_once():
    watch = ConnectionWatch({"default": "dask_default"}, 60, {"dask_default": HERE}.get)
    watch.look()
    assert watch.news() == {"default": HERE}
    assert watch.news() == {}


def test_it_goes_on_looking():
    made = threading.Event()
    watch = ConnectionWatch({"gpu": "dask_gpu"}, 0.01, lambda _: HERE if made.is_set() else NOWHERE)
    watch.start()
    try:
        assert watch.news() == {"gpu": NOWHERE}
        made.set()
        eventually(lambda: watch.news() == {"gpu": HERE}, what="it has looked again")
    finally:
        watch.stop()


def test_a_connection_that_does_not_work_is_told_once_and_changes_nothing(caplog):
    def broken(_):
        raise ValueError("host is empty")

    watch = ConnectionWatch({"default": "dask_default"}, 60, broken)
    watch.look()
    watch.look()
    assert watch.news() == {}
    assert caplog.text.count("host is empty") == 1


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("dask://127.0.0.1:8786", Whereabouts(Endpoint("tcp://127.0.0.1:8786"))),
        (None, NOWHERE),
    ],
)
def test_read(monkeypatch, uri, expected):
    if uri is not None:
        monkeypatch.setenv("AIRFLOW_CONN_DASK_OF_A_TEST", uri)
    monkeypatch.setattr("airflow.models.connection.Connection.get_connection_from_secrets", from_environment)
    assert connection_watch.read("dask_of_a_test") == expected


def test_read_refuses_what_is_not_safe(monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_DASK_OF_A_TEST", "dask://dask.example.com:8786")
    with pytest.raises(ValueError, match="beyond this machine and without TLS"):
        connection_watch.read("dask_of_a_test")


def from_environment(conn_id):
    """Stand in for the backends, of which one is a database that unit tests don't have."""
    import os

    from airflow.models import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    if uri := os.environ.get(f"AIRFLOW_CONN_{conn_id.upper()}"):
        return Connection(conn_id=conn_id, uri=uri)
    raise AirflowNotFoundException(conn_id)
