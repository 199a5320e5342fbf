"""Which versions of Kubernetes EKS offers at the moment, and which of them is meant."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_eks_dask.resources.base import ResourceError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eks_dask.hooks.aws import AwsClients

DEFAULT = "default"
"""Stands for the version that AWS takes if none is asked for."""

LATEST = "latest"
"""Stands for the newest version with standard support."""

VERSION = re.compile(rf"{DEFAULT}|{LATEST}|\d+\.\d+")


@dataclass(frozen=True)
class ClusterVersion:
    """
    A version that clusters can have.

    :param version: Such as ``1.34``.
    :param is_default: Whether AWS takes it if none is asked for.
    :param is_standard: Whether it has standard support; extended support costs several times as much.
    """

    version: str
    is_default: bool = False
    is_standard: bool = True


def offered_versions(aws: AwsClients) -> list[ClusterVersion]:
    """
    Ask AWS which versions it offers.

    Source: https://docs.aws.amazon.com/eks/latest/APIReference/API_DescribeClusterVersions.html.

    :return: The newest first.
    """
    pages = aws.client("eks").get_paginator("describe_cluster_versions").paginate(clusterType="eks")
    versions = [
        ClusterVersion(each["clusterVersion"], each["defaultVersion"], each["versionStatus"] == "STANDARD_SUPPORT")
        for page in pages
        for each in page["clusterVersions"]
    ]
    return sorted(versions, key=lambda each: as_numbers(each.version), reverse=True)


def as_numbers(version: str) -> tuple[int, ...]:
    """Return the numbers in a version, which compare as versions do: 1.9 is older than 1.10."""
    return tuple(int(number) for number in re.findall(r"\d+", version))


def is_moving(wanted: str) -> bool:
    """Whether what is wanted names no version, but one that changes with time."""
    return wanted in (DEFAULT, LATEST)


def choose(wanted: str, offered: Sequence[ClusterVersion]) -> str:
    """
    Return the version that is meant.

    :param wanted: A version, :data:`DEFAULT` or :data:`LATEST`.
    :raises ResourceError: AWS doesn't offer it.
    """
    for each in sorted(offered, key=lambda each: as_numbers(each.version), reverse=True):
        if each.version == wanted or (wanted == DEFAULT and each.is_default) or (wanted == LATEST and each.is_standard):
            return each.version
    offers = ", ".join(each.version for each in offered) or "nothing"
    raise ResourceError(f"version = {wanted!r}: AWS offers {offers}")


def next_version(current: str, wanted: str, offered: Sequence[ClusterVersion]) -> str | None:
    """
    Return the version to upgrade to next, as AWS upgrades by one minor version at a time; None: there is no need.

    :param current: The version that a cluster has.
    :param wanted: The version that it is to have in the end.
    :raises ResourceError: AWS doesn't offer the wanted version, or the cluster is newer.
    """
    if as_numbers(wanted) < as_numbers(current):
        raise ResourceError(
            f"its version is {current}, and AWS can't go back to {wanted}. At the end of their support AWS upgrades "
            f"clusters by itself: give version={current!r}"
        )
    if wanted == current:
        return None
    choose(wanted, offered)
    newer = [each.version for each in offered if as_numbers(each.version) > as_numbers(current)]
    return min(newer, key=as_numbers)
