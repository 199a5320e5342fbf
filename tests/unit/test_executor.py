"""The executor's side of Airflow's contract, without a cluster."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from airflow_eks_dask import DaskExecutor
from airflow_eks_dask.executors.cluster_link import Connected, Disconnected
from airflow_eks_dask.worker.protocol import Capacity, Outcome

KEY = "the key of a workload"


class Link:
    """Stands in for the thread that speaks to Dask: keeps what it was given, gives what it was told to."""

    def __init__(self) -> None:
        self.pending: list = []
        self.sent: list = []

    def events(self) -> list:
        taken, self.pending = self.pending, []
        return taken

    def submit(self, submissions) -> None:
        self.sent += submissions

    ask = revoke = submit


@pytest.fixture
def executor(monkeypatch):
    executor = DaskExecutor(parallelism=8)
    executor._link = Link()
    return executor


@pytest.mark.parametrize(("address", "expected"), [("", True), ("tcp://127.0.0.1:8786", False)])
def test_is_local_while_no_address_is_set(address, expected, monkeypatch):
    monkeypatch.setenv("AIRFLOW__DASK__CLUSTER_ADDRESS", address)
    assert DaskExecutor.is_local is expected
    assert DaskExecutor.serve_logs is expected


def test_takes_nothing_before_the_cluster_is_there(executor):
    executor.sync()
    assert executor.slots_available == 0


def test_takes_what_the_cluster_can_run(executor):
    executor._link.pending = [Connected("tcp://x"), Capacity(workers=1, slots=4, free=3)]
    executor.sync()
    assert executor.slots_available == 3


def test_takes_no_more_than_parallelism(executor):
    executor._link.pending = [Capacity(workers=9, slots=90, free=90)]
    executor.sync()
    assert executor.slots_available == 8


def test_takes_nothing_while_the_cluster_is_away(executor):
    executor._link.pending = [Capacity(workers=1, slots=4, free=4), Disconnected("gone")]
    executor.sync()
    assert executor.slots_available == 0


def test_sync_never_raises(executor, caplog):
    executor._link.pending = [Outcome(key="nobody's", success=True), object()]
    executor._in_flight.ended = None
    executor.sync()
    assert executor.slots_available == 0


def test_a_workload_that_cannot_be_written_down_fails_alone(executor):
    class Broken:
        key = KEY
        callback = SimpleNamespace(id=KEY)

        def model_dump_json(self):
            raise ValueError("no JSON for this")

    executor.running.add(KEY)
    failures = {}
    executor.fail = lambda key, info: failures.update({key: info})
    executor._process_workloads([Broken()])
    assert "no JSON for this" in next(iter(failures.values()))
    assert executor._link.sent == []
