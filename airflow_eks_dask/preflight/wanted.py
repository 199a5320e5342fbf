"""What a bootstrap is to make, as far as it can be checked before."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, fields
from typing import Any

from airflow_eks_dask.resources import cluster_versions, validation
from airflow_eks_dask.resources.bucket import Bucket
from airflow_eks_dask.resources.database import Database

_SERVICE_NETWORKS = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
_VERSIONS = "a version such as 1.34, default or latest"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """
    What a bootstrap is to make. Whatever is empty is not to be made, and not checked.

    :param cluster_name: The cluster.
    :param kubernetes_version: Its version, ``default`` or ``latest``.
    :param zones: In how many zones the network is to be.
    :param zone_names: In which; empty leaves that to AWS.
    :param vpc_cidr: Addresses of a network that is to be made.
    :param vpc_id: A network that is there already, instead.
    :param nat_gateways: How many NAT gateways are to be made.
    :param service_cidr: From where Services get their addresses; empty for AWS's choice.
    :param public_access_cidrs: From where the cluster's public endpoint can be reached; empty: there is none.
    :param endpoint_private_access: Whether the cluster has an endpoint within its network.
    :param instance_types: Of nodes.
    :param spot: Whether nodes are spot instances.
    :param max_nodes: How many nodes there may be at most.
    :param database_identifier: The RDS instance.
    :param bucket_name: The bucket for logs.
    :param policy: A policy with all that the caller must be allowed to do; empty for the one in this package.
    """

    cluster_name: str
    kubernetes_version: str = cluster_versions.DEFAULT
    zones: int = 2
    zone_names: list[str] = field(default_factory=list)
    vpc_cidr: str = ""
    vpc_id: str = ""
    nat_gateways: int = 1
    service_cidr: str = ""
    public_access_cidrs: list[str] = field(default_factory=list)
    endpoint_private_access: bool = True
    instance_types: list[str] = field(default_factory=list)
    spot: bool = False
    max_nodes: int = 0
    database_identifier: str = ""
    bucket_name: str = ""
    policy: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def field_names(cls) -> tuple[str, ...]:
        """Return the names of the fields."""
        return tuple(each.name for each in fields(cls))

    def problems(self) -> list[str]:
        """Return all that is wrong with it, without asking AWS."""
        problems = [
            *validation.cluster_name(self.cluster_name),
            *validation.matches("kubernetes_version", self.kubernetes_version, cluster_versions.VERSION, _VERSIONS),
            *validation.whole_number("zones", self.zones, 2),
            *validation.whole_number("nat_gateways", self.nat_gateways, 0),
            *validation.whole_number("max_nodes", self.max_nodes, 0),
            *validation.boolean("spot", self.spot),
            *validation.boolean("endpoint_private_access", self.endpoint_private_access),
            *validation.all_match(
                "instance_types", self.instance_types, validation.INSTANCE_TYPE, "a type such as m7i.large"
            ),
        ]
        for cidr in self.public_access_cidrs:
            problems += validation.network("public_access_cidrs", cidr)
        if self.zone_names and len(self.zone_names) != self.zones:
            problems.append(f"zone_names: {len(self.zone_names)} are given, zones = {self.zones}")
        if self.database_identifier:
            database = Database(cluster_name=self.cluster_name, database_identifier=self.database_identifier)
            problems += database.identity_problems()
        if self.bucket_name:
            problems += Bucket(cluster_name=self.cluster_name, bucket_name=self.bucket_name).identity_problems()
        return list(dict.fromkeys(problems + self._network_problems()))

    def _network_problems(self) -> list[str]:
        problems = []
        if self.vpc_cidr and self.vpc_id:
            problems.append("give either vpc_cidr, for a new network, or vpc_id")
        vpc = _network("vpc_cidr", self.vpc_cidr, problems)
        services = _network("service_cidr", self.service_cidr, problems)
        if vpc and not 16 <= vpc.prefixlen <= 28:
            problems.append(f"vpc_cidr = {self.vpc_cidr!r}: a VPC is a /16 at most, and a /28 at least")
        if services and not 12 <= services.prefixlen <= 24:
            problems.append(f"service_cidr = {self.service_cidr!r}: must be from /12 to /24")
        if services and not any(services.subnet_of(ipaddress.IPv4Network(each)) for each in _SERVICE_NETWORKS):
            problems.append(f"service_cidr = {self.service_cidr!r}: must be within {', '.join(_SERVICE_NETWORKS)}")
        if vpc and services and vpc.overlaps(services):
            problems.append(f"service_cidr = {self.service_cidr!r}: overlaps vpc_cidr = {self.vpc_cidr!r}")
        return problems


def _network(name: str, cidr: str, problems: list[str]) -> ipaddress.IPv4Network | None:
    if not cidr:
        return None
    found = validation.network(name, cidr)
    problems += found
    return None if found else ipaddress.IPv4Network(cidr)
