"""The operator for the load balancers of a cluster's Services."""

from __future__ import annotations

from airflow_eks_dask.operators.resource import DeleteOperator
from airflow_eks_dask.resources.load_balancers import ServiceLoadBalancers


class DeleteLoadBalancersOperator(DeleteOperator):
    """
    Delete the load balancers that a cluster made for its Services, and wait until their network interfaces are gone.

    Their target groups and security groups, and network interfaces that nodes left behind, go too. AWS deletes neither
    a network nor, at times, a cluster while these exist. Best run twice: when the Services are deleted, before the
    cluster is, and once more between cluster and network, for what the cluster's end left behind.

    .. code-block:: python

        load_balancers = DeleteLoadBalancersOperator(task_id="delete_load_balancers", cluster_name="pipelines")
        cluster = DeleteClusterOperator(task_id="delete_cluster", cluster_name="pipelines")
        remains = DeleteLoadBalancersOperator(task_id="delete_remains", cluster_name="pipelines")
        network = DeleteNetworkOperator(task_id="delete_network", cluster_name="pipelines")
        load_balancers >> cluster >> remains >> network
    """

    resource_class = ServiceLoadBalancers
