"""Operators for EKS clusters, their managed node groups and their add-ons."""

from __future__ import annotations

from airflow_eks_dask.operators.resource import DeleteOperator, EnsureOperator
from airflow_eks_dask.resources.addon import EksAddon, UnwantedEksAddon
from airflow_eks_dask.resources.cluster import EksCluster
from airflow_eks_dask.resources.nodegroup import EksNodegroup


class EnsureClusterOperator(EnsureOperator):
    """
    Have an EKS cluster with the wanted configuration.

    Returns ``cluster_name``, ``arn``, ``version``, ``endpoint``, ``certificate_authority`` (PEM in base64),
    ``oidc_issuer``, ``vpc_id`` and ``cluster_security_group_id``.

    .. code-block:: python

        EnsureClusterOperator(
            task_id="cluster",
            cluster_name="pipelines",
            version="default",
            role_arn="{{ ti.xcom_pull('cluster_role')['role_arn'] }}",
            subnet_ids=["subnet-0a1b2c3d4e5f60718", "subnet-0b1c2d3e4f5061728"],
            public_access_cidrs=["203.0.113.0/24"],
            log_types=["audit", "authenticator"],
        )
    """

    resource_class = EksCluster


class DeleteClusterOperator(DeleteOperator):
    """
    Delete an EKS cluster that was made by us; any other is refused, and so is one with node groups.

    .. code-block:: python

        DeleteClusterOperator(task_id="delete_cluster", cluster_name="pipelines", lift_deletion_protection=True)
    """

    resource_class = EksCluster


class EnsureNodegroupOperator(EnsureOperator):
    """
    Have a managed node group with the wanted configuration.

    Returns ``cluster_name``, ``nodegroup_name``, ``arn``, ``node_role_arn``, ``version``, ``release_version`` and
    ``auto_scaling_group``.

    .. code-block:: python

        EnsureNodegroupOperator(
            task_id="workers",
            cluster_name="pipelines",
            nodegroup_name="workers",
            node_role_arn="{{ ti.xcom_pull('node_role')['role_arn'] }}",
            subnet_ids=["subnet-0a1b2c3d4e5f60718", "subnet-0b1c2d3e4f5061728"],
            instance_types=["m7i.large", "m6i.large", "m5.large"],
            capacity_type="SPOT",
            min_size=0,
            max_size=10,
            labels={"airflow-eks-dask/role": "worker"},
        )
    """

    resource_class = EksNodegroup


class DeleteNodegroupOperator(DeleteOperator):
    """
    Delete a managed node group that was made for the cluster, with its nodes; any other is refused.

    .. code-block:: python

        DeleteNodegroupOperator(task_id="delete_workers", cluster_name="pipelines", nodegroup_name="workers")
    """

    resource_class = EksNodegroup


class EnsureAddonOperator(EnsureOperator):
    """
    Have an add-on with the wanted configuration. Returns ``cluster_name``, ``addon_name``, ``arn``, ``addon_version``.

    .. code-block:: python

        EnsureAddonOperator(
            task_id="ebs_csi",
            cluster_name="pipelines",
            addon_name="aws-ebs-csi-driver",
            configuration={"defaultStorageClass": {"enabled": True}},
            pod_identity_roles={"ebs-csi-controller-sa": "{{ ti.xcom_pull('ebs_csi_role')['role_arn'] }}"},
        )
    """

    resource_class = EksAddon


class DeleteAddonOperator(DeleteOperator):
    """
    Delete an add-on that was made for the cluster, with all of it that runs there; any other is refused.

    .. code-block:: python

        DeleteAddonOperator(task_id="delete_ebs_csi", cluster_name="pipelines", addon_name="aws-ebs-csi-driver")
    """

    resource_class = UnwantedEksAddon
