"""The commands about a cluster, against real Dask schedulers and workers with the real plugin."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from airflow.cli.cli_parser import get_parser

from airflow_eks_dask.cli.drain import drain
from airflow_eks_dask.cli.status import status
from airflow_eks_dask.cli.workers import workers
from airflow_eks_dask.endpoint import Endpoint
from airflow_eks_dask.worker.protocol import Submission, WorkerOptions
from airflow_eks_dask.worker.scheduler_plugin import WorkloadSchedulerPlugin
from tests.conftest import eventually
from tests.integration.cluster import DaskCluster
from tests.integration.test_tls import ROOT, TlsCluster, make_certificates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from distributed import Client

pytestmark = pytest.mark.any_airflow
COMMANDS = {"status": status, "workers": workers, "drain": drain}
OPTIONS = WorkerOptions(workload_module="tests.integration.stub_workload")
CONNECTION = "AIRFLOW_CONN_DASK_DEFAULT"


class Workloads:
    """Runs workloads on a cluster, as an executor would."""

    def __init__(self, client: Client, directory: Path) -> None:
        self._client = client
        self._directory = directory

    def start(self, name: str, queue: str = "default") -> None:
        """Have a workload wait for :meth:`let_go`."""
        order = {"do": "sleep", "ledger": str(self._directory / name), "until": str(self._go(name))}
        submission = Submission(f"{self._directory}:{name}", json.dumps(order).encode(), queue=queue, label=name)
        self._client.sync(self._client.scheduler.airflow_submit, submissions=[asdict(submission)])

    def let_go(self, name: str) -> None:
        self._go(name).touch()

    def _go(self, name: str) -> Path:
        return self._directory / f"{name}.go"


def client_of(cluster: DaskCluster, **tls: str) -> Client:
    """Connect as an executor does, which is when the plugin comes to the scheduler."""
    client = Endpoint(cluster.address, **tls).connect(timeout=60)
    client.register_plugin(WorkloadSchedulerPlugin(OPTIONS))
    return client


def wait_for_slots(client: Client, slots: int) -> None:
    eventually(lambda: client.sync(client.scheduler.airflow_capacity)["free"] == slots, what=f"{slots} free slots")


@pytest.fixture(scope="module")
def dask(tmp_path_factory) -> Iterator[DaskCluster]:
    """A cluster with one worker of two slots that stays."""
    cluster = DaskCluster(tmp_path_factory.mktemp("dask"), {"PYTHONPATH": str(ROOT)})
    cluster.start_scheduler()
    cluster.start_worker("--nthreads", "1")
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def client(dask) -> Iterator[Client]:
    with client_of(dask) as client:
        wait_for_slots(client, 2)
        yield client


@pytest.fixture
def workloads(client, tmp_path) -> Workloads:
    return Workloads(client, tmp_path)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An Airflow home of the test's own, without an embedded cluster."""
    monkeypatch.setattr("airflow.configuration.AIRFLOW_HOME", str(tmp_path))
    monkeypatch.delenv(CONNECTION, raising=False)


@pytest.fixture
def run(capfd):
    """Run a command and return its exit code, output and errors."""

    def run(command, *words):
        code = 0
        try:
            COMMANDS[command](get_parser().parse_args(["eks-dask", command, *words]))
        except SystemExit as end:
            code = end.code
        output = capfd.readouterr()
        return SimpleNamespace(code=code, out=output.out, err=output.err)

    return run


def test_a_dask_scheduler_that_no_executor_knows(run, tmp_path):
    cluster = DaskCluster(tmp_path)
    cluster.start_scheduler()
    try:
        ended = run("status", "--address", cluster.address)
    finally:
        cluster.stop()
    assert (ended.code, ended.out) == (1, "")
    assert "runs no Airflow workloads" in ended.err


class TestStatus:
    """What the cluster can run, and what waits."""

    def test_json(self, run, dask, workloads, client):
        workloads.start("k")
        workloads.start("nobody's", queue="gpu")
        ended = run("status", "--address", dask.address, "-o", "json")
        assert (ended.code, ended.err) == (0, "")
        told = json.loads(ended.out)
        assert (told["address"], told["source"]) == (dask.address, "--address")
        assert (told["workers"], told["slots"], told["free"], told["running"], told["waiting"]) == (1, 2, 1, 1, 1)
        assert {"name": "default", "free": 1, "waiting": 0, "served": True} in told["queues"]
        assert {"name": "gpu", "free": 0, "waiting": 1, "served": False} in told["queues"]
        assert told["idle_memory_per_slot"] > 0
        assert told["dashboard"].startswith("http://127.0.0.1:")
        assert told["versions"]["airflow-eks-dask"]
        keys = [one["key"] for one in client.sync(client.scheduler.airflow_status)["waiting"]]
        client.sync(client.scheduler.airflow_revoke, keys=keys)
        workloads.let_go("k")
        wait_for_slots(client, 2)

    def test_table(self, run, dask, client):
        shown = run("status", "--address", dask.address)
        assert shown.code == 0
        assert "2, 2 free" in shown.out

    def test_the_command_itself_prints_nothing_but_json(self, dask, client):
        ended = subprocess.run(
            [sys.executable, "-m", "airflow", "eks-dask", "status", "--output", "json"],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
            env={**os.environ, "AIRFLOW__DASK__CLUSTER_ADDRESS": dask.address},
        )
        assert json.loads(ended.stdout)["source"] == "[dask] cluster_address"


