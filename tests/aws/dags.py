"""Everything that a cluster needs in AWS, built by one DAG and removed by another."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, chain

from airflow_eks_dask.operators.access import (
    DeleteAccessEntryOperator,
    DeleteOidcProviderOperator,
    DeletePodIdentityOperator,
    EnsureAccessEntryOperator,
    EnsureOidcProviderOperator,
    EnsurePodIdentityOperator,
)
from airflow_eks_dask.operators.bucket import DeleteBucketOperator, EnsureBucketOperator
from airflow_eks_dask.operators.database import (
    DeleteDatabaseOperator,
    DeleteDatabaseSubnetGroupOperator,
    DeleteSecurityGroupOperator,
    EnsureDatabaseOperator,
    EnsureDatabaseSubnetGroupOperator,
    EnsureSecurityGroupOperator,
)
from airflow_eks_dask.operators.eks import (
    DeleteAddonOperator,
    DeleteClusterOperator,
    DeleteNodegroupOperator,
    EnsureAddonOperator,
    EnsureClusterOperator,
    EnsureNodegroupOperator,
)
from airflow_eks_dask.operators.iam import DeleteIamRoleOperator, EnsureIamRoleOperator
from airflow_eks_dask.operators.leftovers import LeftoversOperator
from airflow_eks_dask.operators.load_balancers import DeleteLoadBalancersOperator
from airflow_eks_dask.operators.network import DeleteNetworkOperator, EnsureNetworkOperator

CLUSTER = "pipelines"
BUCKET = "pipelines-logs-123456789012"
CIDR = "10.20.0.0/16"
ADMIN = "arn:aws:iam::123456789012:role/admins"
POLICIES = {
    "cluster": ["AmazonEKSClusterPolicy"],
    "node": ["AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly", "AmazonEKS_CNI_Policy"],
    "ebs_csi": ["service-role/AmazonEBSCSIDriverPolicy"],
    "worker": [],
}
"""By role."""
TRUSTED = {"cluster": "eks.amazonaws.com", "node": "ec2.amazonaws.com"}
"""By role; the others are for pods."""
WORKER_MAY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": f"arn:aws:s3:::{BUCKET}/*"}
    ],
}
FOR_NODES = ("vpc-cni", "kube-proxy", "eks-pod-identity-agent")
"""Add-ons that nodes need; the others need nodes."""
ON_NODES = ("coredns", "metrics-server", "aws-ebs-csi-driver")


def result(task_id: str, name: str) -> str:
    """Return the template of what a task has returned."""
    return f"{{{{ ti.xcom_pull(task_ids='{task_id}')['{name}'] }}}}"


def new_dag(dag_id: str, **defaults: Any) -> DAG:
    """Return a DAG whose tasks share these parameters beside the cluster's name."""
    return DAG(
        dag_id,
        schedule=None,
        render_template_as_native_obj=True,
        default_args={"cluster_name": CLUSTER, **defaults},
    )


def bootstrap(**defaults: Any) -> DAG:
    """
    Return the DAG that builds everything.

    :param defaults: Parameters of all tasks.
    """
    with new_dag("aws_bootstrap", **defaults) as dag:
        roles = {
            role: EnsureIamRoleOperator(
                task_id=f"{role}_role",
                role_name=f"{CLUSTER}-{role}",
                trusted_service=TRUSTED.get(role, "pods.eks.amazonaws.com"),
                policies=policies,
                inline_policies={"logs": WORKER_MAY} if role == "worker" else {},
            )
            for role, policies in POLICIES.items()
        }
        EnsureBucketOperator(task_id="bucket", bucket_name=BUCKET)
        network = EnsureNetworkOperator(task_id="network", cidr=CIDR)
        subnets = result("network", "private_subnet_ids")
        cluster = EnsureClusterOperator(
            task_id="cluster",
            role_arn=result("cluster_role", "role_arn"),
            subnet_ids=subnets,
            public_access_cidrs=["203.0.113.0/24"],
            log_types=["audit", "authenticator"],
        )
        nodes = EnsureNodegroupOperator(
            task_id="nodes",
            nodegroup_name="nodes",
            node_role_arn=result("node_role", "role_arn"),
            subnet_ids=subnets,
            instance_types=["m7i.large", "m6i.large"],
            labels={"airflow-eks-dask/role": "worker"},
        )
        for_nodes, on_nodes = (
            [EnsureAddonOperator(task_id=f"addon_{name}", addon_name=name, **_addon(name)) for name in names]
            for names in (FOR_NODES, ON_NODES)
        )
        access = EnsureAccessEntryOperator(
            task_id="access", principal_arn=ADMIN, policies={"AmazonEKSClusterAdminPolicy": []}
        )
        oidc = EnsureOidcProviderOperator(task_id="oidc")
        pod_identity = EnsurePodIdentityOperator(
            task_id="pod_identity",
            namespace="dask",
            service_account="worker",
            role_arn=result("worker_role", "role_arn"),
        )
        [network, roles["cluster"]] >> cluster >> [*for_nodes, access, oidc, pod_identity]
        for_nodes >> nodes >> on_nodes
        roles["node"] >> nodes
        roles["worker"] >> pod_identity
        roles["ebs_csi"] >> on_nodes[-1]
        _database() << network
    return dag


