"""What is built in Kubernetes: services for people, the release of scheduler and workers, and a proof that it works."""

from __future__ import annotations

import importlib.resources
from typing import TYPE_CHECKING, Any

from airflow.sdk import TaskGroup, chain

from airflow_eks_dask.bootstrap.aws import is_wanted
from airflow_eks_dask.bootstrap.settings import RELEASE
from airflow_eks_dask.bootstrap.templates import FORM, returned, setting, setting_or
from airflow_eks_dask.bootstrap.values import restarted_with
from airflow_eks_dask.certificates import secret_name
from airflow_eks_dask.operators.cluster_services import EnsureClusterServiceOperator, EnsureEksAdminOperator
from airflow_eks_dask.operators.dask_certificates import EnsureDaskCertificatesOperator
from airflow_eks_dask.operators.dask_endpoint import PublishDaskEndpointOperator, VerifyDaskEndpointOperator
from airflow_eks_dask.operators.helm import EnsureHelmReleaseOperator, TestHelmReleaseOperator
from airflow_eks_dask.sensors.service_address import ServiceAddressSensor
from airflow_eks_dask.services import SERVICES

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

SCHEDULER = f"{RELEASE}-scheduler"
"""The Service of the Dask scheduler."""

CHART_TIMEOUT = 900.0
"""Seconds that Helm waits for pods, whose image is pulled by new nodes."""

ADDRESS = "pipeline.address"


def chart_path() -> str:
    """Return where the chart of scheduler and workers is."""
    return str(importlib.resources.files("airflow_eks_dask") / "charts" / "pipeline")


def in_cluster() -> dict[str, Any]:
    """Return the parameters by which tasks find the cluster."""
    return {"eks_cluster_name": setting("cluster_name")}


def namespace() -> str:
    """Return the template of the namespace of scheduler and workers."""
    return setting("namespace")


def endpoint() -> dict[str, Any]:
    """Return the parameters by which tasks find the Dask scheduler."""
    return {"address": returned(ADDRESS), "tls_secret": client_secret(), **in_cluster()}


def client_secret() -> str:
    """Return the template of where the certificate is that Airflow shows to the Dask scheduler."""
    return f"{namespace()}/{secret_name(RELEASE, 'client')}"


def services_group() -> TaskGroup:
    """Make the tasks for what people look at."""
    with TaskGroup("services", tooltip="Headlamp and Prometheus, if they are to be there") as group:
        dashboard = is_wanted.override(task_id="dashboard_is_wanted")(setting("dashboard"))
        dashboard >> [
            EnsureEksAdminOperator(task_id="eks_admin", **in_cluster()),
            _service("headlamp"),
        ]
        is_wanted.override(task_id="metrics_are_wanted")(setting("metrics")) >> _service("prometheus")
    return group


def _service(name: str) -> EnsureClusterServiceOperator:
    """Make the task that installs one of them."""
    return EnsureClusterServiceOperator(
        task_id=name,
        service=name,
        repository=setting_or("charts_repository", SERVICES[name].repository),
        helm_timeout=CHART_TIMEOUT,
        **in_cluster(),
    )


def pipeline_group() -> dict[str, BaseOperator]:
    """Make the tasks that install scheduler and workers; return them by name."""
    with TaskGroup("pipeline", tooltip="The Dask scheduler and its workers"):
        tasks: dict[str, BaseOperator] = {"certificates": _certificates(), "release": _release(), "address": _address()}
        chain(*tasks.values())
    return tasks


def _certificates() -> EnsureDaskCertificatesOperator:
    """Make the task that makes certificates; it needs no nodes."""
    return EnsureDaskCertificatesOperator(
        task_id="certificates",
        namespace=namespace(),
        name=RELEASE,
        hosts=[SCHEDULER, f"{SCHEDULER}.{namespace()}.svc"],
        **in_cluster(),
    )


def _release() -> EnsureHelmReleaseOperator:
    """Make the task that installs scheduler and workers."""
    return EnsureHelmReleaseOperator(
        task_id="release",
        release=RELEASE,
        namespace=namespace(),
        chart=chart_path(),
        values=[
            returned(FORM, "values"),
            restarted_with(returned("pipeline.certificates", "fingerprint")),
            setting("helm_values"),
        ],
        helm_timeout=CHART_TIMEOUT,
        **in_cluster(),
    )


def _address() -> ServiceAddressSensor:
    """Make the task that waits until the Dask scheduler is reached."""
    return ServiceAddressSensor(
        task_id="address",
        namespace=namespace(),
        service=SCHEDULER,
        tls_secret=client_secret(),
        **in_cluster(),
    )


def verify_group() -> TaskGroup:
    """Make the tasks that find out whether tasks could run there."""
    with TaskGroup("verify", tooltip="Ask the cluster, from within and from here") as group:
        TestHelmReleaseOperator(
            task_id="from_within", release=RELEASE, namespace=namespace(), helm_timeout=CHART_TIMEOUT, **in_cluster()
        ) >> VerifyDaskEndpointOperator(task_id="round_trip", **endpoint())
    return group


def publish() -> PublishDaskEndpointOperator:
    """Make the task that has Airflow's tasks run there."""
    return PublishDaskEndpointOperator(
        task_id="publish",
        cluster_name=returned(FORM, "known_as"),
        connection_id=setting("connection_id"),
        airflow_api_conn_id=setting("airflow_api_conn_id"),
        **endpoint(),
    )
