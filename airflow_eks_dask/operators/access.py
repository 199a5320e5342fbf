"""Operators for access: of people, programs and nodes to Kubernetes, and of pods to AWS."""

from __future__ import annotations

from airflow_eks_dask.operators.resource import DeleteOperator, EnsureOperator
from airflow_eks_dask.resources.access_entry import AccessEntry
from airflow_eks_dask.resources.oidc_provider import OidcProvider
from airflow_eks_dask.resources.pod_identity import PodIdentityAssociation


class EnsureAccessEntryOperator(EnsureOperator):
    """
    Let an IAM role or user into a cluster, with exactly the wanted groups and policies.

    Returns ``principal_arn``, ``access_entry_arn`` and ``username``.

    .. code-block:: python

        EnsureAccessEntryOperator(
            task_id="admins",
            cluster_name="pipelines",
            principal_arn="arn:aws:iam::111122223333:role/admins",
            policies={"AmazonEKSClusterAdminPolicy": [], "AmazonEKSEditPolicy": ["dask", "team-*"]},
        )
    """

    resource_class = AccessEntry


class DeleteAccessEntryOperator(DeleteOperator):
    """
    Delete an access entry that was made for the cluster; any other is refused.

    .. code-block:: python

        DeleteAccessEntryOperator(
            task_id="no_admins",
            cluster_name="pipelines",
            principal_arn="arn:aws:iam::111122223333:role/admins",
        )
    """

    resource_class = AccessEntry


class EnsurePodIdentityOperator(EnsureOperator):
    """
    Give the pods of a service account an IAM role. Returns ``association_id``, ``association_arn`` and ``role_arn``.

    .. code-block:: python

        EnsurePodIdentityOperator(
            task_id="workers_may_write_logs",
            cluster_name="pipelines",
            namespace="dask",
            service_account="worker",
            role_arn="arn:aws:iam::111122223333:role/pipelines-worker",
        )
    """

    resource_class = PodIdentityAssociation


class DeletePodIdentityOperator(DeleteOperator):
    """
    Delete a pod identity association that was made for the cluster; any other is refused.

    .. code-block:: python

        DeletePodIdentityOperator(
            task_id="workers_write_no_logs",
            cluster_name="pipelines",
            namespace="dask",
            service_account="worker",
        )
    """

    resource_class = PodIdentityAssociation


class EnsureOidcProviderOperator(EnsureOperator):
    """
    Have IAM trust the service accounts of a cluster. Returns ``oidc_provider_arn`` and ``oidc_issuer``.

    .. code-block:: python

        EnsureOidcProviderOperator(task_id="oidc_provider", cluster_name="pipelines")
    """

    resource_class = OidcProvider


class DeleteOidcProviderOperator(DeleteOperator):
    """
    Delete the OIDC providers that were made for the cluster, also after the cluster itself; any other is refused.

    .. code-block:: python

        DeleteOidcProviderOperator(task_id="no_oidc_provider", cluster_name="pipelines")
    """

    resource_class = OidcProvider