def _addon(name: str) -> dict[str, Any]:
    if name != "aws-ebs-csi-driver":
        return {}
    return {"pod_identity_roles": {"ebs-csi-controller-sa": result("ebs_csi_role", "role_arn")}}


def _database() -> list[Any]:
    subnet_group = EnsureDatabaseSubnetGroupOperator(
        task_id="database_subnets", group_name=CLUSTER, subnet_ids=result("network", "private_subnet_ids")
    )
    group = EnsureSecurityGroupOperator(
        task_id="database_access",
        group_name=f"{CLUSTER}-database",
        vpc_id=result("network", "vpc_id"),
        ingress=[{"source": result("network", "cidr"), "port": 5432}],
    )
    database = EnsureDatabaseOperator(
        task_id="database",
        database_identifier=CLUSTER,
        subnet_group_name=result("database_subnets", "subnet_group_name"),
        security_group_ids=[result("database_access", "security_group_id")],
    )
    [subnet_group, group] >> database
    return [subnet_group, group]


def teardown(**defaults: Any) -> DAG:
    """
    Return the DAG that removes everything; the parameters are those of :func:`bootstrap`.
    """
    with new_dag("aws_teardown", **defaults) as dag:
        balancers = DeleteLoadBalancersOperator(task_id="load_balancers")
        interfaces = DeleteLoadBalancersOperator(task_id="network_interfaces")
        on_nodes, for_nodes = (
            [DeleteAddonOperator(task_id=f"addon_{name}", addon_name=name) for name in names]
            for names in (ON_NODES, FOR_NODES)
        )
        in_cluster = [
            DeletePodIdentityOperator(task_id="pod_identity", namespace="dask", service_account="worker"),
            DeleteAccessEntryOperator(task_id="access", principal_arn=ADMIN),
            DeleteOidcProviderOperator(task_id="oidc"),
        ]
        nodes = DeleteNodegroupOperator(task_id="nodes", nodegroup_name="nodes")
        cluster = DeleteClusterOperator(task_id="cluster")
        database = DeleteDatabaseOperator(
            task_id="database", database_identifier=CLUSTER, keep=False, final_snapshot=False
        )
        of_database = [
            DeleteDatabaseSubnetGroupOperator(task_id="database_subnets", group_name=CLUSTER),
            DeleteSecurityGroupOperator(task_id="database_access", group_name=f"{CLUSTER}-database"),
        ]
        network = DeleteNetworkOperator(task_id="network")
        roles = [DeleteIamRoleOperator(task_id=f"{role}_role", role_name=f"{CLUSTER}-{role}") for role in POLICIES]
        bucket = DeleteBucketOperator(task_id="bucket", bucket_name=BUCKET, keep=False)
        leftovers = LeftoversOperator(task_id="leftovers", keep=[])
        balancers >> on_nodes >> nodes >> for_nodes[0]
        chain(balancers, in_cluster, nodes)
        chain(*for_nodes, cluster, interfaces, network)
        chain(cluster, roles)
        chain(database, of_database, network)
        [network, *roles, bucket] >> leftovers
    return dag
