"""What a form means for the Helm chart of scheduler and workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.configuration import conf

from airflow_eks_dask.bootstrap.parts import WORKER_ACCOUNT
from airflow_eks_dask.bootstrap.settings import RELEASE
from airflow_eks_dask.certificates import secret_name

if TYPE_CHECKING:
    from airflow_eks_dask.bootstrap.settings import Settings

CERTIFICATES_ANNOTATION = "airflow-eks-dask/certificates"
"""Pods have the fingerprint of their certificates in it, and so are restarted when these are new."""


def chart_values(settings: Settings) -> dict[str, Any]:
    """Return values of the chart ``pipeline``, but for what is only known once certificates are made."""
    memory = settings.worker_memory
    return {
        "image": {"repository": settings.image_repository, "tag": settings.image_tag},
        "tls": {
            "schedulerSecretName": secret_name(RELEASE, "scheduler"),
            "workerSecretName": secret_name(RELEASE, "worker"),
        },
        "service": {
            "type": "LoadBalancer",
            "public": bool(settings.dask_source_ranges),
            "loadBalancerSourceRanges": settings.dask_source_ranges,
        },
        "executionApi": {"url": settings.execution_api_url, "caCertificate": settings.execution_api_ca},
        "serviceAccounts": {"worker": {"name": WORKER_ACCOUNT}},
        # DAG files are found by the names of their bundles, the same ones on both sides.
        "config": {"dag_processor": {"dag_bundle_config_list": _bundles()}},
        "workerDefaults": {
            "replicas": settings.workers,
            "slots": settings.slots,
            "threads": settings.threads,
            "drainTimeout": conf.getint("dask", "drain_timeout"),
            "resources": {"requests": {"cpu": "500m", "memory": memory}, "limits": {"memory": memory}},
        },
    }


def restarted_with(fingerprint: str) -> dict[str, Any]:
    """
    Return values by which pods are restarted when their certificates change.

    :param fingerprint: Of the certificates, or a template of it.
    """
    annotations = {"podAnnotations": {CERTIFICATES_ANNOTATION: fingerprint}}
    return {"scheduler": annotations, "workerDefaults": annotations}


def _bundles() -> list[dict[str, Any]]:
    bundles = conf.getjson("dag_processor", "dag_bundle_config_list")
    return list(bundles) if isinstance(bundles, list) else []
