"""The chart as Helm renders it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

import airflow_eks_dask

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CHART = Path(airflow_eks_dask.__file__).parent / "charts" / "pipeline"
NEWEST = "1.37.0"

TLS = {"tls": {"secretName": "dask-tls"}}
API = {"executionApi": {"url": "https://airflow.example.com/execution/"}}
IN_CLUSTER_API = {
    "executionApi": {
        "enabled": True,
        "metadataSecretName": "airflow-metadata",
        "jwtSecretName": "airflow-jwt",
        "fernetKeySecretName": "airflow-fernet",
    }
}
USUAL: dict[str, Any] = {**TLS, **API}

VALUES: dict[str, dict[str, Any]] = {
    "usual": USUAL,
    "least": {**API, "tls": {"enabled": False}, "service": {"type": "ClusterIP"}},
    "public": {**USUAL, "service": {"public": True, "loadBalancerSourceRanges": ["192.0.2.0/24", "2001:db8::/32"]}},
    "everything": {
        "executionApi": {**IN_CLUSTER_API["executionApi"], "tlsSecretName": "api-tls"},
        "labels": {"airflow-eks-dask/cluster": "pipelines"},
        "image": {"repository": "registry.example.com/pipelines", "tag": "2", "pullSecrets": [{"name": "registry"}]},
        "tls": {"schedulerSecretName": "scheduler-tls", "workerSecretName": "worker-tls"},
        "config": {
            "dag_processor": {"dag_bundle_config_list": [{"name": "dags", "classpath": "a.Bundle", "kwargs": {}}]},
            "core": {"parallelism": 64, "test_connection": "Enabled"},
        },
        "service": {
            "annotations": {"service.beta.kubernetes.io/aws-load-balancer-subnets": "subnet-1, subnet-2"},
            "loadBalancerSourceRanges": ["10.0.0.0/8"],
        },
        "scheduler": {
            "env": {"DASK_LOGGING__DISTRIBUTED": "debug"},
            "tolerations": [{"key": "dedicated", "operator": "Exists"}],
            "priorityClassName": "important",
        },
        "workerDefaults": {
            "envFrom": [{"secretRef": {"name": "remote-logging"}}],
            "extraVolumes": [{"name": "dags", "persistentVolumeClaim": {"claimName": "dags", "readOnly": True}}],
            "extraVolumeMounts": [{"name": "dags", "mountPath": "/dags", "readOnly": True}],
        },
        "workers": [
            {"name": "small", "slots": 8, "threads": 1},
            {
                "name": "gpu",
                "replicas": 0,
                "slots": 1,
                "queues": ["gpu", "large"],
                "daskResources": {"GPU": 1},
                "drainTimeout": 7200,
                "env": {"OMP_NUM_THREADS": "4", "TOKEN": {"valueFrom": {"secretKeyRef": {"name": "hub", "key": "t"}}}},
                "resources": {"limits": {"memory": "16Gi", "nvidia.com/gpu": 1}},
                "scratch": {"emptyDir": {"medium": "Memory", "sizeLimit": "4Gi"}},
                "nodeSelector": {"kind": "gpu"},
                "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
                "podAnnotations": {"example.com/team": "vision"},
                "topologySpreadConstraints": [
                    {"maxSkew": 2, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "DoNotSchedule"}
                ],
            },
            {"name": "elastic", "keda": {"enabled": True, "secretName": "keda-database", "maxReplicaCount": 20}},
        ],
        "networkPolicy": {
            "clients": [{"ipBlock": {"cidr": "10.0.0.0/8"}}],
            "monitoring": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
            "workerEgress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0", "except": ["169.254.169.254/32"]}}]}],
        },
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "podMonitor": {"enabled": True},
    },
}


def changed(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with changes, as Helm merges them."""
    merged = dict(values)
    for name, change in changes.items():
        both = isinstance(change, dict) and isinstance(merged.get(name), dict)
        merged[name] = changed(merged[name], change) if both else change
    return merged


class Chart:
    """
    Renders the chart.

    :param helm: The program.
    :param directory: For files of values.
    """

    def __init__(self, helm: Path, directory: Path) -> None:
        self._helm = helm
        self._directory = directory

    def render(self, values: Mapping[str, Any], version: str = NEWEST, release: str = "pipeline") -> Manifests:
        """Return what would be applied to a cluster of a version of Kubernetes."""
        done = self.run("template", release, CHART, "--namespace", "dags", "--kube-version", version, values=values)
        assert done.returncode == 0, done.stderr
        return Manifests([manifest for manifest in yaml.safe_load_all(done.stdout) if manifest])

    def refusal(self, values: Mapping[str, Any], version: str = NEWEST) -> str:
        """Return why values are refused."""
        done = self.run("template", "pipeline", CHART, "--kube-version", version, values=values)
        assert done.returncode != 0, "they are not refused"
        return done.stderr

    def run(self, *command: object, values: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
        """Run Helm with values."""
        file = self._directory / "values.yaml"
        file.write_text(yaml.safe_dump(dict(values)))
        words = [str(self._helm), *map(str, command), "--values", str(file)]
        return subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)


class Manifests(list[dict[str, Any]]):
    """What Helm has rendered."""

    def one(self, kind: str, name: str) -> dict[str, Any]:
        """Return the object of a kind and name."""
        (found,) = [each for each in self if each["kind"] == kind and each["metadata"]["name"] == name]
        return found

    def of_kind(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return all objects of a kind, by name."""
        return {each["metadata"]["name"]: each for each in self if each["kind"] == kind}

    def pods(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Return what all pods are made from, with the name of what makes them."""
        for manifest in self:
            if manifest["kind"] == "Pod":
                yield manifest["metadata"]["name"], manifest
            elif manifest["kind"] == "Deployment":
                yield manifest["metadata"]["name"], manifest["spec"]["template"]

    def container(self, deployment: str) -> dict[str, Any]:
        """Return the first container of a Deployment."""
        return self.one("Deployment", deployment)["spec"]["template"]["spec"]["containers"][0]


def environment(container: Mapping[str, Any]) -> dict[str, Any]:
    """Return the environment of a container: strings, or where the values come from."""
    names = [variable["name"] for variable in container.get("env", [])]
    assert len(names) == len(set(names))
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container.get("env", [])}
