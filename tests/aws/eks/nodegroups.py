"""Managed node groups."""

from __future__ import annotations

import uuid
from typing import Any

from moto.ec2.models import ec2_backends

from tests.aws.eks.network import ERRORS
from tests.aws.eks.store import Cluster, InUseError, NotFoundError, ParameterError, RequestError, Shape, Store, now

OF_THE_TEMPLATE = ("disk_size", "remote_access")
"""What can't be said beside a launch template."""


class Nodegroups(Store):
    """The operations on node groups."""

    def _nodegroup(self, cluster_name: str, name: str) -> tuple[Cluster, Shape]:
        cluster = self.cluster(cluster_name)
        if name not in cluster.nodegroups:
            raise NotFoundError(f"No node group found for name: {name}.")
        return cluster, cluster.nodegroups[name]

    def create_nodegroup(
        self,
        cluster_name: str,
        nodegroup_name: str,
        subnets: list[str],
        node_role: str,
        scaling_config: Shape | None = None,
        ami_type: str | None = None,
        capacity_type: str = "ON_DEMAND",
        instance_types: list[str] | None = None,
        labels: dict[str, str] | None = None,
        taints: list[Shape] | None = None,
        update_config: Shape | None = None,
        launch_template: Shape | None = None,
        version: str | None = None,
        release_version: str | None = None,
        tags: dict[str, str] | None = None,
        **options: Any,
    ) -> Shape:
        cluster = self.active_cluster(cluster_name)
        if nodegroup_name in cluster.nodegroups:
            raise InUseError(f"NodeGroup already exists with name {nodegroup_name} and cluster name {cluster_name}")
        if ":role/" not in node_role:
            raise ParameterError(f"The role {node_role} is not valid")
        version = version or cluster.of["version"]
        shape: Shape = {
            "nodegroupName": nodegroup_name,
            "nodegroupArn": self.arn("nodegroup", cluster_name, nodegroup_name, str(uuid.uuid4())),
            "clusterName": cluster_name,
            "version": version,
            "releaseVersion": release_version or _release(version),
            "createdAt": now(),
            "modifiedAt": now(),
            "status": "CREATING",
            "capacityType": capacity_type,
            "scalingConfig": scaling_config or {"minSize": 1, "maxSize": 2, "desiredSize": 2},
            "subnets": subnets,
            "nodeRole": node_role,
            "labels": labels or {},
            "taints": taints or [],
            "resources": {"autoScalingGroups": [{"name": f"eks-{nodegroup_name}"}]},
            "health": {"issues": []},
            "updateConfig": update_config or {"maxUnavailable": 1},
            "tags": dict(tags or {}),
            "amiType": ami_type or "AL2023_x86_64_STANDARD",
        }
        if launch_template is None:
            shape.update(
                instanceTypes=instance_types or ["t3.medium"],
                diskSize=options.get("disk_size", 20),
                remoteAccess=options.get("remote_access"),
            )
        else:
            if clashing := options.keys() & set(OF_THE_TEMPLATE):
                raise ParameterError(f"With a launch template there can't be: {', '.join(sorted(clashing))}")
            shape.update(instanceTypes=instance_types, launchTemplate=self._launch_template(launch_template))
        cluster.nodegroups[nodegroup_name] = shape
        self.create(
            "nodegroup", cluster.nodegroups, nodegroup_name, shape, lambda: self.admit_nodes(cluster, node_role)
        )
        return {"nodegroup": shape}

    def _launch_template(self, wanted: Shape) -> Shape:
        ec2 = ec2_backends[self.account_id][self.region_name]
        try:
            (found,) = ec2.describe_launch_templates(
                template_names=[wanted["name"]] if "name" in wanted else None,
                template_ids=[wanted["id"]] if "id" in wanted else None,
            )
        except ERRORS:
            raise RequestError(f"You must specify a launch template that exists: {wanted}") from None
        version = wanted.get("version", str(found.default_version_number))
        return {"id": found.id, "name": found.name, "version": version}

    def admit_nodes(self, cluster: Cluster, role_arn: str) -> None:
        """Let nodes with a role join a cluster."""
        raise NotImplementedError

    def describe_nodegroup(self, cluster_name: str, nodegroup_name: str) -> Shape:
        return {"nodegroup": self._nodegroup(cluster_name, nodegroup_name)[1]}

    def list_nodegroups(self, cluster_name: str, **_: Any) -> Shape:
        return {"nodegroups": sorted(self.cluster(cluster_name).nodegroups)}

    def delete_nodegroup(self, cluster_name: str, nodegroup_name: str) -> Shape:
        cluster, shape = self._nodegroup(cluster_name, nodegroup_name)
        if shape["status"] in ("UPDATING", "DELETING"):
            raise InUseError(f"Nodegroup {nodegroup_name} is in status {shape['status']}")
        self.delete("nodegroup", cluster.nodegroups, nodegroup_name, shape)
        return {"nodegroup": shape}

    def update_nodegroup_config(
        self,
        cluster_name: str,
        nodegroup_name: str,
        labels: Shape | None = None,
        taints: Shape | None = None,
        scaling_config: Shape | None = None,
        update_config: Shape | None = None,
        **_: Any,
    ) -> Shape:
        cluster, shape = self._nodegroup(cluster_name, nodegroup_name)
        scaling = {**shape["scalingConfig"], **(scaling_config or {})}
        if not scaling["minSize"] <= scaling["desiredSize"] <= scaling["maxSize"]:
            raise ParameterError(f"desired capacity {scaling['desiredSize']} must be between min and max: {scaling}")
        change: Shape = {"scalingConfig": scaling, "updateConfig": update_config or shape["updateConfig"]}
        if labels is not None:
            kept = {key: value for key, value in shape["labels"].items() if key not in labels.get("removeLabels", ())}
            change["labels"] = {**kept, **labels.get("addOrUpdateLabels", {})}
        if taints is not None:
            change["taints"] = _tainted(shape["taints"], taints)
        return self.update("nodegroup", cluster, shape, "ConfigUpdate", change, {})

    def update_nodegroup_version(
        self,
        cluster_name: str,
        nodegroup_name: str,
        version: str | None = None,
        release_version: str | None = None,
        launch_template: Shape | None = None,
        **_: Any,
    ) -> Shape:
        cluster, shape = self._nodegroup(cluster_name, nodegroup_name)
        new = version or cluster.of["version"] if launch_template is None else shape["version"]
        if float(new) > float(cluster.of["version"]):
            raise ParameterError(f"Nodes of version {new} are newer than the cluster, {cluster.of['version']}")
        change: Shape = {"version": new, "releaseVersion": release_version or _release(new)}
        if launch_template is not None:
            if "launchTemplate" not in shape:
                raise ParameterError("The node group was not created with a launch template")
            change["launchTemplate"] = self._launch_template(launch_template)
        return self.update("nodegroup", cluster, shape, "VersionUpdate", change, {"Version": new})


def _release(version: str) -> str:
    return f"{version}.3-20261101"


def _tainted(current: list[Shape], wanted: Shape) -> list[Shape]:
    def which(taint: Shape) -> tuple[str, str]:
        return taint["key"], taint["effect"]

    taints = {which(taint): taint for taint in current}
    for taint in wanted.get("removeTaints", ()):
        taints.pop(which(taint), None)
    taints.update({which(taint): taint for taint in wanted.get("addOrUpdateTaints", ())})
    return list(taints.values())
