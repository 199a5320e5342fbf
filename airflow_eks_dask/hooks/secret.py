"""Secrets in Kubernetes: what they are called, and what is in them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import kubernetes.client  # type: ignore[import-untyped]

from airflow_eks_dask.hooks.eks import KubernetesError, kubernetes_errors

if TYPE_CHECKING:
    from collections.abc import Sequence


def read_secret(client: kubernetes.client.ApiClient, reference: str, keys: Sequence[str]) -> dict[str, str]:
    """
    Return what a Secret holds, as text.

    :param client: Of the cluster.
    :param reference: ``namespace/name``.
    :param keys: What is needed of it.
    :raises KubernetesError: It is not there or lacks a key, or Kubernetes refused or was not reached.
    """
    namespace, _, name = reference.partition("/")
    with kubernetes_errors(f"reading Secret {reference}"):
        secret = kubernetes.client.CoreV1Api(client).read_namespaced_secret(name, namespace)
    data = secret.data or {}
    if missing := [key for key in keys if not data.get(key)]:
        raise KubernetesError(f"Secret {reference} has no {', '.join(missing)}")
    return {key: base64.b64decode(data[key]).decode() for key in keys}
