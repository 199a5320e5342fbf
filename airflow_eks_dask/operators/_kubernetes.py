"""What all operators have in common that work in a Kubernetes cluster."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_eks_dask.hooks.kubernetes import KubernetesCluster
from airflow_eks_dask.links.aws import AwsConsoleLink
from airflow_eks_dask.operators._text import TextOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

FIELDS = tuple(each.name for each in fields(KubernetesCluster))
_SECRET = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-.a-z0-9]*[a-z0-9])?")


class KubernetesOperator(TextOperator):
    """
    Knows a Kubernetes cluster: on EKS, of an Airflow connection, or of a kubeconfig.

    :param eks_cluster_name: Name of an EKS cluster; tokens are made from the AWS connection.
    :param aws_conn_id: Airflow connection of type AWS; None for what boto3 finds by itself.
    :param region_name: AWS region; None for the connection's own.
    :param kubernetes_conn_id: Airflow connection of type Kubernetes.
    :param kubeconfig: Path of a kubeconfig, where the task runs.
    :param cluster_context: Context in the kubeconfig, or in that of the connection; None for its current one.
    """

    template_fields: Sequence[str] = FIELDS
    operator_extra_links = (AwsConsoleLink(),)

    def __init__(
        self,
        *,
        eks_cluster_name: str | None = None,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        kubernetes_conn_id: str | None = None,
        kubeconfig: str | None = None,
        cluster_context: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.eks_cluster_name = eks_cluster_name
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.kubernetes_conn_id = kubernetes_conn_id
        self.kubeconfig = kubeconfig
        self.cluster_context = cluster_context

    def pre_execute(self, context: Context) -> None:
        """Leave a link to the cluster, if it is on EKS."""
        if self.eks_cluster_name:
            # Imports boto3, which DAG files do without.
            from botocore.exceptions import BotoCoreError, ClientError

            from airflow_eks_dask.hooks.aws import AwsClients

            path = f"eks/clusters/{self.eks_cluster_name}"
            aws = AwsClients(self.aws_conn_id, self.region_name)
            # What is wrong with connection or region, the task itself tells.
            with suppress(ValueError, AirflowNotFoundException, BotoCoreError, ClientError):
                AwsConsoleLink.leave(context, self, aws, lambda region: f"{path}?region={region}")

    @cached_property
    def cluster(self) -> KubernetesCluster:
        """The cluster, once the templates are rendered."""
        return KubernetesCluster(**{name: getattr(self, name) for name in FIELDS})


def secret_problems(parameter: str, value: str) -> list[str]:
    """
    Return what is wrong with how a Secret is named.

    :param parameter: What the value is called.
    :param value: To be ``namespace/name``.
    """
    return [] if _SECRET.fullmatch(value) else [f"{parameter} = {value!r}: must look like namespace/name"]
