"""Who may do what in a cluster, and what its pods may do in AWS."""

from __future__ import annotations

import secrets
import uuid
from typing import Any

from tests.aws.eks import catalogue
from tests.aws.eks.store import Cluster, InUseError, NotFoundError, ParameterError, RequestError, Shape, Store, now


class AccessEntries(Store):
    """The operations on access entries and their policies."""

    def _api_cluster(self, name: str) -> Cluster:
        cluster = self.active_cluster(name)
        if cluster.of["accessConfig"]["authenticationMode"] == "CONFIG_MAP":
            raise RequestError(
                "The cluster's authentication mode must be set to one of [API, API_AND_CONFIG_MAP] to perform this"
                " operation."
            )
        return cluster

    def _entry(self, cluster_name: str, principal_arn: str) -> tuple[Cluster, Shape]:
        cluster = self._api_cluster(cluster_name)
        if principal_arn not in cluster.access_entries:
            raise NotFoundError(f"The specified principalArn could not be found: {principal_arn}")
        return cluster, cluster.access_entries[principal_arn]

    def create_access_entry(
        self,
        cluster_name: str,
        principal_arn: str,
        kubernetes_groups: list[str] | None = None,
        username: str | None = None,
        type: str = "STANDARD",  # noqa: A002
        tags: dict[str, str] | None = None,
        **_: Any,
    ) -> Shape:
        cluster = self._api_cluster(cluster_name)
        if principal_arn in cluster.access_entries:
            raise InUseError("The specified access entry resource is already in use on this cluster.")
        if not principal_arn.startswith("arn:") or ":iam::" not in principal_arn:
            raise ParameterError(f"The specified principalArn is invalid: {principal_arn}")
        if type != "STANDARD" and (kubernetes_groups or username):
            raise ParameterError(f"kubernetesGroups and username can't be given with type {type}")
        _, _, _, _, account, principal = principal_arn.split(":", 5)
        arn = self.arn("access-entry", cluster_name, principal.split("/")[0], account, principal, str(uuid.uuid4()))
        shape: Shape = {
            "clusterName": cluster_name,
            "principalArn": principal_arn,
            "kubernetesGroups": kubernetes_groups or [],
            "accessEntryArn": arn,
            "createdAt": now(),
            "modifiedAt": now(),
            "tags": dict(tags or {}),
            "username": username or principal_arn,
            "type": type,
        }
        cluster.access_entries[principal_arn] = shape
        cluster.access_policies[principal_arn] = {}
        return {"accessEntry": shape}

    def describe_access_entry(self, cluster_name: str, principal_arn: str) -> Shape:
        return {"accessEntry": self._entry(cluster_name, principal_arn)[1]}

    def list_access_entries(self, cluster_name: str, associated_policy_arn: str | None = None, **_: Any) -> Shape:
        cluster = self._api_cluster(cluster_name)
        arns = [
            arn
            for arn, policies in sorted(cluster.access_policies.items())
            if associated_policy_arn is None or associated_policy_arn in policies
        ]
        return {"accessEntries": arns}

    def update_access_entry(
        self,
        cluster_name: str,
        principal_arn: str,
        kubernetes_groups: list[str] | None = None,
        username: str | None = None,
        **_: Any,
    ) -> Shape:
        _, shape = self._entry(cluster_name, principal_arn)
        shape["kubernetesGroups"] = shape["kubernetesGroups"] if kubernetes_groups is None else kubernetes_groups
        shape["username"] = username or shape["username"]
        shape["modifiedAt"] = now()
        return {"accessEntry": shape}

    def delete_access_entry(self, cluster_name: str, principal_arn: str) -> Shape:
        cluster, _ = self._entry(cluster_name, principal_arn)
        del cluster.access_entries[principal_arn], cluster.access_policies[principal_arn]
        return {}

    def list_access_policies(self, **_: Any) -> Shape:
        policies = [{"name": name, "arn": self._policy_arn(name)} for name in catalogue.ACCESS_POLICIES]
        return {"accessPolicies": policies}

    def _policy_arn(self, name: str) -> str:
        return f"arn:{self.partition}:eks::aws:cluster-access-policy/{name}"

    def associate_access_policy(
        self, cluster_name: str, principal_arn: str, policy_arn: str, access_scope: Shape
    ) -> Shape:
        cluster, entry = self._entry(cluster_name, principal_arn)
        if policy_arn not in map(self._policy_arn, catalogue.ACCESS_POLICIES):
            raise ParameterError(f"The policyArn parameter format is not valid: {policy_arn}")
        if entry["type"] != "STANDARD":
            raise RequestError(f"An access entry of type {entry['type']} takes no policies")
        if (access_scope["type"] == "namespace") != bool(access_scope.get("namespaces")):
            raise ParameterError("namespaces belong to the scope namespace, and to no other")
        policies = cluster.access_policies[principal_arn]
        policies[policy_arn] = {
            "policyArn": policy_arn,
            "accessScope": {"namespaces": [], **access_scope},
            "associatedAt": policies.get(policy_arn, {}).get("associatedAt", now()),
            "modifiedAt": now(),
        }
        return {
            "clusterName": cluster_name,
            "principalArn": principal_arn,
            "associatedAccessPolicy": policies[policy_arn],
        }

    def disassociate_access_policy(self, cluster_name: str, principal_arn: str, policy_arn: str) -> Shape:
        cluster, _ = self._entry(cluster_name, principal_arn)
        if cluster.access_policies[principal_arn].pop(policy_arn, None) is None:
            raise NotFoundError(f"No policy {policy_arn} is associated with {principal_arn}")
        return {}

    def list_associated_access_policies(self, cluster_name: str, principal_arn: str, **_: Any) -> Shape:
        cluster, _entry = self._entry(cluster_name, principal_arn)
        return {
            "clusterName": cluster_name,
            "principalArn": principal_arn,
            "associatedAccessPolicies": list(cluster.access_policies[principal_arn].values()),
        }

    def admit_creator(self, cluster: Cluster) -> None:
        """Give who created a cluster all rights in it."""
        principal = f"arn:{self.partition}:iam::{self.account_id}:user/moto"
        self.create_access_entry(cluster.of["name"], principal)
        self.associate_access_policy(
            cluster.of["name"], principal, self._policy_arn("AmazonEKSClusterAdminPolicy"), {"type": "cluster"}
        )

    def admit_nodes(self, cluster: Cluster, role_arn: str) -> None:
        """Let nodes with a role join a cluster."""
        with_entries = cluster.of["accessConfig"]["authenticationMode"] != "CONFIG_MAP"
        if with_entries and role_arn not in cluster.access_entries:
            self.create_access_entry(cluster.of["name"], role_arn, type="EC2_LINUX")


