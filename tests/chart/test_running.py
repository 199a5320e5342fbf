"""The commands in the chart's manifests, run on this machine: scheduler, worker, and what helm test runs."""

from __future__ import annotations

import os
import re
import signal
import ssl
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import pytest

from airflow_eks_dask import certificates
from airflow_eks_dask.certificates import AUTHORITY, certificate_file, key_file
from airflow_eks_dask.local.ports import free_port
from airflow_eks_dask.local.processes import ProcessSet
from tests.chart.rendering import CHART, TLS, changed, environment
from tests.conftest import eventually
from tests.http_server import execution_api

pytestmark = pytest.mark.any_airflow

BIN = Path(sys.executable).parent
PLAIN = {"tls": {"enabled": False}, "service": {"type": "ClusterIP"}}
POD = "pipeline-worker-default-6b8f-x"


class Pods:
    """
    Runs containers of manifests as processes.

    :param manifests: What the chart renders.
    :param directory: For what they write.
    :param tls: Holds a directory for each role, with the files of a Secret.
    """

    def __init__(self, manifests, directory, tls):
        self.processes = ProcessSet()
        self.ports = {name: free_port() for name in ("8786", "8787", "8788", "8789")}
        self._manifests = manifests
        self._directory = directory
        self._tls = tls

    def start(self, role):
        container = self._manifests.container({"worker": "pipeline-worker-default"}.get(role, f"pipeline-{role}"))
        command, variables = self._translate(container, role)
        log = self._directory / f"{role}.log"
        return self.processes.start(role, command, log_file=log, env=variables, cwd=self._directory)

    def check(self, **variables):
        """Run what helm test runs."""
        (container,) = self._manifests.one("Pod", "pipeline-test")["spec"]["containers"]
        command, ours = self._translate(container, "worker")
        return subprocess.run(command, env=ours | variables, capture_output=True, text=True, timeout=240, check=False)

    def probe(self, name, kind="livenessProbe"):
        """Ask what the kubelet asks."""
        container = self._manifests.container(name)
        asked = container[kind]["httpGet"]
        (port,) = [port["containerPort"] for port in container["ports"] if port["name"] == asked["port"]]
        try:
            url = f"http://127.0.0.1:{self.ports[str(port)]}{asked['path']}"
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status == 200
        except OSError:
            return False

    def _translate(self, container, role):
        """Put what is on this machine in the place of what is in the cluster."""

        def translate(text):
            text = text.replace("$(POD_NAME)", POD)
            text = re.sub("/etc/(dask/tls|execution-api)", str(self._tls / role), text)
            text = text.replace("/etc/check", str(CHART / "files")).replace("/tmp/dask", str(self._directory / "dask"))
            text = text.replace("pipeline-scheduler:", "127.0.0.1:")
            return re.sub(r"\b878[6-9]\b", lambda port: str(self.ports[port[0]]), text)

        program, *arguments = container["args"]
        variables = {name: value for name, value in environment(container).items() if isinstance(value, str)}
        return (
            [str(BIN / program), *map(translate, arguments)],
            {**os.environ, **{name: translate(value) for name, value in variables.items()}},
        )


def write_secrets(directory):
    """Make what is in the Secrets of each role."""
    now = datetime.now(timezone.utc)
    authority, names = certificates.make_authority(now), [certificates.subject_name("127.0.0.1")]
    certificates.write(
        directory / "all", {AUTHORITY: authority, **certificates.make_leaves(authority, now, names=names)}
    )
    for role in ("scheduler", "worker"):
        (directory / role).mkdir()
        for name, file in {
            "ca.crt": certificate_file(directory / "all", AUTHORITY),
            "tls.crt": certificate_file(directory / "all", role),
            "tls.key": key_file(directory / "all", role),
        }.items():
            (directory / role / name).symlink_to(file)
    return directory


@contextmanager
def running(chart, directory, values, *roles):
    tls = write_secrets(directory)
    api_tls = None
    if values.get("executionApi"):
        api_tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        api_tls.load_cert_chain(tls / "scheduler" / "tls.crt", tls / "scheduler" / "tls.key")
    with execution_api(api_tls) as url:
        ours = {"executionApi": {"url": url}, "workerDefaults": {"replicas": 1}, "test": {"timeout": 60}}
        pods = Pods(chart.render(changed(values, ours)), directory, tls)
        try:
            for role in roles:
                pods.start(role)
            yield pods
        finally:
            pods.processes.close(grace=5)


@pytest.fixture(scope="module")
def pods(chart, tmp_path_factory):
    with running(chart, tmp_path_factory.mktemp("pods"), TLS, "scheduler", "worker") as pods:
        yield pods


