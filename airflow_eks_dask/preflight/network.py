"""Checks of addresses: what a network would clash with."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.preflight.finding import Finding, error, note, warning
from airflow_eks_dask.resources import ownership

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_eks_dask.hooks.aws import AwsClients
    from airflow_eks_dask.preflight.wanted import Wanted


def addresses(aws: AwsClients, wanted: Wanted) -> Iterator[Finding]:
    """Whether the addresses of network and Services are free."""
    if wanted.vpc_id:
        yield from _existing_network(aws, wanted)
    elif wanted.cidr:
        yield from _new_network(aws, wanted)


def endpoint(aws: AwsClients, wanted: Wanted) -> Iterator[Finding]:
    """Whether Airflow will reach the cluster once it is there, as far as that can be said now."""
    if not wanted.public_access_cidrs:
        yield warning(
            "The cluster's endpoint can be reached from its network only",
            "without a public endpoint, Airflow has to be in this network or connected to it",
            "Make sure of that, or give the address that Airflow's requests come from as public_access_cidrs",
        )
    elif "0.0.0.0/0" in wanted.public_access_cidrs:
        yield note(
            "The cluster's endpoint can be reached from everywhere",
            "0.0.0.0/0 is among public_access_cidrs",
            "Give the addresses that Airflow's requests and people come from",
        )
    else:
        yield note(
            "The cluster's endpoint admits some addresses only",
            f"public_access_cidrs are {', '.join(wanted.public_access_cidrs)}",
            "Make sure that the address that Airflow's requests come from is among them",
        )
        if not wanted.endpoint_private_access:
            yield warning(
                "Nodes may not reach the cluster's endpoint",
                "without a private endpoint they use the public one, which admits some addresses only",
                "Give endpoint_private_access",
            )


def _new_network(aws: AwsClients, wanted: Wanted) -> Iterator[Finding]:
    ours = IPv4Network(wanted.cidr)
    clashes = [
        f"{vpc['VpcId']} ({', '.join(map(str, _networks(vpc)))})"
        for vpc in _vpcs(aws)
        if ownership.as_mapping(vpc.get("Tags")).get(ownership.TAG) != wanted.cluster_name
        and any(ours.overlaps(network) for network in _networks(vpc))
    ]
    if clashes:
        yield warning(
            f"Other networks have addresses of {wanted.cidr}",
            f"{', '.join(clashes)}: the new network can never be connected to these",
            "Choose another cidr, unless they are to stay apart",
        )


def _existing_network(aws: AwsClients, wanted: Wanted) -> Iterator[Finding]:
    vpcs = {vpc["VpcId"]: vpc for vpc in _vpcs(aws)}
    if wanted.vpc_id not in vpcs:
        yield error(
            f"There is no network {wanted.vpc_id}",
            f"{aws.region} has {', '.join(vpcs) or 'none'}",
            "Correct vpc_id, or the region",
        )
        return
    if not wanted.service_cidr:
        return
    services = IPv4Network(wanted.service_cidr)
    for network in _networks(vpcs[wanted.vpc_id]):
        if network.overlaps(services):
            yield error(
                f"Services would get addresses of the network {wanted.vpc_id}",
                f"service_cidr = {services} overlaps its {network}",
                "Choose another service_cidr",
            )
    for peer, network in _peer_networks(aws, wanted.vpc_id):
        if network.overlaps(services):
            yield warning(
                f"Pods will not reach a part of the connected network {peer}",
                f"service_cidr = {services} overlaps its {network}",
                "Choose another service_cidr, unless pods need nothing there",
            )


def _vpcs(aws: AwsClients) -> list[dict[str, Any]]:
    pages = aws.client("ec2").get_paginator("describe_vpcs").paginate()
    return [vpc for page in pages for vpc in page["Vpcs"]]


def _networks(vpc: Mapping[str, Any]) -> list[IPv4Network]:
    blocks = vpc.get("CidrBlockAssociationSet") or [{"CidrBlock": vpc["CidrBlock"]}]
    return [IPv4Network(block["CidrBlock"]) for block in blocks]


def _peer_networks(aws: AwsClients, vpc_id: str) -> Iterator[tuple[str, IPv4Network]]:
    pages = (
        aws.client("ec2")
        .get_paginator("describe_vpc_peering_connections")
        .paginate(Filters=[{"Name": "status-code", "Values": ["active"]}])
    )
    for connection in (each for page in pages for each in page["VpcPeeringConnections"]):
        ends = [connection["AccepterVpcInfo"], connection["RequesterVpcInfo"]]
        if vpc_id not in [end["VpcId"] for end in ends]:
            continue
        for end in ends:
            if end["VpcId"] != vpc_id:
                for block in end.get("CidrBlockSet") or [{"CidrBlock": end["CidrBlock"]}]:
                    yield end["VpcId"], IPv4Network(block["CidrBlock"])
