"""
What AWS bills for a resource: what the price list calls it, and how much of it a month takes.

What is paid by use, such as traffic and what a bucket holds, is not foreseen.
"""

from __future__ import annotations

from dataclasses import dataclass, field

HOURS_PER_MONTH = 730
SPOT = "SpotUsage:"
"""How the usage of spot instances begins. It is in no price list: its price changes all the time."""


@dataclass(frozen=True)
class CostItem:
    """
    One thing that AWS bills.

    :param service: The service's code in the price list, such as ``AmazonEC2``.
    :param usage: The usage type without the region's prefix, such as ``NatGateway-Hours``.
    :param quantity: Units that a month takes: hours, or GiB for storage.
    :param filters: Further attributes of the product: fewer prices to look through, and only one that fits.
    """

    service: str
    usage: str
    quantity: float
    filters: dict[str, str] = field(default_factory=dict)


def hourly(service: str, usage: str, count: float = 1, **filters: str) -> CostItem:
    """Return what something takes that is there all the time; the parameters are those of :class:`CostItem`."""
    return CostItem(service, usage, count * HOURS_PER_MONTH, filters)


def cluster_control_plane() -> CostItem:
    """Return what an EKS cluster takes whose version has standard support."""
    return hourly("AmazonEKS", "AmazonEKS-Hours:perCluster")


def instances(instance_type: str, count: float, *, spot: bool = False) -> CostItem:
    """Return what Linux instances take that run all the time."""
    if spot:
        return hourly("AmazonEC2", SPOT + instance_type, count, instanceType=instance_type)
    return hourly(
        "AmazonEC2",
        f"BoxUsage:{instance_type}",
        count,
        instanceType=instance_type,
        operatingSystem="Linux",
        preInstalledSw="NA",
        tenancy="Shared",
        capacitystatus="Used",
    )


def volumes(gib: float, volume_type: str = "gp3") -> CostItem:
    """
    Return what EBS volumes take.

    :param gib: Of all of them together.
    """
    return CostItem("AmazonEC2", f"EBS:VolumeUsage.{volume_type}", gib, {"volumeApiName": volume_type})


def nat_gateways(count: float) -> list[CostItem]:
    """Return what NAT gateways take, each with its public address."""
    return [
        hourly("AmazonEC2", "NatGateway-Hours", count, productFamily="NAT Gateway"),
        hourly("AmazonVPC", "PublicIPv4:InUseAddress", count),
    ]


def postgres(instance_class: str, gib: float, storage_type: str = "gp3", *, multi_az: bool = False) -> list[CostItem]:
    """
    Return what an RDS instance of PostgreSQL and its storage take.

    :param instance_class: Such as ``db.t4g.small``.
    :param gib: Size of its storage.
    """
    deployment = "Multi-AZ" if multi_az else "Single-AZ"
    attributes = {"databaseEngine": "PostgreSQL", "deploymentOption": deployment}
    storage = f"RDS:{'Multi-AZ-' if multi_az else ''}{storage_type.upper()}-Storage"
    usage = f"{'Multi-AZUsage' if multi_az else 'InstanceUsage'}:{instance_class}"
    return [
        CostItem("AmazonRDS", usage, HOURS_PER_MONTH, {**attributes, "instanceType": instance_class}),
        CostItem("AmazonRDS", storage, gib, {**attributes, "productFamily": "Database Storage"}),
    ]
