"""What is wrong in the Kubernetes cluster: nodes, the release, its pods and its certificates."""

from __future__ import annotations

import base64
import logging
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import kubernetes.client  # type: ignore[import-untyped]
from cryptography import x509

from airflow_eks_dask.bootstrap.kubernetes import chart_path
from airflow_eks_dask.bootstrap.settings import RELEASE
from airflow_eks_dask.certificates import USAGES, days_left, secret_name
from airflow_eks_dask.helm.chart import Chart
from airflow_eks_dask.helm.errors import HelmError
from airflow_eks_dask.helm.unready import unready_pods
from airflow_eks_dask.hooks.eks import kubernetes_errors
from airflow_eks_dask.hooks.helm import Helm
from airflow_eks_dask.preflight.finding import Finding, error, warning
from airflow_eks_dask.resources.cluster_versions import as_numbers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eks_dask.bootstrap.settings import Settings
    from airflow_eks_dask.hooks.kubernetes import KubernetesCluster

log = logging.getLogger(__name__)

RENEW_BEFORE = 30
"""Days before the end of a certificate at which it should have been renewed."""

AGAIN = "Trigger eks_dask_bootstrap with the same form"


def examine_cluster(settings: Settings, cluster: KubernetesCluster) -> Iterator[Finding]:
    """
    Look at all of it.

    :raises KubernetesError: Kubernetes refused, or was not reached.
    """
    with kubernetes_errors("looking at the cluster"), cluster.client() as client:
        version = kubernetes.client.VersionApi(client).get_code()
        nodes = kubernetes.client.CoreV1Api(client).list_node().items
        yield from _nodes(nodes, f"{version.major}.{version.minor}")
        yield from _certificates(settings, kubernetes.client.CoreV1Api(client))
    yield from _release(settings, cluster)
    for reason in unready_pods(cluster, settings.namespace, RELEASE):
        yield warning(
            "A pod of the Dask cluster is not ready", reason, "Wait if it has just begun; otherwise mend what it says"
        )


def _nodes(nodes: list[Any], version: str) -> Iterator[Finding]:
    if not nodes:
        yield error("The cluster has no nodes", "Kubernetes knows of none", f"{AGAIN}, and look at the node group")
    for node in nodes:
        ready = [each for each in node.status.conditions or () if each.type == "Ready"]
        if not ready or ready[0].status != "True":
            why = ready[0].message if ready else "it has never told how it is"
            yield warning(
                f"Node {node.metadata.name} is not ready", why, "Wait, or end its instance: another one comes"
            )
        kubelet = node.status.node_info.kubelet_version
        if as_numbers(kubelet)[:2] < as_numbers(version)[:2]:
            yield warning(
                f"Node {node.metadata.name} is older than the cluster",
                f"its kubelet is {kubelet}, Kubernetes {version}",
                f"{AGAIN}: it upgrades node groups",
            )


def _certificates(settings: Settings, core: Any) -> Iterator[Finding]:
    for role in USAGES:
        name = secret_name(RELEASE, role)
        try:
            secret = core.read_namespaced_secret(name, settings.namespace)
            found = x509.load_pem_x509_certificate(base64.b64decode((secret.data or {})["tls.crt"]))
        except kubernetes.client.ApiException as failure:
            if failure.status != 404:
                raise
            yield error(f"The {role} has no certificate", f"Secret {settings.namespace}/{name} is not there", AGAIN)
            continue
        except (KeyError, ValueError) as failure:
            yield error(f"The certificate of the {role} is none", f"{settings.namespace}/{name}: {failure}", AGAIN)
            continue
        left = days_left(found, datetime.now(timezone.utc))
        if left < RENEW_BEFORE:
            say = error if left < 0 else warning
            yield say(
                f"The certificate of the {role} ends soon" if left >= 0 else f"The certificate of the {role} has ended",
                f"it is valid until {found.not_valid_after_utc:%Y-%m-%d}",
                f"{AGAIN}: it renews certificates and restarts pods",
            )


def _release(settings: Settings, cluster: KubernetesCluster) -> Iterator[Finding]:
    try:
        with Helm(cluster, settings.namespace, log=log) as helm:
            history = helm.history(RELEASE)
            ours = helm.chart_label(Chart(chart_path()))
    except HelmError as failure:
        yield warning("The Helm release could not be looked at", str(failure), "airflow eks-dask install-helm")
        return
    if not history:
        yield error("There is no Dask cluster", f"no Helm release {RELEASE} in namespace {settings.namespace}", AGAIN)
        return
    last = history[-1]
    if last.status != "deployed":
        yield error(f"The Helm release {RELEASE} is {last.status}", last.description, AGAIN)
    elif last.chart != ours:
        yield warning(
            f"The Helm release {RELEASE} is of another version", f"{last.chart}, and this package has {ours}", AGAIN
        )
