"""Networks that somebody else made: whether a cluster can be in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eks_dask.resources import ownership
from airflow_eks_dask.resources.base import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eks_dask.hooks.aws import AwsClients

PUBLIC_ROLE = "kubernetes.io/role/elb"
PRIVATE_ROLE = "kubernetes.io/role/internal-elb"
"""Tags by which load balancers that face the internet, and others, find their subnets."""

_ADDRESSES_OF_EKS = 6
"""Free addresses that a subnet needs. Source: https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html."""


def problems(aws: AwsClients, vpc_id: str, subnet_ids: Sequence[str]) -> list[str]:
    """
    Return all that keeps a cluster from being in these subnets.

    :param vpc_id: The VPC that they are to be in.
    """
    if _vpc(aws, vpc_id) is None:
        return [f"VPC {vpc_id} is not there"]
    found = {subnet["SubnetId"]: subnet for subnet in _subnets(aws, subnet_ids)}
    wrong = [f"subnet {subnet_id} is not there" for subnet_id in subnet_ids if subnet_id not in found]
    for subnet_id, subnet in found.items():
        if subnet["VpcId"] != vpc_id:
            wrong.append(f"subnet {subnet_id} is in {subnet['VpcId']}, not in {vpc_id}")
        if subnet["AvailableIpAddressCount"] < _ADDRESSES_OF_EKS:
            free = subnet["AvailableIpAddressCount"]
            wrong.append(f"subnet {subnet_id} has {free} free addresses: EKS needs {_ADDRESSES_OF_EKS}")
    zones = sorted({subnet["AvailabilityZone"] for subnet in found.values()})
    if len(zones) < 2:
        wrong.append(f"the subnets are in {', '.join(zones) or 'no zone'}: EKS needs two zones or more")
    return wrong + _dns_problems(aws, vpc_id)


def _dns_problems(aws: AwsClients, vpc_id: str) -> list[str]:
    ec2 = aws.client("ec2")
    wrong = []
    for attribute in ("enableDnsSupport", "enableDnsHostnames"):
        answer = ec2.describe_vpc_attribute(VpcId=vpc_id, Attribute=attribute)
        if not answer[attribute[0].upper() + attribute[1:]]["Value"]:
            wrong.append(f"VPC {vpc_id}: {attribute} is off: nodes can't join a cluster without it")
    return wrong


def without_role(aws: AwsClients, subnet_ids: Sequence[str], role: str) -> list[str]:
    """Say which subnets lack the tag by which load balancers find them; that keeps no cluster from being there."""
    return [
        f"subnet {subnet['SubnetId']} has not the tag {role}=1: load balancers will not find it by themselves"
        for subnet in _subnets(aws, subnet_ids)
        if role not in ownership.as_mapping(subnet.get("Tags"))
    ]


def describe(aws: AwsClients, vpc_id: str, subnet_ids: Sequence[str]) -> dict[str, Any]:
    """Return ``cidr`` and ``availability_zones``."""
    if UNKNOWN in (vpc_id, *subnet_ids):
        return {"cidr": UNKNOWN, "availability_zones": [UNKNOWN]}
    vpc = _vpc(aws, vpc_id) or {}
    zones = sorted({subnet["AvailabilityZone"] for subnet in _subnets(aws, subnet_ids)})
    return {"cidr": vpc.get("CidrBlock", UNKNOWN), "availability_zones": zones}


def _vpc(aws: AwsClients, vpc_id: str) -> dict[str, Any] | None:
    answer = aws.client("ec2").describe_vpcs(Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])["Vpcs"]
    return answer[0] if answer else None


def _subnets(aws: AwsClients, subnet_ids: Sequence[str]) -> list[dict[str, Any]]:
    if not subnet_ids:
        return []
    pages = (
        aws.client("ec2")
        .get_paginator("describe_subnets")
        .paginate(Filters=[{"Name": "subnet-id", "Values": list(subnet_ids)}])
    )
    return [subnet for page in pages for subnet in page["Subnets"]]
