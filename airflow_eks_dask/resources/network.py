"""The network that a cluster is in."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_eks_dask.resources import cost, existing_network, validation
from airflow_eks_dask.resources.base import UNKNOWN, Action, Plan, Progress, State
from airflow_eks_dask.resources.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eks_dask.hooks.aws import AwsClients
    from airflow_eks_dask.resources.cost import CostItem

NAT_GATEWAYS = ("none", "single", "one_per_zone")
ZONES = (2, 3)
_ZONE_NAME = re.compile(r"[a-z]{2}(-[a-z]+)+-\d[a-z]")
VPC_ID = re.compile(r"vpc-[0-9a-f]{8,17}")
_SUBNET_ID = re.compile(r"subnet-[0-9a-f]{8,17}")
ZONES_WITHOUT_EKS = frozenset({"use1-az3", "usw1-az2", "cac1-az3"})
"""Source: https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html."""


@dataclass(frozen=True, kw_only=True)
class Network(Stack):
    """
    A VPC over two or three zones with private and public subnets, or one that is there already.

    Each private subnet gets a quarter of the addresses, each public one a sixteenth: a third zone can be added later.
    Subnets carry the tags by which load balancers find them. Only load balancers and NAT gateways get public addresses,
    unless there is no NAT. Traffic with S3 stays within AWS. The provider has operators for stacks, not for networks.

    :param cidr: All addresses of the VPC, from /16 to /24.
    :param zones: How many zones: 2 or 3.
    :param availability_zones: Which ones, such as ``eu-central-1a``; default: those it has, or the first with EKS.
    :param nat_gateways: How private subnets reach the internet: not at all (``none``), through one gateway
        (``single``), or through one in each zone (``one_per_zone``), which costs more and outlives the loss of a zone.
    :param public_subnets: Whether to have public subnets: load balancers that face the internet need them, and NAT.
    :param vpc_id: The VPC of an existing network.
    :param public_subnet_ids: The public subnets of an existing network.
    :param private_subnet_ids: The private subnets of an existing network.
    """

    kind: ClassVar[str] = "network"
    template_name: ClassVar[str] = "network.yaml"
    suffix: ClassVar[str] = "network"
    irreplaceable: ClassVar[frozenset[str]] = frozenset({"AWS::EC2::VPC", "AWS::EC2::Subnet"})

    cidr: str = "10.0.0.0/16"
    zones: int = 2
    availability_zones: list[str] = field(default_factory=list)
    nat_gateways: str = "single"
    public_subnets: bool = True
    vpc_id: str = ""
    public_subnet_ids: list[str] = field(default_factory=list)
    private_subnet_ids: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The stack's name; of an existing network the VPC's id."""
        return self.vpc_id if self.existing else super().name

    def console_path(self, region: str) -> str:
        """Return the path of the page of the stack, or of the VPC, in the AWS console."""
        if self.existing:
            return f"vpcconsole/home?region={region}#VpcDetails:VpcId={self.vpc_id}"
        return super().console_path(region)

    def identity_problems(self) -> list[str]:
        """Return what is wrong with its names."""
        return validation.cluster_name(self.cluster_name) if self.existing else super().identity_problems()

    def problems(self) -> list[str]:
        """Return all that is wrong with what is wanted."""
        return [
            *self.identity_problems(),
            *(self._problems_of_existing() if self.existing else self._problems_of_new()),
        ]

    def _problems_of_existing(self) -> list[str]:
        what = "the id of a subnet"
        return [
            *validation.matches("vpc_id", self.vpc_id, VPC_ID, "the id of a VPC"),
            *validation.all_match("public_subnet_ids", self.public_subnet_ids, _SUBNET_ID, what),
            *validation.all_match("private_subnet_ids", self.private_subnet_ids, _SUBNET_ID, what),
            *validation.needed("public_subnet_ids or private_subnet_ids", self._given_subnets),
        ]

    def _problems_of_new(self) -> list[str]:
        problems = validation.vpc_network("cidr", self.cidr)
        if self.zones not in (*ZONES, UNKNOWN):
            problems.append(f"zones = {self.zones}: must be {ZONES[0]} or {ZONES[-1]}")
        problems += validation.all_match(
            "availability_zones", self.availability_zones, _ZONE_NAME, "the name of a zone such as eu-central-1a"
        )
        if self.availability_zones and len(set(self.availability_zones)) != self.zones:
            problems.append(f"availability_zones: must be as many as zones says, which is {self.zones}, each once")
        problems += validation.one_of("nat_gateways", self.nat_gateways, NAT_GATEWAYS)
        if self.nat_gateways != "none" and not self.public_subnets:
            problems.append(f"nat_gateways = {self.nat_gateways!r}: NAT gateways need public_subnets")
        if self.vpc_id or self._given_subnets:
            problems.append(
                "vpc_id, public_subnet_ids, private_subnet_ids: are for existing networks; AWS chooses them"
            )
        return problems

    @property
    def _given_subnets(self) -> list[str]:
        return [*self.private_subnet_ids, *self.public_subnet_ids]

    def parameters(self, aws: AwsClients, found: Mapping[str, str]) -> dict[str, str]:
        """Return zones and the addresses of all subnets, of those that may come later too."""
        zones = [*self._zones(aws, found), ""]
        private, public = subnets_of(self.cidr)
        return {
            "ClusterName": self.cluster_name,
            "VpcCidr": self.cidr,
            **{f"Zone{number}": zones[number - 1] for number in (1, 2, 3)},
            **{f"PrivateCidr{number}": cidr for number, cidr in enumerate(private, 1)},
            **{f"PublicCidr{number}": cidr for number, cidr in enumerate(public, 1)},
            "PublicSubnets": str(self.public_subnets).lower(),
            "NatGateways": self.nat_gateways,
        }

    def _zones(self, aws: AwsClients, found: Mapping[str, str]) -> list[str]:
        if self.availability_zones:
            return self.availability_zones
        present = [zone for number in (1, 2, 3) if (zone := found.get(f"Zone{number}"))]
        if len(present) >= self.zones:
            return present[: self.zones]
        answer = aws.client("ec2").describe_availability_zones()["AvailabilityZones"]
        usable = sorted(
            zone["ZoneName"]
            for zone in answer
            if zone["State"] == "available"
            and zone.get("ZoneType", "availability-zone") == "availability-zone"
            and zone["ZoneId"] not in ZONES_WITHOUT_EKS
        )
        return [*present, *(zone for zone in usable if zone not in present)][: self.zones]

    def irreconcilable(self, found: Mapping[str, str], wanted: Mapping[str, str]) -> str | None:
        """Other addresses, or other zones for the same subnets, would take a network of their own."""
        for name in ("VpcCidr", "Zone1", "Zone2", "Zone3"):
            if found.get(name) and wanted[name] and found[name] != wanted[name]:
                what = f"{name} is {found[name]}, not {wanted[name]}, and AWS moves no subnets"
                return f"{what}: delete the network first, or choose another stack_name"
        return None

    def plan(self, aws: AwsClients) -> Plan:
        """Compare the stack; check an existing network."""
        if not self.existing:
            return super().plan(aws)
        if UNKNOWN in (self.vpc_id, *self._given_subnets):
            return self.a_plan(Action.LEAVE)
        if problems := existing_network.problems(aws, self.vpc_id, self._given_subnets):
            return self.a_plan(Action.REFUSE, *problems)
        return self.a_plan(
            Action.LEAVE,
            *existing_network.without_role(aws, self.public_subnet_ids, existing_network.PUBLIC_ROLE),
            *existing_network.without_role(aws, self.private_subnet_ids, existing_network.PRIVATE_ROLE),
        )

    def progress(self, aws: AwsClients) -> Progress:
        """Tell the events of the stack; an existing network is there."""
        return Progress(State.READY) if self.existing else super().progress(aws)

    def outputs(self, aws: AwsClients) -> dict[str, Any]:
        """Return ``vpc_id``, ``cidr``, ``public_subnet_ids``, ``private_subnet_ids`` and ``availability_zones``."""
        if self.existing:
            described = existing_network.describe(aws, self.vpc_id, self._given_subnets)
            given = {"public_subnet_ids": self.public_subnet_ids, "private_subnet_ids": self.private_subnet_ids}
            return {"vpc_id": self.vpc_id, **given, **described}
        found = self.stack_outputs(aws)
        unknown = [UNKNOWN] * self.zones
        return {
            "vpc_id": found.get("VpcId", UNKNOWN),
            "cidr": found.get("VpcCidr", self.cidr),
            "public_subnet_ids": _split(found, "PublicSubnetIds", unknown if self.public_subnets else []),
            "private_subnet_ids": _split(found, "PrivateSubnetIds", unknown),
            "availability_zones": _split(found, "AvailabilityZones", self.availability_zones or unknown),
        }

    def cost_items(self) -> list[CostItem]:
        """NAT gateways; the rest of a network is free."""
        count = {"none": 0, "single": 1, "one_per_zone": self.zones}[self.nat_gateways]
        return cost.nat_gateways(count) if count else []


def subnets_of(cidr: str) -> tuple[list[str], list[str]]:
    """Return the addresses of three private and three public subnets of a network."""
    if cidr == UNKNOWN:
        return [UNKNOWN] * 3, [UNKNOWN] * 3
    *private, rest = ipaddress.IPv4Network(cidr).subnets(prefixlen_diff=2)
    public = list(rest.subnets(prefixlen_diff=2))[:3]
    return [str(subnet) for subnet in private], [str(subnet) for subnet in public]


def _split(outputs: Mapping[str, str], name: str, missing: list[str]) -> list[str]:
    if not outputs:
        return missing
    return outputs[name].split(",") if outputs.get(name) else []
