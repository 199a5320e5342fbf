"""Add-ons."""

from __future__ import annotations

import json
import uuid
from typing import Any

from tests.aws.eks import catalogue
from tests.aws.eks.store import Cluster, InUseError, NotFoundError, ParameterError, Shape, Store, now


class Addons(Store):
    """The operations on add-ons."""

    def describe_addon_versions(
        self, kubernetes_version: str | None = None, addon_name: str | None = None, **_: Any
    ) -> Shape:
        versions = sorted(catalogue.RELEASED) if kubernetes_version is None else [kubernetes_version]
        names = sorted(catalogue.ADDONS) if addon_name is None else [addon_name]
        offered = [catalogue.addon(name, versions) for name in names if name in catalogue.ADDONS]
        return {"addons": [each for each in offered if each["addonVersions"]]}

    def describe_addon_configuration(self, addon_name: str, addon_version: str) -> Shape:
        schema = {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}
        return {
            "addonName": addon_name,
            "addonVersion": addon_version,
            "configurationSchema": json.dumps(schema),
            "podIdentityConfiguration": [],
        }

    def _addon(self, cluster_name: str, name: str) -> tuple[Cluster, Shape]:
        cluster = self.cluster(cluster_name)
        if name not in cluster.addons:
            raise NotFoundError(f"No addon: {name} found in cluster: {cluster_name}")
        return cluster, cluster.addons[name]

    def create_addon(
        self,
        cluster_name: str,
        addon_name: str,
        addon_version: str | None = None,
        service_account_role_arn: str | None = None,
        configuration_values: str | None = None,
        pod_identity_associations: list[Shape] | None = None,
        tags: dict[str, str] | None = None,
        **_: Any,
    ) -> Shape:
        cluster = self.active_cluster(cluster_name)
        if addon_name in cluster.addons:
            raise InUseError("Addon already exists.")
        if addon_name not in catalogue.ADDONS:
            raise ParameterError(f"Addon {addon_name} specified is not supported")
        kubernetes = cluster.of["version"]
        _check(addon_name, kubernetes, addon_version, configuration_values)
        arn = self.arn("addon", cluster_name, addon_name, str(uuid.uuid4()))
        shape: Shape = {
            "addonName": addon_name,
            "clusterName": cluster_name,
            "status": "CREATING",
            "addonVersion": addon_version or catalogue.default_addon_version(addon_name, kubernetes),
            "health": {"issues": []},
            "addonArn": arn,
            "createdAt": now(),
            "modifiedAt": now(),
            "serviceAccountRoleArn": service_account_role_arn,
            "tags": dict(tags or {}),
            "configurationValues": configuration_values,
            "podIdentityAssociations": self.associate(cluster, arn, pod_identity_associations or []),
        }
        cluster.addons[addon_name] = shape
        self.create("addon", cluster.addons, addon_name, shape)
        return {"addon": shape}

    def associate(self, cluster: Cluster, owner_arn: str, wanted: list[Shape]) -> list[str]:
        """Make exactly these pod identity associations for an add-on, and return their ARNs."""
        raise NotImplementedError

    def describe_addon(self, cluster_name: str, addon_name: str) -> Shape:
        return {"addon": self._addon(cluster_name, addon_name)[1]}

    def list_addons(self, cluster_name: str, **_: Any) -> Shape:
        return {"addons": sorted(self.cluster(cluster_name).addons)}

    def update_addon(
        self,
        cluster_name: str,
        addon_name: str,
        addon_version: str | None = None,
        service_account_role_arn: str | None = None,
        configuration_values: str | None = None,
        pod_identity_associations: list[Shape] | None = None,
        **_: Any,
    ) -> Shape:
        cluster, shape = self._addon(cluster_name, addon_name)
        _check(addon_name, cluster.of["version"], addon_version, configuration_values)
        change: Shape = {
            "addonVersion": addon_version or shape["addonVersion"],
            "health": {"issues": []},
            # What isn't given goes.
            "serviceAccountRoleArn": service_account_role_arn,
        }
        if configuration_values is not None:
            change["configurationValues"] = configuration_values
        if pod_identity_associations is not None:
            arns = self.associate(cluster, shape["addonArn"], pod_identity_associations)
            change["podIdentityAssociations"] = arns
        return self.update("addon", cluster, shape, "AddonUpdate", change, {"AddonVersion": change["addonVersion"]})

    def delete_addon(self, cluster_name: str, addon_name: str, **_: Any) -> Shape:
        cluster, shape = self._addon(cluster_name, addon_name)
        if shape["status"] == "DELETING":
            raise InUseError(f"Addon {addon_name} is in status DELETING")
        self.delete("addon", cluster.addons, addon_name, shape, lambda: self.associate(cluster, shape["addonArn"], []))
        return {"addon": shape}


def _check(name: str, kubernetes: str, version: str | None, configuration: str | None) -> None:
    if version is not None and version not in catalogue.addon_versions(name, kubernetes):
        raise ParameterError("Addon version specified is not supported")
    try:
        json.loads(configuration or "{}")
    except ValueError:
        raise ParameterError("ConfigurationValue provided in request is not supported") from None
