"""
What has to change for a cluster to become what is wanted, and what can't.

Everywhere here ``wanted`` is the cluster that is wanted, and ``found`` what AWS says of the one that is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eks_dask.resources.eks import Step, differs, is_unknown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from airflow_eks_dask.resources.cluster import EksCluster

AUTHENTICATION_MODES = ("CONFIG_MAP", "API_AND_CONFIG_MAP", "API")
"""In the order in which a cluster can go from one to the next, never back."""

Change = tuple[str, dict[str, Any]]
"""Why something is changed, in words, and what ``UpdateClusterConfig`` is told; nothing if it is as wanted."""

_NOTHING: Change = ("", {})


def refusals(wanted: EksCluster, found: dict[str, Any]) -> list[str]:
    """Return what is wanted and AWS can't change."""
    reasons = []
    if wanted.role_arn and differs(wanted.role_arn, found["roleArn"]):
        reasons.append(f"its role is {found['roleArn']}, not {wanted.role_arn}")
    cidr = found.get("kubernetesNetworkConfig", {}).get("serviceIpv4Cidr")
    if wanted.service_cidr and differs(wanted.service_cidr, cidr):
        reasons.append(f"its Services have addresses of {cidr}, not {wanted.service_cidr}")
    key = _key_arn(found)
    if wanted.secrets_key_arn and key and differs(wanted.secrets_key_arn, key):
        reasons.append(f"its secrets are encrypted with {key}, not {wanted.secrets_key_arn}")
    mode = _mode(found)
    if AUTHENTICATION_MODES.index(mode) > AUTHENTICATION_MODES.index(wanted.authentication_mode):
        reasons.append(f"its authentication mode is {mode}, and can't go back to {wanted.authentication_mode}")
    return [f"{reason}: AWS can't change that. Want what is there, or another cluster_name" for reason in reasons]


def config_steps(wanted: EksCluster, found: dict[str, Any]) -> list[Step]:
    """Return the changes of its configuration, one for each call that AWS takes."""
    changes = [
        _network(wanted, found["resourcesVpcConfig"]),
        _endpoint(wanted, found["resourcesVpcConfig"]),
        _authentication(wanted, found),
        _logging(wanted, found),
        _support(wanted, found),
        _protection(wanted, found),
    ]
    steps = [
        Step(reason, "update_cluster_config", {"name": wanted.cluster_name, **change})
        for reason, change in changes
        if change
    ]
    if wanted.secrets_key_arn and not _key_arn(found):
        arguments = {"clusterName": wanted.cluster_name, "encryptionConfig": encryption(wanted)}
        steps.append(Step("its secrets are not encrypted with a key", "associate_encryption_config", arguments))
    return steps


def endpoint_access(wanted: EksCluster) -> dict[str, Any]:
    """Return from where the API can be reached, as AWS takes it."""
    cidrs = {"publicAccessCidrs": wanted.public_access_cidrs} if wanted.public_access_cidrs else {}
    return {
        "endpointPublicAccess": bool(wanted.public_access_cidrs),
        "endpointPrivateAccess": wanted.endpoint_private_access,
        **cidrs,
    }


def encryption(wanted: EksCluster) -> list[dict[str, Any]]:
    """Return with what secrets are encrypted, as AWS takes it."""
    return [{"resources": ["secrets"], "provider": {"keyArn": wanted.secrets_key_arn}}]


def _network(wanted: EksCluster, found: dict[str, Any]) -> Change:
    subnets = bool(wanted.subnet_ids) and differs(wanted.subnet_ids, found["subnetIds"])
    groups = differs(wanted.security_group_ids, found.get("securityGroupIds"))
    if not subnets and not groups:
        return _NOTHING
    what = " and ".join(word for word, other in (("subnets", subnets), ("security groups", groups)) if other)
    network = {
        "subnetIds": wanted.subnet_ids if subnets else found["subnetIds"],
        "securityGroupIds": wanted.security_group_ids,
    }
    return f"it has other {what} than wanted", {"resourcesVpcConfig": network}


def _endpoint(wanted: EksCluster, found: dict[str, Any]) -> Change:
    access = endpoint_access(wanted)
    if is_unknown(wanted.public_access_cidrs) or not any(differs(access[key], found.get(key)) for key in access):
        return _NOTHING
    public = f"from {', '.join(wanted.public_access_cidrs)}" if wanted.public_access_cidrs else "from nowhere outside"
    private = "and" if wanted.endpoint_private_access else "but not"
    reason = f"its API is to be reached {public} {private} from its VPC, and can be otherwise"
    return reason, {"resourcesVpcConfig": access}


def _authentication(wanted: EksCluster, found: dict[str, Any]) -> Change:
    position = AUTHENTICATION_MODES.index(_mode(found))
    if position >= AUTHENTICATION_MODES.index(wanted.authentication_mode):
        return _NOTHING
    reason = f"its authentication mode is {_mode(found)}, not {wanted.authentication_mode}"
    return reason, {"accessConfig": {"authenticationMode": AUTHENTICATION_MODES[position + 1]}}


def _logging(wanted: EksCluster, found: dict[str, Any]) -> Change:
    setups = found.get("logging", {}).get("clusterLogging", ())
    logged = {log_type for setup in setups if setup["enabled"] for log_type in setup["types"]}
    types = set(wanted.log_types)
    if logged == types:
        return _NOTHING
    changes = ((sorted(types - logged), True), (sorted(logged - types), False))
    setup = [{"types": changed, "enabled": enabled} for changed, enabled in changes if changed]
    return f"it logs {_listed(logged)}, not {_listed(types)}", {"logging": {"clusterLogging": setup}}


def _support(wanted: EksCluster, found: dict[str, Any]) -> Change:
    current = found.get("upgradePolicy", {}).get("supportType", "EXTENDED")
    if current == wanted.support_type:
        return _NOTHING
    reason = f"its support is {current}, not {wanted.support_type}"
    return reason, {"upgradePolicy": {"supportType": wanted.support_type}}


def _protection(wanted: EksCluster, found: dict[str, Any]) -> Change:
    if bool(found.get("deletionProtection")) == wanted.deletion_protection:
        return _NOTHING
    reason = f"its deletion protection is {'off' if wanted.deletion_protection else 'on'}"
    return reason, {"deletionProtection": wanted.deletion_protection}


def _key_arn(found: dict[str, Any]) -> str | None:
    """Return the KMS key that encrypts a cluster's secrets."""
    keys = [config.get("provider", {}).get("keyArn") for config in found.get("encryptionConfig") or ()]
    return keys[0] if keys else None


def _mode(found: dict[str, Any]) -> str:
    return str(found.get("accessConfig", {}).get("authenticationMode", "CONFIG_MAP"))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "nothing"
