"""EKS add-ons: what runs in a cluster and AWS keeps in order."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_eks_dask.resources import validation
from airflow_eks_dask.resources.base import UNKNOWN, Action, Plan, Progress, ResourceError, State
from airflow_eks_dask.resources.eks import (
    EksPart,
    Step,
    describe,
    differs,
    find_cluster,
    is_unknown,
    issues_in_words,
    nodegroup_names,
)

if TYPE_CHECKING:
    from airflow_eks_dask.hooks.aws import AwsClients

ADDON_NAME = re.compile(r"[0-9A-Za-z][A-Za-z0-9_-]{0,99}")
ADDON_VERSION = re.compile(r"v\d+\.\d+\.\d+[\w.+-]*")
NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
RESOLUTIONS = ("NONE", "OVERWRITE", "PRESERVE")


@dataclass(frozen=True, kw_only=True)
class EksAddon(EksPart):
    """
    An add-on of a cluster.

    Version, configuration, roles and tags become what is wanted. Without ``addon_version`` a new add-on gets AWS's
    default for the cluster's version, and one that is there gets it once its own version is not made for the cluster's.

    One whose pods find no node is ``DEGRADED`` for a while, as coredns is in a cluster without nodes. So that is waited
    for, up to the timeout, unless something is to be changed. One that AWS failed to create is deleted and made anew by
    the next run.

    The provider has no operator for add-ons, nor has its ``EksHook``.
    Source: https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateAddon.html.

    :param addon_name: Such as ``vpc-cni``, ``coredns``, ``kube-proxy``, ``metrics-server``, ``eks-pod-identity-agent``
        or ``aws-ebs-csi-driver``.
    :param addon_version: Such as ``v1.20.4-eksbuild.2``; None leaves it to AWS.
    :param configuration: Values for it, of the schema that ``DescribeAddonConfiguration`` gives.
    :param pod_identity_roles: ARN of the role that its pods take by pod identity, by service account.
    :param service_account_role_arn: The role that its pods take by the cluster's OIDC provider; empty leaves it as it
        is.
    :param namespace: The namespace that it is in; None leaves it to AWS. It can't be changed.
    :param resolve_conflicts: What happens to fields that somebody else changed in the cluster: ``OVERWRITE``,
        ``PRESERVE`` or ``NONE``, which fails.
    """

    kind: ClassVar[str] = "EKS add-on"
    timeout: ClassVar[float] = 1800
    name_pattern: ClassVar[re.Pattern[str]] = ADDON_NAME
    name_is: ClassVar[str] = "the name of an add-on such as vpc-cni"
    name_field: ClassVar[str] = "addon_name"
    name_key: ClassVar[str] = "addonName"
    deletion: ClassVar[str] = "delete_addon"

    addon_name: str
    addon_version: str | None = None
    configuration: dict[str, Any] = field(default_factory=dict)
    pod_identity_roles: dict[str, str] = field(default_factory=dict)
    service_account_role_arn: str = ""
    namespace: str | None = None
    resolve_conflicts: str = "OVERWRITE"

    def console_path(self, region: str) -> str:
        """Return the path of its page in the AWS console."""
        return f"eks/clusters/{self.cluster_name}/add-ons/{self.addon_name}?region={region}"

    def problems(self) -> list[str]:
        """Return all that is wrong with what is wanted."""
        problems = self.identity_problems()
        if self.addon_version:
            what = "a version of an add-on such as v1.20.4-eksbuild.2"
            problems += validation.matches("addon_version", self.addon_version, ADDON_VERSION, what)
        if self.namespace is not None:
            problems += validation.matches("namespace", self.namespace, NAMESPACE, "a Kubernetes namespace")
        if self.service_account_role_arn:
            arn = self.service_account_role_arn
            problems += validation.matches("service_account_role_arn", arn, validation.ARN, "an ARN")
        for account, role in self.pod_identity_roles.items():
            problems += validation.matches(f"pod_identity_roles[{account}]", role, validation.ARN, "an ARN")
        return [*problems, *validation.one_of("resolve_conflicts", self.resolve_conflicts, RESOLUTIONS)]

    def find(self, aws: AwsClients) -> dict[str, Any] | None:
        """Return what AWS says of it; None if it or its cluster isn't there."""
        return describe(aws, "describe_addon", "addon", **self.names)

    def progress(self, aws: AwsClients) -> Progress:
        """Return its status, health and how its last update went; it waits for its cluster, and until it is well."""
        progress = super().progress(aws)
        if progress.state is not State.READY or "DEGRADED" not in progress.detail or self._is_to_change(aws):
            return progress
        nodes = "" if nodegroup_names(aws, self.cluster_name) else "; the cluster has no managed node group"
        why = f"its pods may not run yet, for want of nodes that take them{nodes}"
        return Progress(State.PENDING, (*progress.detail, why))

    def _is_to_change(self, aws: AwsClients) -> bool:
        return self.plan(aws).action is not Action.LEAVE

    def plan(self, aws: AwsClients) -> Plan:
        """Compare version, configuration, roles and tags; remake one that failed to be created."""
        found = self.find(aws)
        try:
            if found is None:
                return self.step_plan(Action.CREATE, [self._creation(aws)])
            if refused := self.refused(found.get("tags", {})):
                return refused
            if found["status"] in ("CREATE_FAILED", "DELETE_FAILED"):
                return self.plan_remaking(found)
            steps = [*self._update(aws, found), *self.tag_steps(found, "addonArn")]
        except ResourceError as error:
            return self.a_plan(Action.REFUSE, str(error))
        there = found.get("namespaceConfig", {}).get("namespace")
        if self.namespace and there and differs(self.namespace, there):
            reason = f"its namespace is {there}, not {self.namespace}: AWS can't change that. Delete it first"
            return self.a_plan(Action.REFUSE, reason)
        return self.step_plan(Action.CHANGE if steps else Action.LEAVE, steps)

    def _creation(self, aws: AwsClients) -> Step:
        cluster = find_cluster(aws, self.cluster_name)
        version = self._choose_version(aws, cluster["version"], None) if cluster else self.addon_version
        optional = {
            "addonVersion": version,
            "configurationValues": json.dumps(self.configuration) if self.configuration else "",
            "podIdentityAssociations": self._associations,
            "serviceAccountRoleArn": self.service_account_role_arn,
            "namespaceConfig": {"namespace": self.namespace} if self.namespace else {},
        }
        arguments = {
            **self.names,
            "resolveConflicts": self.resolve_conflicts,
            "tags": self.wanted_tags,
            **{key: value for key, value in optional.items() if value},
        }
        will_be = f"its version will be {version or 'that of its cluster'}"
        return Step(f"there is none; {will_be}", "create_addon", arguments)

    @property
    def _associations(self) -> list[dict[str, str]]:
        return [{"serviceAccount": account, "roleArn": role} for account, role in self.pod_identity_roles.items()]

    def _choose_version(self, aws: AwsClients, kubernetes_version: str, current: str | None) -> str:
        """
        Return the version that is meant.

        :param kubernetes_version: The cluster's version.
        :param current: The version that the add-on has, which is kept if it will do.
        :raises ResourceError: AWS doesn't offer it for the cluster's version.
        """
        if self.addon_version and self.addon_version == current:
            return current
        offered = compatible_versions(aws, self.addon_name, kubernetes_version)
        if not offered:
            raise ResourceError(f"AWS offers no add-on {self.addon_name} for Kubernetes {kubernetes_version}")
        if self.addon_version:
            if self.addon_version in offered:
                return self.addon_version
            raise ResourceError(
                f"addon_version = {self.addon_version!r}: for Kubernetes {kubernetes_version} AWS offers "
                + ", ".join(offered)
            )
        if current in offered:
            return str(current)
        return next((version for version, is_default in offered.items() if is_default), next(iter(offered)))

    def _update(self, aws: AwsClients, found: dict[str, Any]) -> list[Step]:
        """Return the step that changes everything that differs, all in one call, as AWS takes it."""
        reasons = self._differences(found)
        cluster, current = find_cluster(aws, self.cluster_name), found["addonVersion"]
        version = self._choose_version(aws, cluster["version"], current) if cluster else current
        if version != current:
            reasons.append(f"its version is {current}, not {version}")
        arguments: dict[str, Any] = {}
        if not is_unknown(list(self.pod_identity_roles.values())):
            associated = self._associated(aws, found)
            if associated != self.pod_identity_roles:
                arguments["podIdentityAssociations"] = self._associations
                reasons.append(f"the roles of its service accounts are {associated or 'none'}")
        if not reasons:
            return []
        # AWS forgets this role if it isn't given again.
        if role := self.service_account_role_arn or found.get("serviceAccountRoleArn"):
            arguments["serviceAccountRoleArn"] = role
        arguments |= {
            **self.names,
            "addonVersion": version,
            "configurationValues": json.dumps(self.configuration),
            "resolveConflicts": self.resolve_conflicts,
        }
        return [Step("; ".join(reasons), "update_addon", arguments)]

    def _differences(self, found: dict[str, Any]) -> list[str]:
        reasons = []
        if found["status"] == "UPDATE_FAILED":
            reasons.append(f"its last update failed: {issues_in_words(found)}")
        if _configuration(found) != self.configuration:
            reasons.append("its configuration is another than wanted")
        role = found.get("serviceAccountRoleArn")
        if self.service_account_role_arn and differs(self.service_account_role_arn, role):
            reasons.append(f"the role of its service account is {role}, not {self.service_account_role_arn}")
        return reasons

    def _associated(self, aws: AwsClients, found: dict[str, Any]) -> dict[str, str]:
        """Return the roles of its pods by service account: those that belong to the add-on."""
        associations = [
            describe(
                aws,
                "describe_pod_identity_association",
                "association",
                clusterName=self.cluster_name,
                associationId=arn.rpartition("/")[2],
            )
            for arn in found.get("podIdentityAssociations", ())
        ]
        return {each["serviceAccount"]: each["roleArn"] for each in associations if each}

    def outputs(self, aws: AwsClients) -> dict[str, Any]:
        """Return its name, ARN and version."""
        found = self.find(aws) or {}
        return {
            "cluster_name": self.cluster_name,
            "addon_name": self.addon_name,
            "arn": found.get("addonArn", UNKNOWN),
            "addon_version": found.get("addonVersion", UNKNOWN),
        }