class TestWorkers:
    """What runs where."""

    def test_what_runs_there(self, run, dask, workloads, client):
        workloads.start("etl.load[3]")
        for output in ("json", "table"):
            shown = run("workers", "--address", dask.address, "-o", output)
            assert shown.code == 0
            assert "worker-0" in shown.out
            assert "etl.load[3]" in shown.out
        (worker,) = json.loads(run("workers", "--address", dask.address, "-o", "json").out)["workers"]
        assert (worker["state"], worker["slots"], worker["free"], worker["queues"]) == ("running", 2, 1, ["default"])
        (running,) = worker["running"]
        assert (running["label"], running["queue"]) == ("etl.load[3]", "default")
        workloads.let_go("etl.load[3]")
        wait_for_slots(client, 2)

    def test_of_an_embedded_cluster(self, run, dask, client, tmp_path):
        (tmp_path / "dask").mkdir()
        file = tmp_path / "dask" / f"embedded-{os.getpid()}.json"
        file.write_text(json.dumps({"type": "Scheduler", "address": dask.address}))
        shown = run("workers")
        assert shown.code == 0, shown.err
        assert "worker-0" in shown.out


class TestDrain:
    """A worker's end of service."""

    @pytest.fixture
    def leaving(self, dask, client):
        """A second worker, with a nanny, that gets the next workload."""
        process = dask.start_worker("--nthreads", "2")
        wait_for_slots(client, 6)
        yield f"worker-{len(dask.workers) - 1}", process
        process.popen.kill()
        process.popen.wait(30)
        wait_for_slots(client, 2)

    def test_it_finishes_what_it_runs_and_leaves(self, run, dask, client, workloads, leaving, tmp_path):
        name, process = leaving
        workloads.start("k")
        told = run("drain", name, "--address", dask.address)
        assert (told.code, told.out) == (0, f"{name} leaves when these have ended: k\n")
        late = run("drain", name, "--wait", "--timeout", "0.1", "--address", dask.address)
        assert late.code == 1
        assert "not within 0.1 s" in late.err
        assert process.popen.poll() is None

        waiting = self.command(dask, name, "--wait", "-o", "json")
        assert "leaves when these have ended: k" in waiting.stderr.readline()
        workloads.let_go("k")
        out, _ = waiting.communicate(timeout=120)
        assert waiting.returncode == 0
        assert (json.loads(out)["name"], json.loads(out)["state"]) == (name, "left")
        eventually(lambda: process.popen.poll() is not None, what="its process, the nanny's, has ended")
        wait_for_slots(client, 2)

    def test_it_can_be_taken_back(self, run, dask, client, workloads, leaving):
        name, process = leaving
        workloads.start("k")
        assert run("drain", name, "--address", dask.address).code == 0
        back = run("drain", name, "--cancel", "--address", dask.address)
        assert (back.code, back.out) == (0, f"{name} takes workloads again\n")
        workloads.let_go("k")
        wait_for_slots(client, 6)
        assert process.popen.poll() is None
        again = run("drain", name, "--cancel", "--address", dask.address)
        assert again.code == 1
        assert "is not draining" in again.err

    def test_an_idle_one_leaves_at_once(self, run, dask, client, leaving):
        name, _ = leaving
        ended = run("drain", name, "--wait", "--timeout", "60", "--address", dask.address)
        assert ended.code == 0, ended.err
        assert ended.out.endswith(f"{name} has left\n")

    def test_one_that_is_not_there(self, run, dask, client):
        ended = run("drain", "nobody", "--address", dask.address)
        assert ended.code == 1
        assert "nobody" in ended.err
        assert "worker-0" in ended.err

    @staticmethod
    def command(dask: DaskCluster, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "airflow", "eks-dask", "drain", *words, "--address", dask.address],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


class TestTls:
    """Certificates in files and in a connection."""

    @pytest.fixture(scope="class")
    def tls(self, tmp_path_factory):
        return make_certificates(tmp_path_factory.mktemp("tls") / "ours")

    @pytest.fixture(scope="class")
    def secured(self, tls, tmp_path_factory):
        cluster = TlsCluster(tmp_path_factory.mktemp("tls-dask"), tls)
        cluster.start_scheduler()
        options = dict(cluster.usage.options)
        address = options.pop("cluster_address")
        assert address == cluster.address
        try:
            with client_of(cluster, **options):
                yield cluster
        finally:
            cluster.stop()

    def test_files_of_the_configuration(self, run, secured, monkeypatch):
        for option, value in secured.usage.options.items():
            monkeypatch.setenv(f"AIRFLOW__DASK__{option.upper()}", value)
        told = run("status", "-o", "json")
        assert told.code == 0, told.err
        assert json.loads(told.out)["address"] == secured.address
        assert run("workers", "--address", secured.address).code == 0

    def test_text_in_a_connection(self, run, secured, tls, monkeypatch):
        self.connect(secured, tls, monkeypatch)
        told = run("status", "-o", "json")
        assert told.code == 0, told.err
        assert json.loads(told.out)["source"] == "connection dask_default"
        assert "PRIVATE" not in told.out + told.err

    def test_certificates_of_another_cluster(self, run, secured, tmp_path, monkeypatch):
        self.connect(secured, make_certificates(tmp_path / "theirs"), monkeypatch)
        monkeypatch.setenv("AIRFLOW__DASK__CONNECT_TIMEOUT", "3")
        refused = run("status")
        assert (refused.code, refused.out) == (1, "")
        assert "certificate" in refused.err.lower()
        assert "PRIVATE" not in refused.err

    @staticmethod
    def connect(secured: TlsCluster, tls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        fields = {
            "conn_type": "dask",
            "host": "127.0.0.1",
            "port": secured.port,
            "password": (tls / "client-key.pem").read_text(),
            "extra": {"tls_ca": (tls / "ca.pem").read_text(), "tls_cert": (tls / "client.pem").read_text()},
        }
        monkeypatch.setenv(CONNECTION, json.dumps(fields))
