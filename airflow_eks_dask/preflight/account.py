"""Checks of the account: whose it is, and what the region has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from airflow_eks_dask.preflight.finding import Finding, error, warning
from airflow_eks_dask.resources.network import ZONES_WITHOUT_EKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eks_dask.hooks.aws import AwsClients
    from airflow_eks_dask.preflight.wanted import Wanted

_HOME_REGIONS = {"aws": "us-east-1", "aws-cn": "cn-north-1", "aws-us-gov": "us-gov-west-1"}
"""A region of each partition that no account can be without."""


def credentials(aws: AwsClients, wanted: Wanted) -> Iterator[Finding]:
    """Whether AWS knows the caller at all."""
    try:
        caller = aws.client("sts").get_caller_identity()["Arn"]
    except (BotoCoreError, ClientError) as failure:
        yield error(
            "AWS does not accept the credentials",
            str(failure),
            f"Correct the Airflow connection {aws.aws_conn_id!r}, its region too",
        )
        return
    if caller.endswith(":root"):
        yield warning(
            "The caller is the root user",
            f"{caller} may do everything, and its keys can't be limited",
            "Make a role with the policy docs/iam-policy.json, and let the Airflow connection take it",
        )


def region(aws: AwsClients, wanted: Wanted) -> Iterator[Finding]:
    """Whether one is given, there is such a region, and the account has enabled it."""
    try:
        name = aws.region
    except ValueError as failure:
        yield error("There is no region to work in", "neither the task nor the connection says one", str(failure))
        return
    home = _HOME_REGIONS.get(aws.partition, name)
    # Asked elsewhere: a region that is not enabled knows neither the account nor its keys.
    regions = aws.client("ec2", home).describe_regions(AllRegions=True)["Regions"]
    states = {each["RegionName"]: each.get("OptInStatus") for each in regions}
    if name not in states:
        yield error(
            f"There is no region {name}",
            f"AWS has {', '.join(sorted(states))}",
            "Give one of these as region_name",
        )
    elif states[name] == "not-opted-in":
        yield error(
            f"The region {name} is not enabled",
            "the account has not opted in to it",
            "Enable it in the console, under Account, AWS Regions; that takes some minutes",
        )


def zone_ids(aws: AwsClients) -> dict[str, str]:
    """Return the ids of the zones that are available in the region, by their names in this account."""
    zones = aws.client("ec2").describe_availability_zones(
        Filters=[
            {"Name": "zone-type", "Values": ["availability-zone"]},
            {"Name": "state", "Values": ["available"]},
        ]
    )["AvailabilityZones"]
    return {zone["ZoneName"]: zone["ZoneId"] for zone in zones}


def zones(aws: AwsClients, wanted: Wanted) -> Iterator[Finding]:
    """Whether there are enough zones for the network, and EKS is in them."""
    available = zone_ids(aws)
    usable = sorted(name for name, zone_id in available.items() if zone_id not in ZONES_WITHOUT_EKS)
    for name in wanted.availability_zones:
        if name not in usable:
            why = "EKS has no control planes there" if name in available else "it is not available in this region"
            yield error(f"The zone {name} can't be used", why, f"Choose among {', '.join(usable)}")
    if len(usable) < wanted.zones:
        yield error(
            f"The region {aws.region} has not {wanted.zones} zones",
            f"EKS can be in {', '.join(usable) or 'none'}",
            "Choose fewer zones, but two at least, or another region",
        )