@dataclass(frozen=True, kw_only=True)
class UnwantedEksAddon(EksAddon):
    """An add-on that is to go: nobody waits until it is well. The parameters are those of :class:`EksAddon`."""

    def _is_to_change(self, aws: AwsClients) -> bool:
        return True


def compatible_versions(aws: AwsClients, addon_name: str, kubernetes_version: str) -> dict[str, bool]:
    """
    Return the versions of an add-on that are made for a version of Kubernetes, and which of them is AWS's default.

    None of them: AWS has no such add-on, or not for this version.
    Source: https://docs.aws.amazon.com/eks/latest/APIReference/API_DescribeAddonVersions.html.
    """
    paginator = aws.client("eks").get_paginator("describe_addon_versions")
    pages = paginator.paginate(addonName=addon_name, kubernetesVersion=kubernetes_version)
    try:
        addons = [addon for page in pages for addon in page["addons"]]
    except aws.client("eks").exceptions.ResourceNotFoundException:
        return {}
    return {
        version["addonVersion"]: compatible["defaultVersion"]
        for addon in addons
        for version in addon["addonVersions"]
        for compatible in version["compatibilities"]
        if compatible["clusterVersion"] == kubernetes_version
    }


def _configuration(found: dict[str, Any]) -> Any:
    """Return an add-on's configuration; as text if somebody gave it in YAML."""
    text = found.get("configurationValues") or "{}"
    try:
        return json.loads(text)
    except ValueError:
        return text
