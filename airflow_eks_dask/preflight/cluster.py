"""Checks of the cluster, its nodes and its data: what AWS offers, and whose names are taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_eks_dask.preflight.account import zone_ids
from airflow_eks_dask.preflight.finding import Finding, error, warning
from airflow_eks_dask.resources import cluster_versions, ownership
from airflow_eks_dask.resources.base import Action, ResourceError
from airflow_eks_dask.resources.bucket import Bucket
from airflow_eks_dask.resources.database import find_database
from airflow_eks_dask.resources.eks import find_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_eks_dask.hooks.aws import AwsClients
    from airflow_eks_dask.preflight.wanted import Wanted


def version(aws: AwsClients, wanted: Wanted) -> Iterator[Finding]:
    """Whether EKS offers the version of Kubernetes."""
    offered = cluster_versions.offered_versions(aws)
    try:
        chosen = cluster_versions.choose(wanted.kubernetes_version, offered)
    except ResourceError as refusal:
        yield error(
            f"EKS does not offer Kubernetes {wanted.kubernetes_version}",
            str(refusal),
            "Choose one of these as kubernetes_version",
        )
        return
    if not next(each for each in offered if each.version == chosen).is_standard:
        yield warning(
            f"Kubernetes {chosen} has extended support only",
            "a cluster with it costs several times as much, or is upgraded by AWS at once",
            f"Choose one of {', '.join(each.version for each in offered if each.is_standard)}",
        )


def instance_types(aws: AwsClients, wanted: Wanted) -> Iterator[Finding]:
    """Whether the zones have the types of instances."""
    if not wanted.instance_types:
        return
    zones = set(wanted.availability_zones or zone_ids(aws))
    pages = (
        aws.client("ec2")
        .get_paginator("describe_instance_type_offerings")
        .paginate(
            LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": wanted.instance_types}]
        )
    )
    offered: dict[str, set[str]] = {}
    for each in (each for page in pages for each in page["InstanceTypeOfferings"]):
        offered.setdefault(each["InstanceType"], set()).add(each["Location"])
    for instance_type in wanted.instance_types:
        lacking = zones - offered.get(instance_type, set())
        if lacking == zones:
            yield error(
                f"There are no instances of the type {instance_type}",
                f"AWS does not offer it in {', '.join(sorted(zones))}",
                "Choose another type, other zones or another region",
            )
        elif lacking:
            yield warning(
                f"Not all zones have instances of the type {instance_type}",
                f"AWS does not offer it in {', '.join(sorted(lacking))}",
                "Choose another type, or other zones, unless the nodes may be in the others only",
            )


def names(aws: AwsClients, wanted: Wanted) -> Iterator[Finding]:
    """Whether the names of cluster, database and bucket are free, or ours."""
    cluster = find_cluster(aws, wanted.cluster_name)
    if cluster is not None:
        yield from _whose(f"A cluster {wanted.cluster_name}", wanted, cluster.get("tags", {}))
    if wanted.database_identifier and (database := find_database(aws, wanted.database_identifier)):
        tags = ownership.as_mapping(database.get("TagList"))
        yield from _whose(f"A database {wanted.database_identifier}", wanted, tags)
    if wanted.bucket_name:
        plan = Bucket(cluster_name=wanted.cluster_name, bucket_name=wanted.bucket_name).plan(aws)
        if plan.action is Action.REFUSE:
            yield error(
                f"The bucket {wanted.bucket_name} can't be used", "; ".join(plan.reasons), "Choose another bucket_name"
            )


def _whose(what: str, wanted: Wanted, tags: Mapping[str, str]) -> Iterator[Finding]:
    if refusal := ownership.refusal(wanted.cluster_name, tags):
        yield error(f"{what} exists, and is not ours", refusal, "Choose another name, or give it as an existing one")