def test_helm_test_finds_a_cluster_that_computes(pods):
    done = pods.check()
    assert done.returncode == 0, done.stderr
    assert "refuses clients without TLS or without a certificate" in done.stderr
    assert "1 workers compute, and reach Airflow's execution API" in done.stderr


@pytest.mark.parametrize("name", ["pipeline-scheduler", "pipeline-worker-default"])
def test_probes_are_answered(pods, name):
    eventually(lambda: pods.probe(name), what=f"{name} is healthy")


def test_helm_test_misses_workers(pods):
    done = pods.check(WORKERS='{"pipeline-worker-other-": 2}', TIMEOUT="5")
    assert done.returncode == 1
    assert "there are 0 of 2 pipeline-worker-other-" in done.stderr


def test_helm_test_finds_an_execution_api_that_is_out_of_reach(pods):
    url = f"http://127.0.0.1:{free_port()}/execution/"
    done = pods.check(EXECUTION_API_URL=url)
    assert done.returncode == 1
    assert f"{url}health is not reached, and no task runs without it" in done.stderr
    assert "Traceback" not in done.stderr


def test_helm_test_finds_no_scheduler(pods):
    done = pods.check(SCHEDULER=f"tls://127.0.0.1:{free_port()}", TIMEOUT="3")
    assert done.returncode == 1
    assert done.stderr.startswith("tls://127.0.0.1:")


def test_with_certificates_of_another_authority_nobody_gets_in(pods, tmp_path):
    other = str(write_secrets(tmp_path) / "worker")
    files = {"KEY": f"{other}/tls.key", "CERT": f"{other}/tls.crt"}
    shown = {f"DASK_DISTRIBUTED__COMM__TLS__CLIENT__{name}": file for name, file in files.items()}
    done = pods.check(**shown, TIMEOUT="3")
    assert done.returncode == 1
    assert "compute" not in done.stderr


def test_a_worker_waits_for_its_scheduler_and_ends_when_it_is_told_to(chart, tmp_path):
    name = "pipeline-worker-default"
    with running(chart, tmp_path, TLS) as pods:
        worker = pods.start("worker")
        eventually(lambda: pods.probe(name), what="it is healthy")
        assert not pods.probe(name, "readinessProbe")
        pods.start("scheduler")
        eventually(lambda: pods.probe(name, "readinessProbe"), timeout=60, what="it is ready")
        assert pods.check().returncode == 0
        worker.popen.send_signal(signal.SIGTERM)
        assert worker.popen.wait(timeout=60) == 0


def test_without_tls_it_computes_as_well(chart, tmp_path):
    with running(chart, tmp_path, PLAIN, "scheduler", "worker") as pods:
        done = pods.check()
    assert done.returncode == 0, done.stderr


def test_workers_know_the_execution_api_by_its_authority(chart, tmp_path):
    values = {**PLAIN, "executionApi": {"tlsSecretName": "api-tls"}}
    with running(chart, tmp_path, values, "scheduler", "worker") as pods:
        done = pods.check()
    assert done.returncode == 0, done.stderr


def test_the_script_of_helm_test_is_the_one_that_is_tested(chart):
    manifests = chart.render(changed(TLS, {"executionApi": {"url": "http://a/execution/"}}))
    script = manifests.one("ConfigMap", "pipeline-test")["data"]["check.py"]
    assert script == (CHART / "files" / "check.py").read_text()


def test_the_query_of_keda_counts_what_wants_a_slot(chart):
    import sqlalchemy
    from airflow.models.taskinstance import TaskInstance

    group = {"name": "large", "queues": ["large", "it's"], "keda": {"enabled": True, "secretName": "database"}}
    values = changed(TLS, {"executionApi": {"url": "http://a/execution/"}, "workers": [group]})
    scaled = chart.render(values).one("ScaledObject", "pipeline-worker-large")
    query = scaled["spec"]["triggers"][0]["metadata"]["query"]
    engine = sqlalchemy.create_engine("sqlite://")
    # The columns that the query needs must be Airflow's.
    names = [TaskInstance.__table__.c[name].name for name in ("state", "queue")]
    rows = [
        ("scheduled", "large"),
        ("queued", "it's"),
        ("running", "large"),
        ("running", "default"),
        ("success", "large"),
        ("deferred", "large"),
        (None, "large"),
    ]
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(f"CREATE TABLE {TaskInstance.__tablename__} ({', '.join(names)})"))
        connection.execute(
            sqlalchemy.text(f"INSERT INTO {TaskInstance.__tablename__} VALUES (:state, :queue)"),
            [{"state": state, "queue": queue} for state, queue in rows],
        )
        assert connection.execute(sqlalchemy.text(query)).scalar() == 3
