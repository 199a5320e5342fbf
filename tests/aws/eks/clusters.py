"""Clusters, their versions and updates."""

from __future__ import annotations

import base64
import uuid
from typing import Any

from tests.aws.eks import catalogue, network
from tests.aws.eks.store import (
    Cluster,
    InUseError,
    NotFoundError,
    ParameterError,
    RequestError,
    Shape,
    Store,
    arn_of,
    now,
)

LOG_TYPES = ("api", "audit", "authenticator", "controllerManager", "scheduler")
MODES = ("CONFIG_MAP", "API_AND_CONFIG_MAP", "API")
ENDPOINT = {"endpointPublicAccess": True, "endpointPrivateAccess": False, "publicAccessCidrs": ["0.0.0.0/0"]}

_REAL: Shape = {}
"""What clusters tell of their API, if there is a real one."""


def lead_to(endpoint: str, authority_data: str) -> None:
    """
    Have the API of all clusters be one that is there.

    :param authority_data: The certificate of its authority: PEM, in base64.
    """
    _REAL.update(endpoint=endpoint, certificateAuthority={"data": authority_data})


class Clusters(Store):
    """The operations on clusters."""

    def describe_cluster_versions(
        self,
        cluster_versions: list[str] | None = None,
        default_only: bool = False,
        include_all: bool = False,
        status: str | None = None,
        version_status: str | None = None,
        **_: Any,
    ) -> Shape:
        versions = [
            each
            for each in catalogue.cluster_versions()
            if each["clusterVersion"] in (cluster_versions or (each["clusterVersion"],))
            and (each["defaultVersion"] or not default_only)
            and each["status"] == (status or each["status"])
            and each["versionStatus"] == (version_status or each["versionStatus"])
            and (include_all or each["versionStatus"] != "UNSUPPORTED")
        ]
        return {"clusterVersions": versions}

    def create_cluster(
        self,
        name: str,
        role_arn: str,
        resources_vpc_config: Shape,
        version: str | None = None,
        logging: Shape | None = None,
        kubernetes_network_config: Shape | None = None,
        encryption_config: list[Shape] | None = None,
        access_config: Shape | None = None,
        upgrade_policy: Shape | None = None,
        deletion_protection: bool = False,
        tags: dict[str, str] | None = None,
        **_: Any,
    ) -> Shape:
        if name in self.clusters:
            raise InUseError(f"Cluster already exists with name: {name}")
        version = version or catalogue.DEFAULT
        if version not in catalogue.RELEASED:
            raise ParameterError(f"unsupported Kubernetes version {version}")
        if ":role/" not in role_arn:
            raise ParameterError(f"Role {role_arn} is not valid")
        built = network.build(self, name, resources_vpc_config["subnetIds"])
        shape: Shape = {
            "name": name,
            "arn": self.arn("cluster", name),
            "createdAt": now(),
            "version": version,
            "roleArn": role_arn,
            "resourcesVpcConfig": {**ENDPOINT, "securityGroupIds": [], **resources_vpc_config, **built},
            "kubernetesNetworkConfig": {
                "serviceIpv4Cidr": "172.20.0.0/16",
                "ipFamily": "ipv4",
                **(kubernetes_network_config or {}),
            },
            "logging": _logging({}, logging or {}),
            "status": "CREATING",
            "platformVersion": "eks.9",
            "tags": dict(tags or {}),
            "encryptionConfig": encryption_config or [],
            "health": {"issues": []},
            "accessConfig": {
                "authenticationMode": "CONFIG_MAP",
                "bootstrapClusterCreatorAdminPermissions": True,
                **(access_config or {}),
            },
            "upgradePolicy": upgrade_policy or {"supportType": "EXTENDED"},
            "deletionProtection": deletion_protection,
        }
        self.clusters[name] = Cluster(shape)
        self.create("cluster", self.clusters, name, shape, lambda: self._open(name))
        return {"cluster": shape}

    def _open(self, name: str) -> None:
        identity = uuid.uuid4().hex.upper()
        cluster = self.clusters[name]
        cluster.of.update(
            endpoint=f"https://{identity}.gr7.{self.region_name}.eks.amazonaws.com",
            identity={"oidc": {"issuer": f"https://oidc.eks.{self.region_name}.amazonaws.com/id/{identity}"}},
            certificateAuthority={"data": base64.b64encode(f"the CA of {name}".encode()).decode()},
        )
        cluster.of.update(_REAL)
        access = cluster.of["accessConfig"]
        if access["bootstrapClusterCreatorAdminPermissions"] and access["authenticationMode"] != "CONFIG_MAP":
            self.admit_creator(cluster)

    def admit_creator(self, cluster: Cluster) -> None:
        """Give who created a cluster all rights in it."""
        raise NotImplementedError

    def describe_cluster(self, name: str) -> Shape:
        return {"cluster": self.cluster(name).of}

    def list_clusters(self, **_: Any) -> Shape:
        return {"clusters": sorted(self.clusters)}

    def delete_cluster(self, name: str) -> Shape:
        cluster = self.cluster(name)
        if cluster.of["deletionProtection"]:
            raise RequestError(f"Cluster {name} has deletion protection enabled. Disable it to delete the cluster.")
        if cluster.nodegroups:
            raise InUseError("Cluster has nodegroups attached")
        if cluster.of["status"] not in ("ACTIVE", "FAILED"):
            raise InUseError(f"Cluster {name} is in status {cluster.of['status']}")
        group = cluster.of["resourcesVpcConfig"]["clusterSecurityGroupId"]
        self.delete("cluster", self.clusters, name, cluster.of, lambda: network.demolish(self, name, group))
        return {"cluster": cluster.of}

    def update_cluster_version(self, name: str, version: str, **_: Any) -> Shape:
        cluster = self.cluster(name)
        versions = sorted(catalogue.RELEASED)
        current = cluster.of["version"]
        if version not in versions or versions.index(version) != versions.index(current) + 1:
            raise ParameterError(f"Unsupported Kubernetes minor version update from {current} to {version}")
        return self.update("cluster", cluster, cluster.of, "VersionUpdate", {"version": version}, {"Version": version})

    def update_cluster_config(self, name: str, **wanted: Any) -> Shape:
        wanted.pop("client_request_token", None)
        if len(wanted) != 1:
            raise ParameterError("Only one type of update can be performed at a time")
        cluster = self.cluster(name)
        (parameter,) = wanted
        update_type, change = getattr(self, f"_new_{parameter}")(cluster.of, wanted[parameter])
        if all(cluster.of.get(key) == value for key, value in change.items()):
            raise ParameterError(f"No changes needed for the {update_type} of cluster {name}")
        return self.update("cluster", cluster, cluster.of, update_type, change, {})

    def _new_resources_vpc_config(self, shape: Shape, wanted: Shape) -> tuple[str, Shape]:
        endpoint = wanted.keys() & ENDPOINT.keys()
        if endpoint and len(endpoint) < len(wanted):
            raise ParameterError("Subnets and endpoint access can't be updated at the same time")
        change = {"resourcesVpcConfig": {**shape["resourcesVpcConfig"], **wanted}}
        return ("EndpointAccessUpdate" if endpoint else "VpcConfigUpdate"), change

    def _new_logging(self, shape: Shape, wanted: Shape) -> tuple[str, Shape]:
        return "LoggingUpdate", {"logging": _logging(shape["logging"], wanted)}

    def _new_access_config(self, shape: Shape, wanted: Shape) -> tuple[str, Shape]:
        current, mode = shape["accessConfig"]["authenticationMode"], wanted["authenticationMode"]
        if MODES.index(mode) < MODES.index(current):
            raise ParameterError(f"Unsupported authentication mode update from {current} to {mode}")
        return "AccessConfigUpdate", {"accessConfig": {**shape["accessConfig"], **wanted}}

    def _new_upgrade_policy(self, shape: Shape, wanted: Shape) -> tuple[str, Shape]:
        return "UpgradePolicyUpdate", {"upgradePolicy": wanted}

    def _new_deletion_protection(self, shape: Shape, wanted: bool) -> tuple[str, Shape]:
        return "DeletionProtectionUpdate", {"deletionProtection": wanted}

    def associate_encryption_config(self, cluster_name: str, encryption_config: list[Shape], **_: Any) -> Shape:
        cluster = self.cluster(cluster_name)
        if cluster.of["encryptionConfig"]:
            raise ParameterError("Encryption is already enabled for this cluster")
        change = {"encryptionConfig": encryption_config}
        return self.update("cluster", cluster, cluster.of, "AssociateEncryptionConfig", change, {})

    def list_updates(
        self, name: str, nodegroup_name: str | None = None, addon_name: str | None = None, **_: Any
    ) -> Shape:
        cluster = self.cluster(name)
        of = self._updated(cluster, nodegroup_name, addon_name)
        return {"updateIds": [key for key, (_, shape) in cluster.updates.items() if shape is of]}

    def describe_update(
        self, name: str, update_id: str, nodegroup_name: str | None = None, addon_name: str | None = None
    ) -> Shape:
        cluster = self.cluster(name)
        update, of = cluster.updates.get(update_id, (None, None))
        if update is None or of is not self._updated(cluster, nodegroup_name, addon_name):
            raise NotFoundError(f"No update found for ID: {update_id}")
        return {"update": update}

    def _updated(self, cluster: Cluster, nodegroup: str | None, addon: str | None) -> Shape | None:
        if nodegroup is not None:
            return cluster.nodegroups.get(nodegroup)
        return cluster.of if addon is None else cluster.addons.get(addon)

    def list_fargate_profiles(self, cluster_name: str, **_: Any) -> Shape:
        self.cluster(cluster_name)
        return {"fargateProfileNames": []}

    def _tagged(self, arn: str) -> Shape:
        for shape in self.things():
            if arn_of(shape) == arn:
                return shape
        raise NotFoundError(f"Resource was not found: {arn}")

    def tag_resource(self, resource_arn: str, tags: dict[str, str]) -> Shape:
        self._tagged(resource_arn)["tags"].update(tags)
        return {}

    def untag_resource(self, resource_arn: str, tag_keys: list[str]) -> Shape:
        tags = self._tagged(resource_arn)["tags"]
        for key in tag_keys:
            tags.pop(key, None)
        return {}

    def list_tags_for_resource(self, resource_arn: str) -> Shape:
        return {"tags": self._tagged(resource_arn)["tags"]}


def _logging(current: Shape, wanted: Shape) -> Shape:
    enabled = {each for setup in current.get("clusterLogging", ()) if setup["enabled"] for each in setup["types"]}
    for setup in wanted.get("clusterLogging", ()):
        types = set(setup["types"])
        enabled = enabled | types if setup.get("enabled") else enabled - types
    setups = ((True, enabled), (False, set(LOG_TYPES) - enabled))
    return {"clusterLogging": [{"types": sorted(types), "enabled": on} for on, types in setups if types]}