class PodIdentities(Store):
    """The operations on pod identity associations."""

    def create_pod_identity_association(
        self,
        cluster_name: str,
        namespace: str,
        service_account: str,
        role_arn: str,
        tags: dict[str, str] | None = None,
        disable_session_tags: bool = False,
        target_role_arn: str | None = None,
        owner_arn: str | None = None,
        **_: Any,
    ) -> Shape:
        cluster = self.active_cluster(cluster_name)
        for each in cluster.associations.values():
            if (each["namespace"], each["serviceAccount"]) == (namespace, service_account):
                raise InUseError(f"Association already exists: {each['associationId']}")
        if ":role/" not in role_arn:
            raise ParameterError(f"Role provided in the request does not exist: {role_arn}")
        identity = f"a-{secrets.token_hex(9)[:17]}"
        shape: Shape = {
            "clusterName": cluster_name,
            "namespace": namespace,
            "serviceAccount": service_account,
            "roleArn": role_arn,
            "associationArn": self.arn("podidentityassociation", cluster_name, identity),
            "associationId": identity,
            "tags": dict(tags or {}),
            "createdAt": now(),
            "modifiedAt": now(),
            "ownerArn": owner_arn,
            "disableSessionTags": disable_session_tags,
            "targetRoleArn": target_role_arn,
        }
        cluster.associations[identity] = shape
        return {"association": shape}

    def _association(self, cluster_name: str, association_id: str) -> tuple[Cluster, Shape]:
        cluster = self.cluster(cluster_name)
        if association_id not in cluster.associations:
            raise NotFoundError(f"Association not found: {association_id}")
        return cluster, cluster.associations[association_id]

    def describe_pod_identity_association(self, cluster_name: str, association_id: str) -> Shape:
        return {"association": self._association(cluster_name, association_id)[1]}

    def list_pod_identity_associations(
        self, cluster_name: str, namespace: str | None = None, service_account: str | None = None, **_: Any
    ) -> Shape:
        found = [
            each
            for each in self.cluster(cluster_name).associations.values()
            if namespace in (None, each["namespace"]) and service_account in (None, each["serviceAccount"])
        ]
        return {"associations": found}

    def update_pod_identity_association(
        self,
        cluster_name: str,
        association_id: str,
        role_arn: str | None = None,
        disable_session_tags: bool | None = None,
        target_role_arn: str | None = None,
        **_: Any,
    ) -> Shape:
        _, shape = self._association(cluster_name, association_id)
        wanted = {
            "roleArn": role_arn,
            "disableSessionTags": disable_session_tags,
            "targetRoleArn": target_role_arn,
            "modifiedAt": now(),
        }
        shape.update({name: value for name, value in wanted.items() if value is not None})
        return {"association": shape}

    def delete_pod_identity_association(self, cluster_name: str, association_id: str) -> Shape:
        cluster, shape = self._association(cluster_name, association_id)
        del cluster.associations[association_id]
        return {"association": shape}

    def associate(self, cluster: Cluster, owner_arn: str, wanted: list[Shape]) -> list[str]:
        """Make exactly these pod identity associations for an add-on, and return their ARNs."""
        for each in [each for each in cluster.associations.values() if each["ownerArn"] == owner_arn]:
            del cluster.associations[each["associationId"]]
        made = [
            self.create_pod_identity_association(
                cluster.of["name"],
                "kube-system",
                association["serviceAccount"],
                association["roleArn"],
                owner_arn=owner_arn,
            )
            for association in wanted
        ]
        return [each["association"]["associationArn"] for each in made]
