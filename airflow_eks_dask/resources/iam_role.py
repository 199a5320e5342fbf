"""IAM roles: who may take one, and what it may do."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from botocore.exceptions import ClientError

from airflow_eks_dask.hooks.aws import error_code, ignoring
from airflow_eks_dask.resources import ownership, policy_document, validation
from airflow_eks_dask.resources.base import UNKNOWN, Action, Plan, Progress, Resource, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_eks_dask.hooks.aws import AwsClients

ROLE_NAME = re.compile(r"[\w+=,.@-]{1,64}")
POLICY = re.compile(r"arn:aws[a-z-]*:iam::(\d{12}|aws):policy/.+|[\w+=,.@/-]{1,128}")
TRUST_ACTIONS = {
    "ec2.amazonaws.com": ["sts:AssumeRole"],
    "eks.amazonaws.com": ["sts:AssumeRole"],
    "pods.eks.amazonaws.com": ["sts:AssumeRole", "sts:TagSession"],
}
"""Who may take a role (nodes, cluster, pods), and what each does to take it."""


@dataclass(frozen=True, kw_only=True)
class IamRole(Resource):
    """
    A role of its own for the cluster, its nodes or pods.

    Its trust policy, attached policies and inline policies become exactly what is wanted; policy documents are compared
    by what they mean. Of an existing role only what is given is compared. The provider has no operator for IAM.
    Source: https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateRole.html.

    :param role_name: What it is called.
    :param trusted_service: Who may take it: ``eks.amazonaws.com`` (the cluster), ``ec2.amazonaws.com`` (nodes) or
        ``pods.eks.amazonaws.com`` (pods, by pod identity).
    :param trust_policy: Who may take it, as a policy document; instead of ``trusted_service``.
    :param policies: Managed policies: ARNs, or names of AWS's own such as ``AmazonEKSClusterPolicy``.
    :param inline_policies: Further policy documents by name.
    :param permissions_boundary: ARN of the policy that bounds it; None leaves it as it is.
    :param description: What it is for; empty leaves it as it is.
    """

    kind: ClassVar[str] = "IAM role"

    role_name: str
    trusted_service: str = ""
    trust_policy: dict[str, Any] | None = None
    policies: list[str] = field(default_factory=list)
    inline_policies: dict[str, dict[str, Any]] = field(default_factory=dict)
    permissions_boundary: str | None = None
    description: str = ""

    @property
    def name(self) -> str:
        """Its name."""
        return self.role_name

    def console_path(self, region: str) -> str:
        """Return the path of its page in the AWS console."""
        return f"iam/home#/roles/details/{self.role_name}"

    def identity_problems(self) -> list[str]:
        """Return what is wrong with its names."""
        return [
            *validation.cluster_name(self.cluster_name),
            *validation.matches("role_name", self.role_name, ROLE_NAME, "1 to 64 letters, digits and +=,.@-_"),
        ]

    def problems(self) -> list[str]:
        """Return all that is wrong with what is wanted."""
        problems = self.identity_problems()
        given = bool(self.trusted_service) + bool(self.trust_policy)
        if given != 1 and not (given == 0 and self.existing):
            problems.append("give either trusted_service or trust_policy")
        if self.trusted_service:
            problems += validation.one_of("trusted_service", self.trusted_service, TRUST_ACTIONS)
        problems += validation.all_match("policies", self.policies, POLICY, "the ARN or the name of a policy")
        if self.permissions_boundary:
            problems += validation.matches("permissions_boundary", self.permissions_boundary, validation.ARN, "an ARN")
        documents = {f"inline_policies[{name}]": document for name, document in self.inline_policies.items()}
        if self.trust_policy:
            documents["trust_policy"] = self.trust_policy
        return problems + [
            f"{where}: must be a policy document, with a Statement"
            for where, document in documents.items()
            if not document.get("Statement")
        ]

    @property
    def _trust(self) -> dict[str, Any] | None:
        if not self.trusted_service:
            return self.trust_policy
        return {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": self.trusted_service},
                    "Action": TRUST_ACTIONS[self.trusted_service],
                }
            ],
        }

    def plan(self, aws: AwsClients) -> Plan:
        """Compare trust, policies and tags."""
        role = self._find(aws)
        if role is None:
            return self.a_plan(Action.CREATE, "there is none")
        if refused := self.refused(ownership.as_mapping(role.get("Tags"))):
            return refused
        changes, reasons = self._differences(aws, role)
        return self.a_plan(Action.CHANGE if changes else Action.LEAVE, *reasons, **changes)

    def _find(self, aws: AwsClients) -> dict[str, Any] | None:
        try:
            return dict(aws.client("iam").get_role(RoleName=self.role_name)["Role"])
        except ClientError as error:
            if error_code(error) == "NoSuchEntity":
                return None
            raise

    def _differences(self, aws: AwsClients, role: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
        changes: dict[str, Any] = {}
        reasons: list[str] = []
        if self._trust and not policy_document.is_same(role["AssumeRolePolicyDocument"], self._trust):
            changes["trust"] = self._trust
            reasons.append("others than wanted may take it")
        boundary = role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn")
        if self.permissions_boundary and boundary != self.permissions_boundary:
            changes["boundary"] = self.permissions_boundary
            reasons.append(f"bounded by {boundary or 'nothing'}, not by {self.permissions_boundary}")
        if self.description and role.get("Description") != self.description:
            changes["description"] = self.description
            reasons.append("another description")
        self._compare_attached(self._attached(aws), aws.partition, changes, reasons)
        self._compare_inline(self._inline(aws), changes, reasons)
        tags = ownership.tag_changes(self.wanted_tags, ownership.as_mapping(role.get("Tags")))
        if tags and not self.existing:
            changes["tags"] = tags
            reasons.append(f"tags missing or different: {', '.join(sorted(tags))}")
        return changes, reasons

    def _compare_attached(
        self, attached: set[str], partition: str, changes: dict[str, Any], reasons: list[str]
    ) -> None:
        wanted = {_policy_arn(policy, partition) for policy in self.policies}
        if missing := sorted(wanted - attached):
            changes["attach"] = missing
            reasons.append(f"not attached: {', '.join(missing)}")
        if not self.existing and (surplus := sorted(attached - wanted)):
            changes["detach"] = surplus
            reasons.append(f"attached, not wanted: {', '.join(surplus)}")

    def _compare_inline(
        self, inline: Mapping[str, Mapping[str, Any]], changes: dict[str, Any], reasons: list[str]
    ) -> None:
        wanted = self.inline_policies
        differing = {
            name: document
            for name, document in wanted.items()
            if not policy_document.is_same(inline.get(name), document)
        }
        if differing:
            changes["put"] = differing
            reasons.append(f"inline policies missing or different: {', '.join(sorted(differing))}")
        if not self.existing and (surplus := sorted(inline.keys() - wanted.keys())):
            changes["drop"] = surplus
            reasons.append(f"inline policies not wanted: {', '.join(surplus)}")

    def _attached(self, aws: AwsClients) -> set[str]:
        pages = aws.client("iam").get_paginator("list_attached_role_policies").paginate(RoleName=self.role_name)
        return {policy["PolicyArn"] for page in pages for policy in page["AttachedPolicies"]}

    def _inline(self, aws: AwsClients) -> dict[str, dict[str, Any]]:
        iam = aws.client("iam")
        pages = iam.get_paginator("list_role_policies").paginate(RoleName=self.role_name)
        names = [name for page in pages for name in page["PolicyNames"]]
        return {name: iam.get_role_policy(RoleName=self.role_name, PolicyName=name)["PolicyDocument"] for name in names}

    def apply(self, aws: AwsClients, plan: Plan) -> None:
        """Create it, with its tags at once; or make all changes. Policies follow when it is there."""
        if plan.action is Action.CREATE:
            self._create(aws)
            return
        iam = aws.client("iam")
        changes = plan.changes
        if "trust" in changes:
            iam.update_assume_role_policy(RoleName=self.role_name, PolicyDocument=json.dumps(changes["trust"]))
        if "boundary" in changes:
            iam.put_role_permissions_boundary(RoleName=self.role_name, PermissionsBoundary=changes["boundary"])
        if "description" in changes:
            # UpdateRole would set the duration of sessions back as well.
            iam.update_role_description(RoleName=self.role_name, Description=changes["description"])
        for name, document in changes.get("put", {}).items():
            iam.put_role_policy(RoleName=self.role_name, PolicyName=name, PolicyDocument=json.dumps(document))
        for arn in changes.get("attach", ()):
            iam.attach_role_policy(RoleName=self.role_name, PolicyArn=arn)
        self._strip(aws, changes.get("detach", ()), changes.get("drop", ()))
        if "tags" in changes:
            iam.tag_role(RoleName=self.role_name, Tags=ownership.as_list(changes["tags"]))

    def _create(self, aws: AwsClients) -> None:
        optional = {"PermissionsBoundary": self.permissions_boundary, "Description": self.description}
        with ignoring("EntityAlreadyExists"):
            aws.client("iam").create_role(
                RoleName=self.role_name,
                AssumeRolePolicyDocument=json.dumps(self._trust),
                Tags=ownership.as_list(self.wanted_tags),
                **{name: value for name, value in optional.items() if value},
            )

    def _strip(self, aws: AwsClients, attached: Iterable[str], inline: Iterable[str]) -> None:
        iam = aws.client("iam")
        for arn in attached:
            with ignoring("NoSuchEntity"):
                iam.detach_role_policy(RoleName=self.role_name, PolicyArn=arn)
        for name in inline:
            with ignoring("NoSuchEntity"):
                iam.delete_role_policy(RoleName=self.role_name, PolicyName=name)

    def progress(self, aws: AwsClients) -> Progress:
        """Roles are there at once; where they aren't known yet, those that take them wait."""
        return Progress(State.READY if self._find(aws) else State.ABSENT)

    def outputs(self, aws: AwsClients) -> dict[str, Any]:
        """Return ``role_name`` and ``role_arn``."""
        role = self._find(aws)
        return {"role_name": self.role_name, "role_arn": role["Arn"] if role else UNKNOWN}

    def plan_deletion(self, aws: AwsClients) -> Plan:
        """Delete it if it is ours."""
        role = self._find(aws)
        if role is None:
            return self.a_plan(Action.LEAVE, "it is gone")
        return self.refused(ownership.as_mapping(role.get("Tags"))) or self.a_plan(Action.DELETE)

    def delete(self, aws: AwsClients, plan: Plan) -> None:
        """Take its policies and instance profiles from it, then delete it."""
        iam = aws.client("iam")
        with ignoring("NoSuchEntity"):
            for profile in iam.list_instance_profiles_for_role(RoleName=self.role_name)["InstanceProfiles"]:
                iam.remove_role_from_instance_profile(
                    RoleName=self.role_name, InstanceProfileName=profile["InstanceProfileName"]
                )
            self._strip(aws, self._attached(aws), self._inline(aws))
            iam.delete_role(RoleName=self.role_name)

    def is_transient(self, error: ClientError) -> bool:
        """A principal that was just made is not known yet, or IAM is still busy with the last change."""
        code = error_code(error)
        return code in ("ConcurrentModification", "DeleteConflict") or (
            code == "MalformedPolicyDocument" and "Invalid principal" in str(error)
        )


def _policy_arn(policy: str, partition: str) -> str:
    return policy if policy.startswith("arn:") or policy == UNKNOWN else f"arn:{partition}:iam::aws:policy/{policy}"
