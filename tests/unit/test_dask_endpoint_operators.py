"""Operators about a Dask scheduler's address: what they refuse, and what becomes of the connection."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_eks_dask.endpoint import Endpoint
from airflow_eks_dask.hooks import dask_check
from airflow_eks_dask.hooks.airflow_api import AirflowApiError, ApiTarget
from airflow_eks_dask.hooks.dask import connection_fields, endpoint_of, ownership_mark
from airflow_eks_dask.hooks.dask_check import Checked, DaskClusterError, DaskUnreachableError
from airflow_eks_dask.operators import dask_endpoint
from airflow_eks_dask.operators.dask_endpoint import (
    PublishDaskEndpointOperator,
    VerifyDaskEndpointOperator,
    WithdrawDaskEndpointOperator,
)
from tests.integration.test_tls import make_certificates

ADDRESS = "tls://dask.example.com:8786"
PIPELINES = ownership_mark("pipelines")


@dataclass
class World:
    """Airflow's connections, and a Dask cluster that is as good as a test wants."""

    connections: dict[str, dict] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    error: Exception | None = None
    executor_error: Exception | None = None
    shadow: dict | None = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def connection(self, connection_id):
        found = self.connections.get(connection_id)
        return found and {**found, "password": "***"}

    def write_connection(self, body):
        self.done.append("write")
        self.connections[body["connection_id"]] = body

    def delete_connection(self, connection_id):
        self.done.append("delete")
        del self.connections[connection_id]

    def read(self, conn_id):
        body = self.shadow or self.connections.get(conn_id)
        if body is None:
            raise AirflowNotFoundException(conn_id)
        names = ("conn_type", "host", "port", "password", "extra")
        return Connection(conn_id=conn_id, **{name: body[name] for name in names})

    def run(self, check):
        self.done.append("verify")
        if self.error:
            raise self.error
        return Checked(address=check.endpoint.address, versions={}, workers=["a"], slots=2, seconds=0.1)

    def wait_for_executor(self, endpoint, *, present, timeout, poll_interval):
        self.done.append("come" if present else "go")
        if self.executor_error:
            raise self.executor_error


@pytest.fixture
def world(monkeypatch):
    world = World()
    monkeypatch.setattr(dask_endpoint, "find_api", lambda conn_id: ApiTarget("http://a", source=conn_id))
    monkeypatch.setattr(dask_endpoint, "AirflowApi", lambda target: world)
    monkeypatch.setattr(BaseHook, "get_connection", staticmethod(world.read))
    monkeypatch.setattr(dask_check, "run", world.run)
    monkeypatch.setattr(dask_check, "wait_for_executor", world.wait_for_executor)
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
    return world


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    directory = make_certificates(tmp_path_factory.mktemp("tls") / "ours")
    return {
        "tls_ca": str(directory / "ca.pem"),
        "tls_cert": str(directory / "client.pem"),
        "tls_key": str(directory / "client-key.pem"),
    }


def publish(tls, **changes):
    parameters = {"cluster_name": "pipelines", "address": ADDRESS, **tls, **changes}
    return PublishDaskEndpointOperator(task_id="publish", **parameters).execute({})


def withdraw(**changes):
    return WithdrawDaskEndpointOperator(task_id="w", **{"cluster_name": "pipelines", **changes}).execute({})


def test_a_good_cluster_is_published(world, tls):
    returned = publish(tls)
    assert world.done == ["verify", "write", "come"]
    written = world.connections["dask_default"]
    assert written["description"] == PIPELINES
    assert (written["conn_type"], written["host"], written["port"]) == ("dask", "dask.example.com", 8786)
    # PEM text, not paths: the Airflow scheduler need not have the files.
    endpoint = endpoint_of(world.read("dask_default"))
    assert endpoint.address == ADDRESS
    assert endpoint.tls_key.startswith("-----BEGIN PRIVATE KEY-----")
    assert "PRIVATE KEY" not in str(returned)
    assert returned["connection_id"] == "dask_default"


def test_what_is_not_good_is_not(world, tls):
    world.error = DaskClusterError("no workers")
    with pytest.raises(DaskClusterError, match="no workers"):
        publish(tls)
    assert world.connections == {}


