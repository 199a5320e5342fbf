"""Operators for the network of a cluster."""

from __future__ import annotations

from airflow_eks_dask.operators.resource import DeleteOperator, EnsureOperator
from airflow_eks_dask.resources.network import Network


class EnsureNetworkOperator(EnsureOperator):
    """
    Have a VPC with private and public subnets, or check one that is there.

    Returns ``vpc_id``, ``cidr``, ``public_subnet_ids``, ``private_subnet_ids`` and ``availability_zones``.

    .. code-block:: python

        EnsureNetworkOperator(task_id="network", cluster_name="pipelines", cidr="10.0.0.0/16", zones=3)

        EnsureNetworkOperator(
            task_id="given_network",
            cluster_name="pipelines",
            existing=True,
            vpc_id="vpc-0123456789abcdef0",
            private_subnet_ids=["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
        )
    """

    resource_class = Network


class DeleteNetworkOperator(DeleteOperator):
    """
    Delete the network that was made for a cluster; any other is refused, and an existing one left.

    What is still in it keeps AWS from deleting it, and AWS says what that is: load balancers have to be deleted before.

    .. code-block:: python

        DeleteNetworkOperator(task_id="delete_network", cluster_name="pipelines")
    """

    resource_class = Network
