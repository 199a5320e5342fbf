"""Mutual TLS: a real Dask cluster with our certificates, the executor's link to it, and who is kept out."""

from __future__ import annotations

import re
import socket
import ssl
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import pytest

from airflow_eks_dask import certificates
from airflow_eks_dask.certificates import AUTHORITY
from airflow_eks_dask.cli.certs import usage
from airflow_eks_dask.executors.cluster_link import Connected
from tests.conftest import eventually
from tests.integration.cluster import DaskCluster
from tests.integration.test_workloads_on_dask import ROOT, start, stub  # noqa: F401 - fixtures

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_eks_dask.local.processes import Child

pytestmark = pytest.mark.any_airflow


class TlsCluster(DaskCluster):
    """A cluster started with the commands that ``airflow eks-dask certs`` prints."""

    def __init__(self, directory: Path, tls: Path) -> None:
        super().__init__(directory, {"PYTHONPATH": str(ROOT)})
        self.address = f"tls://127.0.0.1:{self.port}"
        self.usage = usage(tls, self.address)

    def start_scheduler(self) -> Child:
        command = self.usage.scheduler[1:]
        self.scheduler = self._start("scheduler", *command, "--host", "127.0.0.1", "--port", str(self.port))
        return self.scheduler

    def start_worker(self, *options: str) -> Child:
        self.workers.append(self._start("worker", *self.usage.worker[1:], "--host", "127.0.0.1", *options))
        return self.workers[-1]

    def port_of(self, listener: str) -> int:
        """Return the port that a process has logged."""
        return int(re.search(rf"{listener} at:\s+'?tls://127\.0\.0\.1:(\d+)", self.log())[1])


def make_certificates(directory: Path) -> Path:
    now = datetime.now(timezone.utc)
    authority = certificates.make_authority(now)
    leaves = certificates.make_leaves(authority, now, names=[certificates.subject_name("dask.example.com")])
    certificates.write(directory, {AUTHORITY: authority, **leaves})
    return directory


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("tls") / "theirs")


@pytest.fixture(scope="module")
def dask(tmp_path_factory, ours):
    cluster = TlsCluster(tmp_path_factory.mktemp("tls-dask"), ours)
    cluster.start_scheduler()
    cluster.start_worker("--nthreads", "1")
    yield cluster
    cluster.stop()


@pytest.fixture
def executor(dask, start):  # noqa: F811
    executor = start(**dask.usage.options)
    executor.capacity(slots=2, free=2)
    return executor


def first_byte(port: int, context: ssl.SSLContext, host: str = "127.0.0.1") -> bytes:
    """Return what whoever listens sends first, which Dask does once it has accepted a client."""
    with socket.create_connection((host, port), timeout=30) as raw, context.wrap_socket(raw) as encrypted:
        return encrypted.recv(1)


def first_byte_without_tls(port: int, host: str = "127.0.0.1") -> bytes:
    """Return what whoever listens answers in plain: nothing or an alert of TLS; without TLS, Dask introduces itself."""
    with socket.create_connection((host, port), timeout=30) as plain:
        try:
            plain.sendall(bytes(64))
            return plain.recv(1)
        except ConnectionError:
            return b""


def client_context(ca: Path, shown: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca / "ca.pem")
    context.check_hostname = False
    if shown is not None:
        context.load_cert_chain(shown / "client.pem", shown / "client-key.pem")
    return context


def test_workloads_run(executor):
    executor.run("fine", "nothing")
    executor.run("broken", "raise", words="the disk is full")
    assert executor.wait_for_end("fine").success
    assert executor.wait_for_end("broken").reason == "ValueError: the disk is full"


def test_workloads_compute_on_the_cluster(executor):
    executor.run("k", "compute")
    outcome = executor.wait_for_end("k")
    assert outcome.success, outcome.reason
    assert executor.ledger("k", "result")["value"] == 6


@pytest.mark.parametrize("listener", ["Scheduler", "Nanny", "worker"])
def test_whoever_listens_wants_a_certificate_of_the_authority(executor, dask, ours, theirs, listener):
    port = dask.port_of(listener)
    assert first_byte(port, client_context(ours, ours))
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"):
        first_byte(port, client_context(ours, None))
    with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
        first_byte(port, client_context(ours, theirs))


@pytest.mark.parametrize("listener", ["Scheduler", "Nanny", "worker"])
def test_nobody_speaks_without_tls(executor, dask, listener):
    assert first_byte_without_tls(dask.port_of(listener)) in (b"", b"\x15")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        # The alert may be lost to the end of the connection.
        (("tls_cert", "tls_key"), "SSL"),
        (("tls_ca",), "TLS certificate does not match"),
        (("tls_key",), "KEY_VALUES_MISMATCH"),
    ],
    ids=["refused by the cluster", "refuses the cluster", "key of another"],
)
def test_with_files_of_another_cluster_the_executor_waits_and_says_why(dask, start, theirs, caplog, options, words):  # noqa: F811
    wrong = {option: usage(theirs, dask.address).options[option] for option in options}
    executor = start(**dask.usage.options | wrong)
    eventually(lambda: f"No Dask cluster at {dask.address}" in caplog.text, what="it says what it misses")
    assert words in caplog.text
    assert not executor.events(Connected)


def test_a_file_that_is_no_certificate_can_be_mended_while_the_executor_runs(dask, start, ours, tmp_path, caplog):  # noqa: F811
    file = tmp_path / "ca.pem"
    file.write_text("not a certificate")
    executor = start(**dask.usage.options | {"tls_ca": str(file)})
    eventually(lambda: f"No Dask cluster at {dask.address}" in caplog.text, what="it says what it misses")
    assert "no certificate" in caplog.text
    file.write_bytes((ours / "ca.pem").read_bytes())
    assert executor.wait_for(Connected).address == dask.address