def test_a_key_goes_through_no_parameter(world, tls):
    with pytest.raises(DaskClusterError) as error:
        publish({**tls, "tls_key": "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----"})
    assert "tls_key is the path of a file, not what is in it" in str(error.value)
    assert "c2VjcmV0" not in str(error.value)
    assert world.done == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"address": "dask.example.com"}, r"address = 'dask.example.com': must look like tls://host:8786"),
        ({"address": ""}, "address = ''"),
        ({"address": "tcp://dask.example.com:8786"}, "TLS files are set, but address"),
        ({"tls_key": None}, "needs tls_key too"),
        ({"tls_ca": "/nonexistent", "cluster_name": " "}, r"tls_ca.*; cluster_name is empty"),
    ],
)
def test_what_is_refused_before_anything_is_asked(world, tls, changes, words):
    with pytest.raises(DaskClusterError, match=words):
        publish(tls, **changes)
    assert world.done == []


def test_without_tls_only_on_this_machine(world):
    where = {"task_id": "v", "address": "tcp://dask.example.com:8786"}
    with pytest.raises(DaskClusterError, match="beyond this machine and without TLS"):
        VerifyDaskEndpointOperator(**where).execute({})
    assert VerifyDaskEndpointOperator(**where, allow_insecure=True).execute({})["slots"] == 2
    assert VerifyDaskEndpointOperator(task_id="v", address="tcp://127.0.0.1:8786").execute({})["slots"] == 2


@pytest.mark.parametrize("description", [None, "", "mine", ownership_mark("others")])
def test_connections_of_others_are_left(world, tls, description):
    foreign = {"connection_id": "dask_default", "description": description}
    world.connections["dask_default"] = foreign
    world.shadow = {"conn_type": "dask", "host": "h", "port": 1, "password": None, "extra": None}
    for act in (lambda: publish(tls), lambda: withdraw(wait=0)):
        with pytest.raises(AirflowApiError, match="was not written for 'pipelines'"):
            act()
    assert world.connections == {"dask_default": foreign}
    assert world.done == []


def test_a_connection_that_goes_before_the_one_written_is_found(world, tls):
    world.shadow = {"conn_type": "dask", "host": "127.0.0.1", "port": 1, "password": None, "extra": None}
    with pytest.raises(DaskClusterError, match="AIRFLOW_CONN_DASK_DEFAULT goes before it"):
        publish(tls)


def test_an_executor_that_does_not_come(world, tls):
    world.executor_error = DaskClusterError("no executor has connected yet")
    with pytest.raises(DaskClusterError, match=r"is written, but no executor .* \[dask\] cluster_address empty"):
        publish(tls)
    assert "dask_default" in world.connections
    world.done.clear()
    publish(tls, wait_for_executor=0)
    assert world.done == ["verify", "write"]


def test_what_was_published_is_withdrawn_and_waited_for(world, tls):
    publish(tls)
    world.done.clear()
    assert withdraw() == {"deleted": "dask_default"}
    assert world.done == ["delete", "go"]
    world.done.clear()
    assert withdraw() == {"deleted": None}
    assert world.done == []


def test_after_a_withdrawal_that_was_cut_short_the_wait_goes_on(world, tls):
    assert withdraw(address=ADDRESS, **tls) == {"deleted": None}
    assert world.done == ["go"]


def test_tasks_that_still_run_there_fail_the_withdrawal(world, tls):
    publish(tls)
    world.executor_error = DaskClusterError("When the time was over, 3 workloads ran there")
    with pytest.raises(DaskClusterError, match=r"is gone\. When the time was over, 3 workloads"):
        withdraw()


def test_a_cluster_that_is_gone_is_not_waited_for(world, tls):
    publish(tls)
    world.executor_error = DaskUnreachableError("nobody there")
    assert withdraw() == {"deleted": "dask_default"}


def test_a_task_does_not_wait_for_its_own_end(world, tls, monkeypatch):
    publish(tls)
    world.done.clear()
    monkeypatch.setenv("DASK_SCHEDULER_ADDRESS", ADDRESS)
    withdraw()
    assert world.done == ["delete"]


def test_connection_fields_are_read_back(tls):
    material = {name: Path(path).read_text() for name, path in tls.items()}
    for address in ("tls://dask.example.com:8786", "tls://[::1]:8786"):
        fields = connection_fields(Endpoint(address, **material))
        assert endpoint_of(Connection(conn_id="c", **fields)).address == address
