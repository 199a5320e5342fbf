"""Operators for IAM roles."""

from __future__ import annotations

from airflow_eks_dask.operators.resource import DeleteOperator, EnsureOperator
from airflow_eks_dask.resources.iam_role import IamRole


class EnsureIamRoleOperator(EnsureOperator):
    """
    Have an IAM role with exactly the wanted trust and policies. Returns ``role_name`` and ``role_arn``.

    .. code-block:: python

        EnsureIamRoleOperator(
            task_id="cluster_role",
            cluster_name="pipelines",
            role_name="pipelines-cluster",
            trusted_service="eks.amazonaws.com",
            policies=["AmazonEKSClusterPolicy"],
        )
    """

    resource_class = IamRole


class DeleteIamRoleOperator(DeleteOperator):
    """
    Delete an IAM role that was made for the cluster, with its policies; any other is refused.

    .. code-block:: python

        DeleteIamRoleOperator(task_id="delete_cluster_role", cluster_name="pipelines", role_name="pipelines-cluster")
    """

    resource_class = IamRole
