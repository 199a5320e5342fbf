"""The tags by which things can be told that a cluster made, and not we: load balancers, interfaces, volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME_TAGS = ("elbv2.k8s.aws/cluster", "cluster.k8s.amazonaws.com/name", "eks:eks-cluster-name", "eks:cluster-name")
"""Tags whose value is the cluster's name: of the load balancer controller, the network plugin, EKS itself."""


def cluster_tags(cluster_name: str) -> dict[str, str]:
    """Return the tags of which each says that a thing was made by this cluster. One that it only uses is ``shared``."""
    return {f"kubernetes.io/cluster/{cluster_name}": "owned", **dict.fromkeys(_NAME_TAGS, cluster_name)}


def is_of_cluster(cluster_name: str, tags: Mapping[str, str]) -> bool:
    """Whether something with these tags was made by this cluster."""
    return any(tags.get(key) == value for key, value in cluster_tags(cluster_name).items())
