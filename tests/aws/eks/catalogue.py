"""What EKS offers: versions of Kubernetes and of add-ons, and access policies."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

RELEASED = {"1.31": -800, "1.32": -640, "1.33": -460, "1.34": -340, "1.35": -120}
"""Days from today to the release of each version."""
DEFAULT = "1.34"
STANDARD_SUPPORT, EXTENDED_SUPPORT = timedelta(days=425), timedelta(days=790)

ADDONS = {
    "vpc-cni": ("v1.20.4", "networking"),
    "coredns": ("v1.12.4", "networking"),
    "kube-proxy": ("v{version}.3", "networking"),
    "metrics-server": ("v0.8.0", "observability"),
    "eks-pod-identity-agent": ("v1.3.9", "security"),
    "aws-ebs-csi-driver": ("v1.51.1", "storage"),
}
BUILDS = (3, 2, 1)
"""Of each version of an add-on; the second is the default, as the newest is often not."""

ACCESS_POLICIES = tuple(
    f"AmazonEKS{name}Policy" for name in ("ClusterAdmin", "Admin", "AdminView", "Edit", "View", "AutoNode")
)


def cluster_versions() -> list[dict[str, Any]]:
    """Return the versions of Kubernetes, newest first, as ``DescribeClusterVersions`` gives them."""
    return [_cluster_version(version) for version in sorted(RELEASED, reverse=True)]


def _cluster_version(version: str) -> dict[str, Any]:
    now = datetime.now(timezone.utc)
    released = now + timedelta(days=RELEASED[version])
    if now < released + STANDARD_SUPPORT:
        support = "STANDARD_SUPPORT"
    elif now < released + EXTENDED_SUPPORT:
        support = "EXTENDED_SUPPORT"
    else:
        support = "UNSUPPORTED"
    return {
        "clusterVersion": version,
        "clusterType": "eks",
        "defaultPlatformVersion": "eks.9",
        "defaultVersion": version == DEFAULT,
        "releaseDate": released,
        "endOfStandardSupportDate": released + STANDARD_SUPPORT,
        "endOfExtendedSupportDate": released + EXTENDED_SUPPORT,
        "status": support.lower().replace("_", "-"),
        "versionStatus": support,
        "kubernetesPatchVersion": f"{version}.3",
    }


def addon_versions(addon: str, kubernetes: str) -> list[str]:
    """Return the versions of an add-on for one of Kubernetes, newest first; none for an unknown add-on."""
    if addon not in ADDONS:
        return []
    base = ADDONS[addon][0].format(version=kubernetes)
    return [f"{base}-eksbuild.{build}" for build in BUILDS]


def default_addon_version(addon: str, kubernetes: str) -> str:
    """Return the version that an add-on gets if none is asked for."""
    return addon_versions(addon, kubernetes)[1]


def addon(name: str, kubernetes: list[str]) -> dict[str, Any]:
    """Return an add-on and its versions for some of Kubernetes, as ``DescribeAddonVersions`` gives them."""
    compatible: dict[str, list[dict[str, Any]]] = {}
    for version in sorted(kubernetes, reverse=True):
        for each in addon_versions(name, version):
            compatible.setdefault(each, []).append(
                {
                    "clusterVersion": version,
                    "platformVersions": ["*"],
                    "defaultVersion": each == default_addon_version(name, version),
                }
            )
    return {
        "addonName": name,
        "type": ADDONS[name][1],
        "publisher": "eks",
        "owner": "aws",
        "addonVersions": [
            {
                "addonVersion": version,
                "architecture": ["amd64", "arm64"],
                "computeTypes": ["ec2"],
                "compatibilities": compatibilities,
                "requiresConfiguration": False,
                "requiresIamPermissions": name in ("vpc-cni", "aws-ebs-csi-driver"),
            }
            for version, compatibilities in compatible.items()
        ],
    }
