"""Whose a resource is: the tag that everything made for a cluster carries, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

TAG = "airflow-eks-dask/cluster"
"""Its value is the name of the cluster that the resource was made for."""


def tags_of(cluster_name: str, extra: Mapping[str, str]) -> dict[str, str]:
    """
    Return the tags that a resource is to carry.

    :param cluster_name: The cluster that it is made for.
    :param extra: What the user wants on it beside the tag of ownership.
    """
    return {**extra, TAG: cluster_name}


def as_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return tags in the form that most services take: ``[{"Key": ..., "Value": ...}]``."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]


def as_mapping(tags: Iterable[Mapping[str, str]] | None) -> dict[str, str]:
    """Return tags that a service gave as a list."""
    return {tag["Key"]: tag["Value"] for tag in tags or ()}


def refusal(cluster_name: str, tags: Mapping[str, str]) -> str | None:
    """
    Say why a resource with these tags is not ours to change or delete; None if it is.

    :param cluster_name: The cluster that it would have been made for.
    """
    owner = tags.get(TAG)
    if owner == cluster_name:
        return None
    whose = f"it belongs to the cluster {owner!r}" if owner else "it was made by something else"
    return f"{whose}: it has not the tag {TAG}={cluster_name}. Choose another name, or give it as an existing one"


def tag_changes(wanted: Mapping[str, str], found: Mapping[str, str]) -> dict[str, str]:
    """Return the wanted tags that are missing or differ. Further tags on a resource are left alone."""
    return {key: value for key, value in wanted.items() if found.get(key) != value}
