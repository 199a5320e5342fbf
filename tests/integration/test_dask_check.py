"""The check of a Dask cluster, against real ones with mutual TLS: what it finds, waits for, and refuses."""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timezone

import distributed
import pytest

from airflow_eks_dask import certificates
from airflow_eks_dask.certificates import AUTHORITY
from airflow_eks_dask.cli.certs import usage
from airflow_eks_dask.endpoint import Endpoint
from airflow_eks_dask.hooks import dask_check
from airflow_eks_dask.hooks.dask_check import Check, DaskClusterError, DaskUnreachableError
from airflow_eks_dask.worker import probe
from airflow_eks_dask.worker.protocol import WorkerOptions
from tests import http_server
from tests.conftest import eventually
from tests.integration.test_tls import TlsCluster, make_certificates

pytestmark = pytest.mark.any_airflow

OPTIONS = WorkerOptions(slots=3, workload_module="tests.integration.stub_workload")


@pytest.fixture(scope="module")
def execution_api():
    """An execution API that is alive."""
    with http_server.execution_api() as address:
        yield address


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture
def cluster(tmp_path, ours, execution_api):
    """A cluster whose scheduler runs; a test starts what else it needs."""
    cluster = TlsCluster(tmp_path, ours)
    cluster.environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] = execution_api
    cluster.start_scheduler()
    yield cluster
    cluster.stop()


def endpoint(cluster, tls=None):
    options = cluster.usage.options if tls is None else usage(tls, cluster.address).options
    return Endpoint(cluster.address, options["tls_ca"], options["tls_cert"], options["tls_key"])


def check(cluster, tls=None, **changes):
    return Check(endpoint=endpoint(cluster, tls), options=OPTIONS, poll_interval=0.2, **{"timeout": 60, **changes})


def test_a_cluster_that_comes_up_is_waited_for_and_found_good(cluster, caplog):
    caplog.set_level(logging.INFO)

    def start_once_waited_for():
        eventually(lambda: "0 workers, 0 of them ready, with 0 of 3 slots" in caplog.text, what="the check waits")
        cluster.start_worker("--nthreads", "1", "--name", "late")

    late = threading.Thread(target=start_once_waited_for)
    late.start()
    found = dask_check.run(check(cluster, minimum_slots=3, timeout=120))
    late.join()
    assert found.workers == ["late"]
    assert found.slots == 3
    assert found.address == cluster.address
    assert found.versions["distributed"] == distributed.__version__
    assert "PRIVATE KEY" not in str(found.to_json())
    # Again: the plugin is there, and nothing changes.
    assert dask_check.run(check(cluster)).slots == 3


def test_too_few_slots(cluster):
    cluster.start_worker("--nthreads", "1", "--name", "only")
    with pytest.raises(DaskClusterError, match=r"1 workers, 1 of them ready, with 3 of 99 slots when the time was"):
        dask_check.run(check(cluster, minimum_slots=99, timeout=15))


def test_no_worker_at_all(cluster):
    with pytest.raises(DaskClusterError, match="No worker has come: do they know its address"):
        dask_check.run(check(cluster, timeout=1))


def test_workers_that_do_not_reach_airflow(cluster):
    cluster.environment["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] = "http://127.0.0.1:1/execution/"
    cluster.start_worker("--nthreads", "1", "--name", "shut-in")
    words = r"worker shut-in on .*http://127\.0\.0\.1:1/execution/health.*\[core\] execution_api_server_url"
    with pytest.raises(DaskClusterError, match=words):
        dask_check.run(check(cluster))
    assert dask_check.run(check(cluster, execution_api=False)).workers == ["shut-in"]


class TestOfTheExecutionApi:
    @pytest.fixture
    def address(self, tmp_path, monkeypatch):
        """One with a certificate of an authority that nobody knows."""
        authority = certificates.make_authority(datetime.now(timezone.utc))
        with http_server.execution_api(http_server.tls_context(tmp_path, authority)) as address:
            monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", address)
            yield address

    def test_its_authority_is_not_known(self, address):
        assert f"{address}health: " in probe.execution_api_problem()

    def test_its_authority_is_known_by_the_configuration(self, address, tmp_path, monkeypatch):
        monkeypatch.setenv("AIRFLOW__API__SSL_CERT", str(certificates.certificate_file(tmp_path, AUTHORITY)))
        assert probe.execution_api_problem() == ""


@pytest.mark.parametrize("package", ["distributed", "apache-airflow"])
def test_versions_that_differ(cluster, monkeypatch, package):
    real = dask_check.local_versions()
    monkeypatch.setattr(dask_check, "local_versions", lambda: {**real, package: "1.2.3"})
    cluster.start_worker("--nthreads", "1")
    here = "1.2" if package == "apache-airflow" else "1.2.3"
    with pytest.raises(
        DaskClusterError, match=rf"Versions differ .*{cluster.address}.*{package} {here} here, \S+ there"
    ):
        dask_check.run(check(cluster))


def test_certificates_of_another_authority(cluster, tmp_path):
    theirs = make_certificates(tmp_path / "theirs")
    with pytest.raises(DaskUnreachableError, match=f"No connection to the Dask scheduler at {cluster.address}.*tried"):
        dask_check.run(check(cluster, theirs, timeout=3))


def test_a_scheduler_that_goes_away_while_workers_are_waited_for_may_come_back(cluster, caplog):
    caplog.set_level(logging.INFO)

    def restart_once_waited_for():
        eventually(lambda: "Waiting for slots" in caplog.text, what="the check waits")
        cluster.processes.stop(cluster.scheduler)
        cluster.start_scheduler()
        cluster.start_worker("--nthreads", "1", "--name", "second")

    restart = threading.Thread(target=restart_once_waited_for)
    restart.start()
    assert dask_check.run(check(cluster, timeout=120)).workers == ["second"]
    restart.join()
    assert "Not yet, will try again" in caplog.text


class TestExecutors:
    """Who waits for an executor to come, or to go."""

    def test_none_comes(self, cluster):
        with pytest.raises(DaskClusterError, match="When the time was over, no executor has connected yet"):
            dask_check.wait_for_executor(endpoint(cluster), present=True, timeout=1, poll_interval=0.1)

    def test_none_is_there(self, cluster):
        dask_check.wait_for_executor(endpoint(cluster), present=False, timeout=10)

    def test_a_cluster_that_is_gone_is_told_from_one_that_is_busy(self, cluster):
        where = endpoint(cluster)
        cluster.stop()
        with pytest.raises(DaskUnreachableError):
            dask_check.wait_for_executor(where, present=False, timeout=2)
