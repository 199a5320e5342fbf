"""
What has to change for a node group to become what is wanted, and what can't.

Everywhere here ``wanted`` is the node group that is wanted, and ``found`` what AWS says of the one that is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eks_dask.resources.cluster_versions import as_numbers
from airflow_eks_dask.resources.eks import Step, differs

if TYPE_CHECKING:
    from airflow_eks_dask.resources.nodegroup import EksNodegroup

CUSTOM_AMI = "CUSTOM"
"""The type of an AMI that a launch template names."""

Taints = dict[tuple[str, str], dict[str, str]]


def fixed_differences(wanted: EksNodegroup, found: dict[str, Any]) -> list[str]:
    """Return what is wanted and can only be had by a new node group."""
    pairs = {
        "role": (wanted.node_role_arn, found["nodeRole"]),
        "subnets": (wanted.subnet_ids, found["subnets"]),
        "instance types": (wanted.instance_types, found.get("instanceTypes")),
        "capacity type": (wanted.capacity_type, found.get("capacityType", "ON_DEMAND")),
        "AMI type": (wanted.ami_type, found.get("amiType", CUSTOM_AMI)),
        "disk size": (wanted.disk_size, found.get("diskSize")),
        "launch template": (_template(wanted.launch_template), _template_like(wanted.launch_template, found)),
    }
    return [
        f"its {what}: {_shown(there)}, not {_shown(value)}"
        for what, (value, there) in pairs.items()
        if (value or what == "launch template") and differs(value, there)
    ]


def version_refusals(wanted: EksNodegroup, found: dict[str, Any]) -> list[str]:
    """Return why its AMI can't become the one that is wanted."""
    release, there = wanted.release_version, found.get("releaseVersion", "")
    if not release or not differs(release, there) or as_numbers(release) > as_numbers(there):
        return []
    return [f"the version of its AMI is {there}, and AWS can't go back to {release}"]


def config_steps(wanted: EksNodegroup, found: dict[str, Any]) -> list[Step]:
    """Return the change of its scaling, labels, taints and update configuration: AWS takes them all in one call."""
    changes: dict[str, Any] = {}
    reasons: list[str] = []
    current = found["scalingConfig"]
    within = min(max(current["desiredSize"], wanted.min_size), wanted.max_size)
    sizing = scaling(wanted, within)
    if any(current[key] != value for key, value in sizing.items()):
        changes["scalingConfig"] = sizing
        sizes = f"{current['desiredSize']} nodes, {current['minSize']} to {current['maxSize']}"
        reasons.append(f"it has {sizes}; wanted are {within}, {wanted.min_size} to {wanted.max_size}")
    if labels := _label_changes(wanted.labels, found.get("labels") or {}):
        changes["labels"] = labels
        reasons.append("its labels are others than wanted")
    if taints := _taint_changes(_by_key(wanted.taints), _by_key(found.get("taints") or [])):
        changes["taints"] = taints
        reasons.append("its taints are others than wanted")
    there = found.get("updateConfig") or {}
    if any(there.get(key) != value for key, value in wanted.update_config.items()):
        changes["updateConfig"] = wanted.update_config
        reasons.append(f"its update configuration is {there}, not {wanted.update_config}")
    return [Step("; ".join(reasons), "update_nodegroup_config", {**wanted.names, **changes})] if changes else []


def version_steps(wanted: EksNodegroup, found: dict[str, Any], cluster_version: str) -> list[Step]:
    """
    Return the change of its version of Kubernetes, AMI or launch template, which replaces all nodes.

    :param cluster_version: The version of its cluster.
    """
    changes: dict[str, Any] = {}
    reasons: list[str] = []
    # A launch template's own AMI has its version within.
    if found.get("amiType") != CUSTOM_AMI:
        release = wanted.release_version
        version = ".".join(release.split(".")[:2]) if release else cluster_version
        if found["version"] != version:
            changes["version"] = version
            reasons.append(
                f"its version is {found['version']}, not {version} as its {'AMI' if release else 'cluster'}'s"
            )
        if release and differs(release, found.get("releaseVersion")):
            changes["releaseVersion"] = release
            reasons.append(f"the version of its AMI is {found.get('releaseVersion')}, not {release}")
    there, template = found.get("launchTemplate", {}).get("version"), wanted.launch_template
    if "version" in template and differs(template["version"], there):
        changes["launchTemplate"] = template
        reasons.append(f"the version of its launch template is {there}, not {template['version']}")
    if not changes:
        return []
    force = {"force": True} if wanted.force_upgrade else {}
    return [Step("; ".join(reasons), "update_nodegroup_version", {**wanted.names, **changes, **force})]


def scaling(wanted: EksNodegroup, size: int) -> dict[str, int]:
    """Return how many nodes there may be, as AWS takes it, and how many there are to be now."""
    return {"minSize": wanted.min_size, "maxSize": wanted.max_size, "desiredSize": size}


def _label_changes(wanted: dict[str, str], found: dict[str, str]) -> dict[str, Any]:
    changes = {
        "addOrUpdateLabels": {key: value for key, value in wanted.items() if found.get(key) != value},
        "removeLabels": sorted(found.keys() - wanted.keys()),
    }
    return {key: value for key, value in changes.items() if value}


def _taint_changes(wanted: Taints, found: Taints) -> dict[str, Any]:
    changes = {
        "addOrUpdateTaints": [taint for key, taint in wanted.items() if found.get(key) != taint],
        "removeTaints": [taint for key, taint in found.items() if key not in wanted],
    }
    return {key: value for key, value in changes.items() if value}


def _by_key(taints: list[dict[str, str]]) -> Taints:
    """Return taints by what tells one from another; none has no value at all."""
    return {(taint["key"], taint["effect"]): {**taint, "value": taint.get("value") or ""} for taint in taints}


def _template(template: dict[str, str]) -> dict[str, str]:
    """Return a launch template without its version: what AWS can't change."""
    return {key: value for key, value in template.items() if key != "version"}


def _template_like(wanted: dict[str, str], found: dict[str, Any]) -> dict[str, str]:
    """Return the launch template that is used, by what the wanted one is given by: id or name."""
    template = _template(found.get("launchTemplate") or {})
    return {key: value for key, value in template.items() if key in wanted} if wanted else template


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "none")
