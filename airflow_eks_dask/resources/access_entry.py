"""Access entries: who of IAM may use the Kubernetes API of a cluster, and for what."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from botocore.exceptions import ClientError

from airflow_eks_dask.hooks.aws import error_code
from airflow_eks_dask.resources import ownership, validation
from airflow_eks_dask.resources.base import UNKNOWN, Action, Plan, Progress, Resource, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eks_dask.hooks.aws import AwsClients

PRINCIPAL = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:(role|user)/[\w+=,.@/-]+")
NAMESPACE = re.compile(r"[a-z0-9*]([a-z0-9*-]{0,61}[a-z0-9*])?")
TYPES = frozenset(
    {"STANDARD", "EC2", "EC2_LINUX", "EC2_WINDOWS", "FARGATE_LINUX", "HYBRID_LINUX", "HYPERPOD_LINUX"},
)
_TYPES_WITH_POLICIES = frozenset({"STANDARD", "EC2"})
_RESERVED = ("system:", "eks:", "aws:", "amazon:", "iam:")


@dataclass(frozen=True, kw_only=True)
class AccessEntry(Resource):
    """
    The way of one IAM role or user into the Kubernetes API of a cluster.

    Groups, user name and associated policies become exactly what is wanted. The cluster's ``authenticationMode`` has to
    be ``API`` or ``API_AND_CONFIG_MAP``. The provider has no operator for access entries.
    Source: https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateAccessEntry.html.

    :param principal_arn: The role or user.
    :param entry_type: ``STANDARD`` for people and programs, ``EC2_LINUX`` for self-managed nodes (for managed ones EKS
        makes the entry), or another of :data:`TYPES`.
    :param kubernetes_groups: Its groups in Kubernetes, for role bindings.
    :param username: Its name in Kubernetes; None for the one that EKS makes.
    :param policies: Access policies, by ARN or by the name of one of AWS's own such as ``AmazonEKSClusterAdminPolicy``,
        each with the namespaces that it is for; no namespaces: the whole cluster.
    """

    kind: ClassVar[str] = "EKS access entry"

    principal_arn: str
    entry_type: str = "STANDARD"
    kubernetes_groups: list[str] = field(default_factory=list)
    username: str | None = None
    policies: dict[str, list[str]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The principal's ARN."""
        return self.principal_arn

    def console_path(self, region: str) -> str:
        """Return the path of the cluster's list of access entries in the AWS console."""
        return f"eks/clusters/{self.cluster_name}?region={region}&selectedTab=cluster-access-tab"

    def identity_problems(self) -> list[str]:
        """Return what is wrong with cluster and principal."""
        return [
            *validation.cluster_name(self.cluster_name),
            *validation.matches("principal_arn", self.principal_arn, PRINCIPAL, "the ARN of an IAM role or user"),
        ]

    def problems(self) -> list[str]:
        """Return all that is wrong with what is wanted."""
        problems = [*self.identity_problems(), *validation.one_of("entry_type", self.entry_type, TYPES)]
        if self.kubernetes_groups and self.entry_type != "STANDARD":
            problems.append(f"kubernetes_groups: entry_type {self.entry_type} takes none")
        if self.policies and self.entry_type in TYPES - _TYPES_WITH_POLICIES:
            problems.append(f"policies: entry_type {self.entry_type} takes none")
        for group in self.kubernetes_groups:
            problems += _reserved("kubernetes_groups", group)
        if self.username is not None and self.entry_type == "STANDARD":
            problems += _reserved("username", self.username)
        for policy, namespaces in self.policies.items():
            problems += validation.all_match(
                f"policies[{policy}]", namespaces, NAMESPACE, "a Kubernetes namespace, in which * stands for anything"
            )
        return problems

    def plan(self, aws: AwsClients) -> Plan:
        """Compare type, groups, user name, policies and tags."""
        entry = self._find(aws)
        if entry is None:
            return self.a_plan(Action.CREATE, "there is none")
        if refused := self.refused(entry.get("tags", {})):
            return refused
        if entry["type"] != self.entry_type:
            return self.a_plan(
                Action.DELETE, f"its type is {entry['type']}, not {self.entry_type}, and can't be changed: made anew"
            )
        changes, reasons = self._differences(aws, entry)
        return self.a_plan(Action.CHANGE if changes else Action.LEAVE, *reasons, **changes)

    def _find(self, aws: AwsClients) -> dict[str, Any] | None:
        if UNKNOWN in (self.cluster_name, self.principal_arn):
            return None
        try:
            return dict(aws.client("eks").describe_access_entry(**self._identity)["accessEntry"])
        except ClientError as error:
            # A cluster that knows the ConfigMap only has no entries; asked to create one, AWS says what to do.
            if error_code(error) == "ResourceNotFoundException" or "authentication mode" in str(error):
                return None
            raise

    @property
    def _identity(self) -> dict[str, str]:
        return {"clusterName": self.cluster_name, "principalArn": self.principal_arn}

    def _differences(self, aws: AwsClients, entry: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        changes: dict[str, Any] = {}
        reasons: list[str] = []
        update: dict[str, Any] = {}
        groups = set(entry.get("kubernetesGroups", ()))
        # EKS itself gives groups to nodes.
        if self.entry_type == "STANDARD" and groups != set(self.kubernetes_groups):
            update["kubernetesGroups"] = self.kubernetes_groups
            reasons.append(f"its groups are {_listed(groups)}, not {_listed(self.kubernetes_groups)}")
        if self.username is not None and entry["username"] != self.username:
            update["username"] = self.username
            reasons.append(f"its user name is {entry['username']}, not {self.username}")
        if update:
            changes["update"] = update
        found = self._associated(aws)
        wanted = {_policy_arn(policy, aws.partition): sorted(names) for policy, names in self.policies.items()}
        if differing := {arn: names for arn, names in wanted.items() if found.get(arn) != names}:
            changes["associate"] = differing
            reasons += [f"not associated: {arn} with {_scope_name(names)}" for arn, names in differing.items()]
        if surplus := sorted(found.keys() - wanted.keys()):
            changes["disassociate"] = surplus
            reasons.append(f"associated, not wanted: {', '.join(surplus)}")
        if tags := ownership.tag_changes(self.wanted_tags, entry.get("tags", {})):
            changes["tags"] = {"resourceArn": entry["accessEntryArn"], "tags": tags}
            reasons.append(f"tags missing or different: {', '.join(sorted(tags))}")
        return changes, reasons

    def _associated(self, aws: AwsClients) -> dict[str, list[str]]:
        """Return the namespaces of each associated policy; none for the whole cluster."""
        pages = aws.client("eks").get_paginator("list_associated_access_policies").paginate(**self._identity)
        return {
            policy["policyArn"]: sorted(policy["accessScope"].get("namespaces", ()))
            for page in pages
            for policy in page["associatedAccessPolicies"]
        }

    def apply(self, aws: AwsClients, plan: Plan) -> None:
        """Create it, with its tags at once; or make all changes. Policies follow when it is there."""
        eks = aws.client("eks")
        if plan.action is Action.CREATE:
            self._create(aws)
            return
        changes = plan.changes
        if "update" in changes:
            eks.update_access_entry(**self._identity, **changes["update"])
        for arn, namespaces in changes.get("associate", {}).items():
            scope = {"type": "namespace", "namespaces": namespaces} if namespaces else {"type": "cluster"}
            eks.associate_access_policy(**self._identity, policyArn=arn, accessScope=scope)
        for arn in changes.get("disassociate", ()):
            eks.disassociate_access_policy(**self._identity, policyArn=arn)
        if "tags" in changes:
            eks.tag_resource(**changes["tags"])

    def _create(self, aws: AwsClients) -> None:
        eks = aws.client("eks")
        try:
            eks.create_access_entry(
                **self._identity,
                type=self.entry_type,
                tags=self.wanted_tags,
                **({"kubernetesGroups": self.kubernetes_groups} if self.kubernetes_groups else {}),
                **({"username": self.username} if self.username is not None else {}),
            )
        except eks.exceptions.ResourceInUseException:
            # Made meanwhile: the next plan says whose it is.
            if self._find(aws) is None:
                raise

    def progress(self, aws: AwsClients) -> Progress:
        """Entries are there at once."""
        return Progress(State.READY if self._find(aws) else State.ABSENT)

    def is_transient(self, error: ClientError) -> bool:
        """A role that was just made is not known everywhere yet."""
        return error_code(error) == "InvalidParameterException" and "invalid principal" in str(error)

    def outputs(self, aws: AwsClients) -> dict[str, Any]:
        """Return ``principal_arn``, ``access_entry_arn`` and ``username``."""
        entry = self._find(aws) or {}
        return {
            "principal_arn": self.principal_arn,
            "access_entry_arn": entry.get("accessEntryArn", UNKNOWN),
            "username": entry.get("username", UNKNOWN),
        }

    def plan_deletion(self, aws: AwsClients) -> Plan:
        """Delete it if it is ours."""
        entry = self._find(aws)
        if entry is None:
            return self.a_plan(Action.LEAVE, "it is gone")
        return self.refused(entry.get("tags", {})) or self.a_plan(Action.DELETE)

    def delete(self, aws: AwsClients, plan: Plan) -> None:
        """Delete it; its associations go with it."""
        eks = aws.client("eks")
        try:
            eks.delete_access_entry(**self._identity)
        except eks.exceptions.ResourceNotFoundException:
            return


def _policy_arn(policy: str, partition: str) -> str:
    return policy if policy.startswith("arn:") else f"arn:{partition}:eks::aws:cluster-access-policy/{policy}"


def _reserved(field_name: str, value: str) -> list[str]:
    if not value.startswith(_RESERVED):
        return []
    return [f"{field_name} = {value!r}: must not begin with {', '.join(_RESERVED[:-1])} or {_RESERVED[-1]}"]


def _listed(values: set[str] | list[str]) -> str:
    return ", ".join(sorted(values)) or "none"


def _scope_name(namespaces: list[str]) -> str:
    return f"namespaces {', '.join(namespaces)}" if namespaces else "the whole cluster"
