"""The chart, installed in a namespace with the operators of this package."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.certificates import AUTHORITY, certificate_file, key_file
from airflow_eks_dask.endpoint import Endpoint
from airflow_eks_dask.operators import helm
from airflow_eks_dask.sensors.service_address import ServiceAddressSensor
from tests.chart.rendering import CHART, changed
from tests.cluster.conftest import kubectl
from tests.conftest import PATIENCE, eventually
from tests.integration.system import BUNDLES

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = "pipeline"
SLOTS = 3
"""Of a pod: tasks of these tests mostly wait."""

DATA = "/data"
"""Where workers see a directory that they share."""

_CONTEXT = {"ti": SimpleNamespace(dag_id="tests", run_id="run", task_id=NAME, map_index=-1)}
_FEW = {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "2Gi"}}

VALUES: dict[str, Any] = {
    "tls": {"schedulerSecretName": "dask-scheduler-tls", "workerSecretName": "dask-worker-tls"},
    "executionApi": {"tlsSecretName": "execution-api-tls", "resources": _FEW},
    "config": {"dag_processor": {"dag_bundle_config_list": list(BUNDLES)}},
    "scheduler": {"resources": _FEW},
    "workerDefaults": {
        "replicas": 2,
        "slots": SLOTS,
        "resources": _FEW,
        # The DAGs of tests; the package's own are in the image.
        "extraVolumes": [
            {"name": "dags", "configMap": {"name": "dags"}},
            {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
        ],
        "extraVolumeMounts": [
            {"name": "dags", "mountPath": "/opt/airflow/dags", "readOnly": True},
            {"name": "data", "mountPath": DATA},
        ],
    },
}


@dataclass
class Installation:
    """
    A release of the chart, whose values change with each upgrade.

    :param tls: Directory with the certificates of its Dask cluster.
    """

    kubeconfig: Path
    namespace: str
    values: dict[str, Any]
    tls: Path

    def ensure(self, changes: Mapping[str, Any] | None = None, *, wait: bool = True) -> dict[str, Any]:
        """Install it, or upgrade it with values changed."""
        self.values = changed(self.values, changes or {})
        return self._run("EnsureHelmRelease", chart=str(CHART), values=[self.values], wait=wait)

    def rollback(self, revision: int) -> None:
        """Have it be what a revision was; the values stay as they were last asked for."""
        self._run("RollbackHelmRelease", revision=revision)

    def revision(self) -> int:
        """Return the number of the newest revision."""
        return self._run("HelmReleaseStatus")["revision"]

    def test(self) -> None:
        """Run the tests of the chart."""
        self._run("TestHelmRelease")

    def uninstall(self) -> None:
        """Remove it and wait until it is gone."""
        self._run("UninstallHelmRelease")

    def pods(self, component: str | None = None) -> list[dict[str, Any]]:
        """Return its pods: those of a component, or all."""
        labels = f"app.kubernetes.io/instance={NAME}"
        labels += f",app.kubernetes.io/component={component}" if component else ""
        found = json.loads(self.kubectl("get", "pods", "--selector", labels, "--output", "json"))
        return found["items"]

    def pod_names(self, component: str = "worker") -> set[str]:
        """Return the names of pods."""
        return {pod["metadata"]["name"] for pod in self.pods(component)}

    @cached_property
    def endpoint(self) -> Endpoint:
        """The Dask scheduler behind its load balancer, waited for."""
        ca = str(certificate_file(self.tls, AUTHORITY))
        sensor = ServiceAddressSensor(
            task_id=NAME,
            kubeconfig=str(self.kubeconfig),
            namespace=self.namespace,
            service=f"{NAME}-scheduler",
            tls_ca=ca,
            timeout=PATIENCE,
            poke_interval=1,
            deferrable=False,
        )
        pair = {name: str(file) for name, file in _pair(self.tls, "client").items()}
        return Endpoint(sensor.execute(_CONTEXT), ca, **pair)

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        """Return what ``kubectl`` prints, in its namespace."""
        return kubectl("--namespace", self.namespace, *arguments, text=text)

    def python(self, pod: str, script: str, **names: str) -> str:
        """
        Return what a script prints that runs in a pod's first container.

        :param names: Variables of the script; they go through standard input, too.
        """
        variables = "".join(f"{name} = {value!r}\n" for name, value in names.items())
        return self.kubectl("exec", pod, "--stdin", "--", "python", "-", text=variables + script)

    def unsettled(self, slots: int) -> str:
        """
        Say why it is not as it is to be: all pods ready, no other there, all slots free.

        :param slots: How many there are to be.
        """
        pods = {pod["metadata"]["name"]: condition(pod) for pod in self.pods()}
        if waiting := {name: said for name, said in pods.items() if said}:
            return f"pods: {waiting}"
        try:
            with self.endpoint.connect(timeout=10) as client:
                capacity = client.sync(client.scheduler.airflow_capacity, callback_timeout=10)
        except (OSError, TimeoutError) as error:
            return f"the Dask scheduler does not answer: {error or type(error).__name__}"
        if capacity is None:
            return "no executor has come to the Dask scheduler"
        found = (capacity["slots"], capacity["free"], capacity["waiting"])
        return "" if found == (slots, slots, {}) else f"slots: {capacity}"

    def _run(self, operator: str, **parameters: Any) -> Any:
        task = getattr(helm, f"{operator}Operator")(
            task_id=NAME,
            kubeconfig=str(self.kubeconfig),
            release=NAME,
            namespace=self.namespace,
            **({"helm_timeout": 240} | parameters),
        )
        return task.execute(_CONTEXT)


def condition(pod: Mapping[str, Any]) -> str:
    """Say what keeps a pod from being at work; empty if it is."""
    if "deletionTimestamp" in pod["metadata"]:
        return "ends"
    conditions = {each["type"]: each["status"] for each in pod["status"].get("conditions", ())}
    return "" if conditions.get("Ready") == "True" else f"not ready ({pod['status']['phase']})"


def helm_says(installation: Installation, *arguments: str) -> str:
    """Return what ``helm`` prints; what a user at a terminal would see."""
    options = ["--kubeconfig", str(installation.kubeconfig), "--namespace", installation.namespace]
    done = subprocess.run(["helm", *arguments, *options], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def put_secret(namespace: str, name: str, data: Mapping[str, str]) -> None:
    """Make a Secret; what is in it goes through standard input."""
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": dict(data)}
    kubectl("--namespace", namespace, "create", "--filename", "-", text=json.dumps(body))


def tls_data(directory: Path, role: str) -> dict[str, str]:
    """Return what is in the Secret of a role."""
    pair = _pair(directory, role)
    return {
        "ca.crt": certificate_file(directory, AUTHORITY).read_text(),
        "tls.crt": pair["tls_cert"].read_text(),
        "tls.key": pair["tls_key"].read_text(),
    }


def prepare(namespace: str, tls: Path, dags: Path) -> None:
    """
    Make in a namespace what the chart expects there.

    :param tls: Directory with the certificates of the Dask cluster.
    :param dags: Directory with the DAG files of tests.
    """
    for role in ("scheduler", "worker"):
        put_secret(namespace, f"dask-{role}-tls", tls_data(tls, role))
    kubectl("--namespace", namespace, "create", "configmap", "dags", f"--from-file={dags}")
    _claim_data(namespace)


def _claim_data(namespace: str) -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": spec}
    kubectl("--namespace", namespace, "create", "--filename", "-", text=json.dumps(claim))
    if kubectl("get", "storageclass", "--output", "jsonpath={.items[*].provisioner}") == "kubernetes.io/host-path":
        # Which makes directories of this machine for root alone.
        which = ("--namespace", namespace, "get", "pvc", "data", "--output", "jsonpath={.spec.volumeName}")
        volume = eventually(lambda: kubectl(*which), what="the claim is bound")
        Path(kubectl("get", "pv", volume, "--output", "jsonpath={.spec.hostPath.path}")).chmod(0o777)


def _pair(directory: Path, role: str) -> dict[str, Path]:
    return {"tls_cert": certificate_file(directory, role), "tls_key": key_file(directory, role)}
