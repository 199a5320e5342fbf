"""Operators for nodes that EKS doesn't manage."""

from __future__ import annotations

from airflow_eks_dask.operators.resource import DeleteOperator, EnsureOperator
from airflow_eks_dask.resources.self_managed_nodegroup import SelfManagedNodegroup


class EnsureSelfManagedNodegroupOperator(EnsureOperator):
    """
    Have self-managed nodes for a cluster that is there already.

    Returns ``stack_name``, ``auto_scaling_group_name`` and ``node_security_group_id``.

    .. code-block:: python

        EnsureSelfManagedNodegroupOperator(
            task_id="nodes",
            cluster_name="pipelines",
            nodegroup_name="workers",
            subnet_ids=["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
            node_role_name="pipelines-node",
            instance_types=["m7i.large", "m6i.large"],
            capacity_type="SPOT",
            max_size=10,
            labels={"dask": "worker"},
        )
    """

    resource_class = SelfManagedNodegroup


class DeleteSelfManagedNodegroupOperator(DeleteOperator):
    """
    Delete self-managed nodes that were made for a cluster, and all that runs on them; any other are refused.

    .. code-block:: python

        DeleteSelfManagedNodegroupOperator(task_id="delete_nodes", cluster_name="pipelines", nodegroup_name="workers")
    """

    resource_class = SelfManagedNodegroup
