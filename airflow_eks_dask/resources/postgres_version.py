"""Versions of PostgreSQL on RDS: which are offered, which can follow another."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_eks_dask.resources.base import ResourceError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_eks_dask.hooks.aws import AwsClients

ENGINE = "postgres"
VERSION = re.compile(r"\d{1,3}(\.\d{1,3})?")


def offered(aws: AwsClients) -> list[str]:
    """
    Return all versions that RDS offers in the region for new databases.

    Source: https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_DescribeDBEngineVersions.html.
    """
    pages = aws.client("rds").get_paginator("describe_db_engine_versions").paginate(Engine=ENGINE)
    return [version["EngineVersion"] for page in pages for version in page["DBEngineVersions"]]


def upgrades(aws: AwsClients, version: str) -> list[str]:
    """Return all versions that RDS upgrades a database of some version to."""
    answer = aws.client("rds").describe_db_engine_versions(Engine=ENGINE, EngineVersion=version, IncludeAll=True)
    return [
        target["EngineVersion"]
        for found in answer["DBEngineVersions"]
        for target in found.get("ValidUpgradeTarget", ())
    ]


def latest(wanted: str, versions: Iterable[str]) -> str:
    """
    Return the latest of some versions that is the wanted one.

    :param wanted: A major version such as 17, or a full one such as 17.5.
    :raises ResourceError: None of them is.
    """
    fitting = [version for version in versions if fits(wanted, version)]
    if fitting:
        return max(fitting, key=numbers)
    choices = ", ".join(sorted(versions, key=numbers)) or "none"
    raise ResourceError(f"PostgreSQL {wanted} is not among the versions that RDS offers for it here: {choices}")


def fits(wanted: str, version: str) -> bool:
    """Whether a full version is the wanted one, or one of the wanted major version."""
    return numbers(version)[: len(numbers(wanted))] == numbers(wanted)


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, to compare it by."""
    return tuple(int(number) for number in re.findall(r"\d+", version))


def major(version: str) -> int:
    """Return the first number of a version."""
    return numbers(version)[0]
