"""What a bootstrap is to make, as far as it can be checked before."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any

from airflow_eks_dask.resources import cluster_versions, validation
from airflow_eks_dask.resources.bucket import Bucket
from airflow_eks_dask.resources.database import Database
from airflow_eks_dask.resources.network import VPC_ID, Network

_SERVICE_NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
_VERSIONS = "a version such as 1.34, default or latest"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """
    What a bootstrap is to make. Whatever is empty is not to be made, and not checked.

    :param cluster_name: The cluster.
    :param kubernetes_version: Its version, ``default`` or ``latest``.
    :param cidr: Addresses of a network that is to be made.
    :param vpc_id: A network that is there already, instead.
    :param zones: In how many zones the network is to be.
    :param availability_zones: In which; empty leaves that to :class:`.Network`.
    :param nat_gateways: What NAT gateways are to be made: ``none``, ``single`` or ``one_per_zone``.
    :param service_cidr: From where Services get their addresses; empty for AWS's choice.
    :param public_access_cidrs: From where the cluster's public endpoint can be reached; empty: there is none.
    :param endpoint_private_access: Whether the cluster has an endpoint within its network.
    :param instance_types: Of nodes.
    :param spot: Whether nodes are spot instances.
    :param max_nodes: How many nodes there may be at most.
    :param database_identifier: The RDS instance.
    :param bucket_name: The bucket for logs.
    :param image: The image that pods are to run, with its tag.
    :param policy: A policy with all that the caller must be allowed to do; empty for the one in this package.
    """

    cluster_name: str
    kubernetes_version: str = cluster_versions.DEFAULT
    cidr: str = ""
    vpc_id: str = ""
    zones: int = 2
    availability_zones: list[str] = field(default_factory=list)
    nat_gateways: str = "single"
    service_cidr: str = ""
    public_access_cidrs: list[str] = field(default_factory=list)
    endpoint_private_access: bool = True
    instance_types: list[str] = field(default_factory=list)
    spot: bool = False
    max_nodes: int = 0
    database_identifier: str = ""
    bucket_name: str = ""
    image: str = ""
    policy: dict[str, Any] = field(default_factory=dict)

    def problems(self) -> list[str]:
        """Return all that is wrong with it, without asking AWS."""
        problems = [
            *validation.cluster_name(self.cluster_name),
            *validation.matches("kubernetes_version", self.kubernetes_version, cluster_versions.VERSION, _VERSIONS),
            *validation.at_least("max_nodes", self.max_nodes, 0),
            *validation.all_match(
                "instance_types", self.instance_types, validation.INSTANCE_TYPE, "a type such as m7i.large"
            ),
        ]
        for cidr in self.public_access_cidrs:
            problems += validation.network("public_access_cidrs", cidr)
        if self.database_identifier:
            database = Database(cluster_name=self.cluster_name, database_identifier=self.database_identifier)
            problems += database.identity_problems()
        if self.bucket_name:
            problems += Bucket(cluster_name=self.cluster_name, bucket_name=self.bucket_name).identity_problems()
        return list(dict.fromkeys(problems + self._network_problems()))

    @property
    def gateways(self) -> int:
        """How many NAT gateways are to be made."""
        return {"none": 0, "single": 1, "one_per_zone": self.zones}[self.nat_gateways] if self.cidr else 0

    def _network_problems(self) -> list[str]:
        if self.cidr and self.vpc_id:
            return ["give either cidr, for a new network, or vpc_id"]
        problems = self._service_problems()
        if self.vpc_id:
            return problems + validation.matches("vpc_id", self.vpc_id, VPC_ID, "the id of a VPC")
        network = Network(
            cluster_name=self.cluster_name,
            zones=self.zones,
            availability_zones=self.availability_zones,
            nat_gateways=self.nat_gateways,
            cidr=self.cidr or Network.cidr,
        )
        return problems + network.problems()

    def _service_problems(self) -> list[str]:
        if not self.service_cidr:
            return []
        if problems := validation.network("service_cidr", self.service_cidr):
            return problems
        services = IPv4Network(self.service_cidr)
        if not 12 <= services.prefixlen <= 24:
            problems.append(f"service_cidr = {self.service_cidr!r}: must be from /12 to /24")
        if not any(services.subnet_of(IPv4Network(each)) for each in _SERVICE_NETWORKS):
            problems.append(f"service_cidr = {self.service_cidr!r}: must be within {', '.join(_SERVICE_NETWORKS)}")
        if self.cidr and not validation.network("cidr", self.cidr) and services.overlaps(IPv4Network(self.cidr)):
            problems.append(f"service_cidr = {self.service_cidr!r}: overlaps cidr = {self.cidr!r}")
        return problems
