"""
What a cluster consists of in AWS: each part with what is wanted of it, in an order in which it can be made.

The tasks that build and remove a cluster, its plan and its examination all go by this one list.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_eks_dask.operators import access, bucket, database, eks, iam, network
from airflow_eks_dask.resources.wanted_state import needed_fields

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_eks_dask.bootstrap.settings import Settings
    from airflow_eks_dask.operators.resource import DeleteOperator, EnsureOperator

FOR_NODES = ("vpc-cni", "kube-proxy", "eks-pod-identity-agent")
"""Add-ons that nodes need to join; the others need nodes."""

ON_NODES = ("coredns", "metrics-server", "aws-ebs-csi-driver")

WORKER_ACCOUNT = "pipeline-worker"
"""The service account of workers, as the chart calls it."""

_SERVICES = {"cluster": "eks.amazonaws.com", "node": "ec2.amazonaws.com"}
"""Who takes a role, by role; the others are for pods."""

_POLICIES = {
    "cluster": ["AmazonEKSClusterPolicy"],
    "node": ["AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly", "AmazonEKS_CNI_Policy"],
    "ebs_csi": ["service-role/AmazonEBSCSIDriverPolicy"],
    "worker": [],
}
"""By role."""


class Output(NamedTuple):
    """
    Stands for what another part returns.

    :param part: Its name.
    :param key: The key of what is meant.
    """

    part: str
    key: str


def with_outputs(value: Any, tell: Callable[[Output], Any]) -> Any:
    """
    Return a value, however nested, with something in place of each output in it.

    :param tell: Returns what an output stands for.
    """
    if isinstance(value, Output):
        return tell(value)
    if isinstance(value, dict):
        return {key: with_outputs(each, tell) for key, each in value.items()}
    if isinstance(value, list):
        return [with_outputs(each, tell) for each in value]
    return value


@dataclass(frozen=True, kw_only=True)
class Part:
    """
    A part of a cluster, and the operators that make and remove it.

    :param name: Of the task that makes it, with that of its group.
    :param wanted: The fields of its resource; :class:`Output` stands for what others return.
    :param is_wanted: Whether it is to be there.
    """

    name: str
    ensure: type[EnsureOperator]
    delete: type[DeleteOperator]
    wanted: dict[str, Any]
    is_wanted: bool = True

    @property
    def identity(self) -> dict[str, Any]:
        """The fields by which it is found, for deleting it."""
        names = needed_fields(self.ensure.resource_class) | {"cluster_name", "group_name", "existing", "vpc_id"}
        return {name: value for name, value in self.wanted.items() if name in names and not isinstance(value, Output)}


def all_parts(settings: Settings) -> list[Part]:
    """Return all parts of a cluster, each after those it needs."""
    return [*static_parts(settings), *(admin_part(settings, arn) for arn in settings.admins)]


def static_parts(settings: Settings) -> list[Part]:
    """Return the parts that each cluster has, or could have: their names depend on no setting."""
    common = {"cluster_name": settings.cluster_name, "tags": settings.tags}
    parts = [
        *_roles(settings),
        _network(settings),
        *_database(settings),
        _bucket(settings),
        _cluster(settings),
        *(_addon(name) for name in FOR_NODES),
        _nodes(settings),
        *(_addon(name) for name in ON_NODES),
        *_access(settings),
    ]
    return [Part(**{**vars(part), "wanted": common | part.wanted}) for part in parts]


def admin_part(settings: Settings, principal_arn: str) -> Part:
    """Return the part that makes somebody an administrator."""
    return Part(
        name=f"access.admins {principal_arn}",
        ensure=access.EnsureAccessEntryOperator,
        delete=access.DeleteAccessEntryOperator,
        wanted={
            "cluster_name": settings.cluster_name,
            "tags": settings.tags,
            "principal_arn": principal_arn,
            "policies": ADMIN_POLICIES,
        },
    )


ADMIN_POLICIES: dict[str, list[str]] = {"AmazonEKSClusterAdminPolicy": []}


def role_part(role: str) -> str:
    """Return the name of the part that is a role."""
    return f"roles.{role}"


def addon_part(name: str) -> str:
    """Return the name of the part that is an add-on."""
    return f"{'nodes' if name in FOR_NODES else 'addons'}.{name}"


def _roles(settings: Settings) -> list[Part]:
    return [
        Part(
            name=role_part(role),
            ensure=iam.EnsureIamRoleOperator,
            delete=iam.DeleteIamRoleOperator,
            wanted={
                "role_name": settings.role_name(role),
                "trusted_service": _SERVICES.get(role, "pods.eks.amazonaws.com"),
                "policies": policies,
                "inline_policies": {"data": settings.worker_policy} if role == "worker" and settings.bucket else {},
            },
        )
        for role, policies in _POLICIES.items()
    ]


def _network(settings: Settings) -> Part:
    given = bool(settings.vpc_id)
    return Part(
        name="network.network",
        ensure=network.EnsureNetworkOperator,
        delete=network.DeleteNetworkOperator,
        wanted={
            "existing": given,
            "vpc_id": settings.vpc_id,
            "private_subnet_ids": settings.private_subnet_ids if given else [],
            "cidr": settings.cidr,
            "zones": settings.zones,
            "nat_gateways": settings.nat_gateways,
        },
    )


def _database(settings: Settings) -> list[Part]:
    is_new = settings.database == "new"
    return [
        Part(
            name="database.subnets",
            ensure=database.EnsureDatabaseSubnetGroupOperator,
            delete=database.DeleteDatabaseSubnetGroupOperator,
            wanted={
                "group_name": settings.cluster_name,
                "subnet_ids": Output("network.network", "private_subnet_ids"),
            },
            is_wanted=is_new,
        ),
        Part(
            name="database.security_group",
            ensure=database.EnsureSecurityGroupOperator,
            delete=database.DeleteSecurityGroupOperator,
            wanted={
                "group_name": f"{settings.cluster_name}-database",
                "vpc_id": Output("network.network", "vpc_id"),
                "ingress": [{"source": Output("network.network", "cidr"), "port": 5432}],
            },
            is_wanted=is_new,
        ),
        Part(
            name="database.instance",
            ensure=database.EnsureDatabaseOperator,
            delete=database.DeleteDatabaseOperator,
            wanted={
                "database_identifier": settings.cluster_name,
                "subnet_group_name": Output("database.subnets", "subnet_group_name"),
                "security_group_ids": [Output("database.security_group", "security_group_id")],
                "instance_class": settings.database_class,
                "allocated_storage": settings.database_storage,
                "multi_az": settings.multi_az,
            },
            is_wanted=is_new,
        ),
        Part(
            name="database.existing",
            ensure=database.EnsureDatabaseOperator,
            delete=database.DeleteDatabaseOperator,
            wanted={"database_identifier": settings.database_identifier, "existing": True},
            is_wanted=settings.database == "existing",
        ),
    ]


def _bucket(settings: Settings) -> Part:
    return Part(
        name="bucket.bucket",
        ensure=bucket.EnsureBucketOperator,
        delete=bucket.DeleteBucketOperator,
        # What pipelines keep there is not to be forgotten.
        wanted={"bucket_name": settings.bucket_name, "retention_days": 0},
        is_wanted=settings.bucket,
    )


def _cluster(settings: Settings) -> Part:
    return Part(
        name="cluster.cluster",
        ensure=eks.EnsureClusterOperator,
        delete=eks.DeleteClusterOperator,
        wanted={
            "version": settings.kubernetes_version,
            "role_arn": Output(role_part("cluster"), "role_arn"),
            "subnet_ids": Output("network.network", "private_subnet_ids"),
            "public_access_cidrs": settings.public_access_cidrs,
            "log_types": ["audit", "authenticator"],
        },
    )


def _nodes(settings: Settings) -> Part:
    return Part(
        name="nodes.nodes",
        ensure=eks.EnsureNodegroupOperator,
        delete=eks.DeleteNodegroupOperator,
        wanted={
            "nodegroup_name": "nodes",
            "node_role_arn": Output(role_part("node"), "role_arn"),
            "subnet_ids": Output("network.network", "private_subnet_ids"),
            "instance_types": settings.instance_types,
            "capacity_type": settings.capacity_type,
            "min_size": settings.min_nodes,
            "max_size": settings.max_nodes,
            "disk_size": settings.disk_size,
        },
    )


def _addon(name: str) -> Part:
    wanted: dict[str, Any] = {"addon_name": name}
    if name == "aws-ebs-csi-driver":
        wanted["pod_identity_roles"] = {"ebs-csi-controller-sa": Output(role_part("ebs_csi"), "role_arn")}
        wanted["configuration"] = {"defaultStorageClass": {"enabled": True}}
    return Part(name=addon_part(name), ensure=eks.EnsureAddonOperator, delete=eks.DeleteAddonOperator, wanted=wanted)


def _access(settings: Settings) -> list[Part]:
    return [
        Part(
            name="access.oidc_provider",
            ensure=access.EnsureOidcProviderOperator,
            delete=access.DeleteOidcProviderOperator,
            wanted={},
        ),
        Part(
            name="access.worker_role",
            ensure=access.EnsurePodIdentityOperator,
            delete=access.DeletePodIdentityOperator,
            wanted={
                "namespace": settings.namespace,
                "service_account": WORKER_ACCOUNT,
                "role_arn": Output(role_part("worker"), "role_arn"),
            },
        ),
    ]
