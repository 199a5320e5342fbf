"""Checks of values that a user gives, which need no call to AWS. Each returns what is wrong, in words, or nothing."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.resources.base import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

CLUSTER_NAME = re.compile(r"[0-9A-Za-z][A-Za-z0-9_-]{0,99}")
REGION = re.compile(r"[a-z]{2}(-[a-z]+)+-\d")
INSTANCE_TYPE = re.compile(r"[a-z][a-z0-9-]*\.[a-z0-9-]+")
ARN = re.compile(r"arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:(\d{0,12}|aws):.+")
KMS_KEY = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/.+")
SECURITY_GROUP_ID = re.compile(r"sg-[0-9a-f]{8,17}")
SUBNET_ID = re.compile(r"subnet-[0-9a-f]{8,17}")
VPC_PREFIXES = range(16, 25)
VPC_ID = re.compile(r"vpc-[0-9a-f]{8,17}")


def matches(field: str, value: str, pattern: re.Pattern[str], what: str) -> list[str]:
    """
    Check a text against a pattern.

    :param what: What it must be, for the message.
    """
    if value == UNKNOWN or pattern.fullmatch(value):
        return []
    return [f"{field} = {value!r}: must be {what}"]


def all_match(field: str, values: Iterable[str], pattern: re.Pattern[str], what: str) -> list[str]:
    """Check each of several texts, as :func:`matches` does; in a dry run none of them may be known."""
    if values == UNKNOWN:
        return []
    return [problem for value in values for problem in matches(field, value, pattern, what)]


def one_of(field: str, value: str, choices: Collection[str]) -> list[str]:
    """Check that a value is among some."""
    if value == UNKNOWN or value in choices:
        return []
    return [f"{field} = {value!r}: must be one of {', '.join(sorted(choices))}"]


def at_least(field: str, value: Any, least: float) -> list[str]:
    """Check that a number is not too small; in a dry run it may not be known."""
    return [] if value == UNKNOWN or value >= least else [f"{field} = {value}: must be {least} or more"]


def needed(field: str, value: object) -> list[str]:
    """Check that there is a value."""
    return [] if value not in (None, "", [], {}) else [f"{field}: is needed"]


def network(field: str, value: str) -> list[str]:
    """Check an IPv4 network in CIDR notation, without host bits."""
    if value == UNKNOWN:
        return []
    try:
        ipaddress.IPv4Network(value)
    except ValueError as error:
        return [f"{field} = {value!r}: must be an IPv4 network such as 10.0.0.0/16 ({error})"]
    return []


def vpc_network(field: str, value: str) -> list[str]:
    """Check the IPv4 network of a VPC, as :func:`network` does, and that it is of a size that takes our subnets."""
    if problems := network(field, value):
        return problems
    if value == UNKNOWN or ipaddress.IPv4Network(value).prefixlen in VPC_PREFIXES:
        return []
    return [f"{field} = {value!r}: must be from /{VPC_PREFIXES[0]} to /{VPC_PREFIXES[-1]}"]


def cluster_name(value: str) -> list[str]:
    """Check the name of an EKS cluster."""
    return matches("cluster_name", value, CLUSTER_NAME, "up to 100 letters, digits, - and _, first a letter or digit")


def region(value: str) -> list[str]:
    """Check the name of an AWS region."""
    return matches("region_name", value, REGION, "such as eu-central-1")
