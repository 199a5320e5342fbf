"""Checks of quotas: how much of each is left, and how much is needed."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eks_dask.hooks.aws import error_code
from airflow_eks_dask.preflight.account import zone_ids
from airflow_eks_dask.preflight.finding import Finding, error, warning
from airflow_eks_dask.resources import ownership
from airflow_eks_dask.resources.kubernetes_tags import is_of_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_eks_dask.hooks.aws import AwsClients
    from airflow_eks_dask.preflight.wanted import Wanted

_ON_DEMAND_VCPUS = {
    "standard": "L-1216C47A",
    "dl": "L-6E869C2A",
    "f": "L-74FC7D96",
    "g": "L-DB2E81BA",
    "hpc": "L-F7808C92",
    "inf": "L-1945791B",
    "p": "L-417A185B",
    "trn": "L-2C3B7624",
    "u": "L-43DA4232",
    "vt": "L-DB2E81BA",
    "x": "L-7295265B",
}
_SPOT_VCPUS = {
    "standard": "L-34B43A08",
    "dl": "L-85EED4F7",
    "f": "L-88CF9481",
    "g": "L-3819A6DF",
    "inf": "L-B5D1601B",
    "p": "L-7212CCBC",
    "trn": "L-6B0D517C",
    "vt": "L-3819A6DF",
    "x": "L-E3A00192",
}
"""The quotas of vCPUs by the letters that types of instances begin with; those of the standard one are many."""

_STANDARD = frozenset("acdhimrtz")


@dataclass(frozen=True)
class Demand:
    """
    What is needed of a quota.

    :param code: That of the quota; empty if it isn't known.
    :param what: What it limits, for people.
    :param used: By others; what is there already for this cluster is part of ``needed``.
    :param needed: All that the cluster and what belongs to it take.
    """

    service: str
    code: str
    what: str
    used: float
    needed: float


def quotas(aws: AwsClients, wanted: Wanted) -> Iterator[Finding]:
    """Whether the quotas leave enough room."""
    for demand in _demands(aws, wanted):
        limit = _limit(aws, demand)
        page = f"https://{aws.region}.console.aws.amazon.com/servicequotas/home/services/{demand.service}/quotas/"
        if limit is None:
            yield warning(
                f"The quota of {demand.what} is unknown",
                f"Service Quotas in {aws.region} does not tell",
                f"Make sure that {demand.needed:g} are left",
            )
        elif demand.used + demand.needed > limit:
            yield error(
                f"The quota of {demand.what} is too small",
                f"of {limit:g}, {demand.used:g} are in use by others and {demand.needed:g} are needed",
                f"Ask for more at {page}{demand.code}, or remove what is not needed",
            )


def vcpu_quota(instance_type: str, *, spot: bool) -> str:
    """Return the code of the quota that an instance's vCPUs count for; empty if it isn't known."""
    found = re.match(r"[a-z]+", instance_type)
    family = found[0] if found else ""
    codes = _SPOT_VCPUS if spot else _ON_DEMAND_VCPUS
    if family in codes:
        return codes[family]
    return codes["standard"] if family[:1] in _STANDARD and family not in _ON_DEMAND_VCPUS else ""


def _limit(aws: AwsClients, demand: Demand) -> float | None:
    """Return the quota of this account; AWS tells of some only the default, which holds then."""
    if not demand.code:
        return None
    client = aws.client("service-quotas")
    for ask in (client.get_service_quota, client.get_aws_default_service_quota):
        try:
            return float(ask(ServiceCode=demand.service, QuotaCode=demand.code)["Quota"]["Value"])
        except ClientError as failure:
            if error_code(failure) != "NoSuchResourceException":
                raise
    return None


def _demands(aws: AwsClients, wanted: Wanted) -> Iterator[Demand]:
    if wanted.cidr:
        yield Demand("vpc", "L-F678F1CE", "VPCs in the region", _others(_vpcs(aws), wanted), 1)
    if wanted.gateways:
        addresses = aws.client("ec2").describe_addresses()["Addresses"]
        yield Demand("ec2", "L-0263D0A3", "elastic IP addresses", _others(addresses, wanted), wanted.gateways)
        used = _gateways_in_zone(aws, wanted)
        yield Demand("vpc", "L-FE5A380F", "NAT gateways in a zone", used, 1)
    pages = aws.client("eks").get_paginator("list_clusters").paginate()
    clusters = [name for page in pages for name in page["clusters"] if name != wanted.cluster_name]
    yield Demand("eks", "L-1194D53C", "EKS clusters", len(clusters), 1)
    if wanted.database_identifier:
        yield Demand("rds", "L-7B6409FD", "database instances", _databases(aws, wanted), 1)
    if wanted.max_nodes and wanted.instance_types:
        yield from _vcpus(aws, wanted)


def _vpcs(aws: AwsClients) -> list[dict[str, Any]]:
    pages = aws.client("ec2").get_paginator("describe_vpcs").paginate()
    return [vpc for page in pages for vpc in page["Vpcs"]]


def _others(things: list[dict[str, Any]], wanted: Wanted) -> int:
    """Count what is not there for this cluster."""
    return sum(not _is_ours(thing, wanted) for thing in things)


def _is_ours(thing: Mapping[str, Any], wanted: Wanted) -> bool:
    tags = ownership.as_mapping(thing.get("Tags"))
    return tags.get(ownership.TAG) == wanted.cluster_name or is_of_cluster(wanted.cluster_name, tags)


def _gateways_in_zone(aws: AwsClients, wanted: Wanted) -> int:
    """Return how many NAT gateways others have in the fullest of the zones that can be chosen."""
    ec2 = aws.client("ec2")
    live = [{"Name": "state", "Values": ["pending", "available"]}]
    pages = ec2.get_paginator("describe_nat_gateways").paginate(Filters=live)
    gateways = [each for page in pages for each in page["NatGateways"] if not _is_ours(each, wanted)]
    subnets = ec2.get_paginator("describe_subnets").paginate()
    zones = {each["SubnetId"]: each["AvailabilityZone"] for page in subnets for each in page["Subnets"]}
    used = Counter(zones.get(each["SubnetId"]) for each in gateways)
    emptiest = sorted(used[zone] for zone in wanted.availability_zones or zone_ids(aws))
    # With fewer gateways than zones, the fullest are passed over.
    return max(emptiest[: wanted.gateways], default=0)


def _databases(aws: AwsClients, wanted: Wanted) -> int:
    pages = aws.client("rds").get_paginator("describe_db_instances").paginate()
    names = [each["DBInstanceIdentifier"] for page in pages for each in page["DBInstances"]]
    return sum(name != wanted.database_identifier for name in names)


def _vcpus(aws: AwsClients, wanted: Wanted) -> Iterator[Demand]:
    """All nodes may come to be of any one type: the largest of a quota counts."""
    described = aws.client("ec2").get_paginator("describe_instance_types")
    pages = described.paginate(Filters=[{"Name": "instance-type", "Values": wanted.instance_types}])
    by_quota: dict[str, dict[str, int]] = {}
    for each in (each for page in pages for each in page["InstanceTypes"]):
        code = vcpu_quota(each["InstanceType"], spot=wanted.spot)
        by_quota.setdefault(code, {})[each["InstanceType"]] = each["VCpuInfo"]["DefaultVCpus"]
    used = _vcpus_in_use(aws, wanted)
    how = "spot" if wanted.spot else "on-demand"
    for code, types in by_quota.items():
        what = f"vCPUs of {how} instances such as {', '.join(types)}"
        yield Demand("ec2", code, what, used[code], max(types.values()) * wanted.max_nodes)


def _vcpus_in_use(aws: AwsClients, wanted: Wanted) -> Counter[str]:
    live = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    pages = aws.client("ec2").get_paginator("describe_instances").paginate(Filters=live)
    used: Counter[str] = Counter()
    for each in (each for page in pages for group in page["Reservations"] for each in group["Instances"]):
        spot = each.get("InstanceLifecycle") == "spot"
        code = vcpu_quota(each["InstanceType"], spot=spot)
        if not _is_ours(each, wanted):
            cpus = each.get("CpuOptions", {})
            used[code] += cpus.get("CoreCount", 0) * cpus.get("ThreadsPerCore", 0)
    return used
