"""
Operators for the ConfigMap ``aws-auth``.

In a module of their own: importing the clients of Kubernetes takes seconds, which other DAGs need not spend.
"""

from __future__ import annotations

from airflow_eks_dask.operators.resource import DeleteOperator, EnsureOperator
from airflow_eks_dask.resources.aws_auth import AwsAuth


class EnsureAwsAuthOperator(EnsureOperator):
    """
    Have nodes, roles and users in the ConfigMap ``aws-auth``, beside whatever else is in it. Returns ``entries``.

    For clusters that still use it; others have access entries.

    .. code-block:: python

        EnsureAwsAuthOperator(
            task_id="nodes_may_join",
            cluster_name="pipelines",
            node_roles=["arn:aws:iam::111122223333:role/pipelines-nodes"],
            users=[
                {"userarn": "arn:aws:iam::111122223333:user/ada", "username": "ada", "groups": ["viewers"]},
            ],
        )
    """

    resource_class = AwsAuth


class DeleteAwsAuthOperator(DeleteOperator):
    """
    Take from the ConfigMap ``aws-auth`` what was added for the cluster: what is named, or all; nothing else.

    .. code-block:: python

        DeleteAwsAuthOperator(task_id="nodes_may_not_join", cluster_name="pipelines")
    """

    resource_class = AwsAuth
