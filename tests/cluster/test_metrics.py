"""A real Prometheus, told what its chart is told, takes the right pods of all, and reads what Dask measures in them."""

from __future__ import annotations

import json
import os
import re
import shutil

import httpx
import pytest
import yaml

from airflow_eks_dask.local.ports import free_port
from airflow_eks_dask.local.processes import ProcessSet
from airflow_eks_dask.services import PROMETHEUS
from tests import debian
from tests.cluster.conftest import BESIDE, kubectl
from tests.cluster.pipelines import REPLICAS
from tests.conftest import eventually

pytestmark = [pytest.mark.any_airflow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    if found := shutil.which("prometheus"):
        return found
    if not debian.can_install():
        pytest.skip("prometheus is not on PATH, and it takes root and Debian to have it")
    directory = tmp_path_factory.mktemp("prometheus-package")
    debian.extract("prometheus", directory)
    return str(directory / "usr" / "bin" / "prometheus")


@pytest.fixture(scope="module")
def prometheus(program, pipelines, tmp_path_factory):
    """Prometheus on loopback; a client of its API."""
    if not BESIDE.exists():
        pytest.skip("pods of this cluster are not reached from here")
    pipelines.settle()
    directory = tmp_path_factory.mktemp("prometheus")
    jobs = yaml.safe_load(PROMETHEUS.values["extraScrapeConfigs"])
    for job in jobs:
        # Debian's is built without it.
        assert job.pop("kubernetes_sd_configs") == [{"role": "pod"}]
        job["file_sd_configs"] = [{"files": [str(directory / "pods.json")]}]
    (directory / "pods.json").write_text(json.dumps(ports_of_all_pods()))
    config = directory / "prometheus.yml"
    config.write_text(yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}))
    address, log = f"127.0.0.1:{free_port()}", directory / "prometheus.log"
    options = {"config.file": config, "storage.tsdb.path": directory / "data", "web.listen-address": address}
    processes = ProcessSet()
    command = [program, *(f"--{name}={value}" for name, value in options.items())]
    child = processes.start("prometheus", command, log_file=log, env=os.environ, cwd=directory)
    try:
        with httpx.Client(base_url=f"http://{address}/api/v1", trust_env=False, timeout=30) as client:
            yield Prometheus(client, pipelines.installation.namespace, child)
    finally:
        processes.close()


def ports_of_all_pods():
    """
    Return what Prometheus finds in Kubernetes with the role ``pod``: a target for each port of a container.

    Source: https://prometheus.io/docs/prometheus/latest/configuration/configuration/#pod.
    """
    pods = json.loads(kubectl("get", "pods", "--all-namespaces", "--output", "json"))["items"]
    return [
        {
            "targets": [f"{pod['status']['podIP']}:{port['containerPort']}"],
            "labels": {
                "__meta_kubernetes_namespace": pod["metadata"]["namespace"],
                "__meta_kubernetes_pod_name": pod["metadata"]["name"],
                "__meta_kubernetes_pod_container_port_name": port.get("name", ""),
                **{
                    f"__meta_kubernetes_pod_label_{re.sub('[^a-zA-Z0-9_]', '_', name)}": value
                    for name, value in pod["metadata"].get("labels", {}).items()
                },
            },
        }
        for pod in pods
        if pod["status"].get("podIP")
        for container in pod["spec"]["containers"]
        for port in container.get("ports", [])
    ]


class Prometheus:
    """Asks it about the pods of one namespace."""

    def __init__(self, client, namespace, child):
        self._client = client
        self._namespace = namespace
        self._child = child

    def series(self, metric):
        """Return what a metric is now: the labels of each series, and its value."""
        assert self._child.running, self._child.failure()
        query = f'{metric}{{job="dask", namespace="{self._namespace}"}}'
        try:
            found = self._client.get("/query", params={"query": query}).json()["data"]["result"]
        except httpx.TransportError:
            return []
        return [(each["metric"], float(each["value"][1])) for each in found]


def test_it_finds_all_pods_and_what_dask_measures(pipelines, prometheus):
    pods = {
        (component, pod["metadata"]["name"])
        for component in ("scheduler", "worker")
        for pod in pipelines.installation.pods(component)
    }
    assert len(pods) == 1 + REPLICAS

    def seen():
        return {(of["release"], of["component"], of["pod"], up) for of, up in prometheus.series("up")}

    eventually(
        lambda: seen() == {("pipeline", *pod, 1.0) for pod in pods},
        what="Prometheus reads from all pods of the chart, and from no others",
    )
    eventually(
        lambda: sum(count for _, count in prometheus.series("dask_scheduler_workers")) == REPLICAS,
        what="the Dask scheduler counts its workers",
    )
    measured = {("worker", of["pod"]) for of, _ in prometheus.series("dask_worker_threads")}
    assert measured == {pod for pod in pods if pod[0] == "worker"}
