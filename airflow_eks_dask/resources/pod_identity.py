"""Pod identity: the IAM role that the pods of a Kubernetes service account have."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_eks_dask.hooks.aws import error_code
from airflow_eks_dask.resources import ownership, validation
from airflow_eks_dask.resources.base import UNKNOWN, Action, Plan, Progress, Resource, State

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

    from airflow_eks_dask.hooks.aws import AwsClients

NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
SERVICE_ACCOUNT = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")


@dataclass(frozen=True, kw_only=True)
class PodIdentityAssociation(Resource):
    """
    The association of a service account with an IAM role.

    There is at most one for a namespace and service account, by which it is found; neither needs to be there yet. Pods
    get the role if the add-on ``eks-pod-identity-agent`` runs, from their next start on. The provider has no operator
    for it. Source: https://docs.aws.amazon.com/eks/latest/APIReference/API_CreatePodIdentityAssociation.html.

    :param namespace: Namespace of the service account.
    :param service_account: Its name.
    :param role_arn: The role; ``pods.eks.amazonaws.com`` has to be trusted by it.
    """

    kind: ClassVar[str] = "pod identity association"

    namespace: str
    service_account: str
    role_arn: str = ""

    @property
    def name(self) -> str:
        """Namespace and service account."""
        return f"{self.namespace}/{self.service_account}"

    def console_path(self, region: str) -> str:
        """Return the path of the cluster's list of associations in the AWS console."""
        return f"eks/clusters/{self.cluster_name}?region={region}&selectedTab=cluster-access-tab"

    def identity_problems(self) -> list[str]:
        """Return what is wrong with cluster, namespace and service account."""
        return [
            *validation.cluster_name(self.cluster_name),
            *validation.matches("namespace", self.namespace, NAMESPACE, "the name of a Kubernetes namespace"),
            *validation.matches(
                "service_account", self.service_account, SERVICE_ACCOUNT, "the name of a Kubernetes service account"
            ),
        ]

    def problems(self) -> list[str]:
        """Return all that is wrong with what is wanted."""
        return [
            *self.identity_problems(),
            *validation.matches("role_arn", self.role_arn, ROLE, "the ARN of an IAM role"),
        ]

    def plan(self, aws: AwsClients) -> Plan:
        """Compare role and tags."""
        association = self._find(aws)
        if association is None:
            return self.a_plan(Action.CREATE, "there is none")
        if refused := self.refused(association.get("tags", {})):
            return refused
        changes: dict[str, Any] = {}
        reasons: list[str] = []
        if association["roleArn"] != self.role_arn:
            changes["role"] = association["associationId"]
            reasons.append(f"its role is {association['roleArn']}, not {self.role_arn}")
        if tags := ownership.tag_changes(self.wanted_tags, association.get("tags", {})):
            changes["tags"] = {"resourceArn": association["associationArn"], "tags": tags}
            reasons.append(f"tags missing or different: {', '.join(sorted(tags))}")
        return self.a_plan(Action.CHANGE if changes else Action.LEAVE, *reasons, **changes)

    def _find(self, aws: AwsClients) -> dict[str, Any] | None:
        eks = aws.client("eks")
        try:
            found = eks.list_pod_identity_associations(
                clusterName=self.cluster_name, namespace=self.namespace, serviceAccount=self.service_account
            )["associations"]
            if not found:
                return None
            return dict(
                eks.describe_pod_identity_association(
                    clusterName=self.cluster_name, associationId=found[0]["associationId"]
                )["association"]
            )
        except eks.exceptions.ResourceNotFoundException:
            return None

    def apply(self, aws: AwsClients, plan: Plan) -> None:
        """Create it, with its tags at once; or make all changes."""
        eks = aws.client("eks")
        if plan.action is Action.CREATE:
            self._create(aws)
            return
        if "role" in plan.changes:
            eks.update_pod_identity_association(
                clusterName=self.cluster_name, associationId=plan.changes["role"], roleArn=self.role_arn
            )
        if "tags" in plan.changes:
            eks.tag_resource(**plan.changes["tags"])

    def _create(self, aws: AwsClients) -> None:
        eks = aws.client("eks")
        try:
            eks.create_pod_identity_association(
                clusterName=self.cluster_name,
                namespace=self.namespace,
                serviceAccount=self.service_account,
                roleArn=self.role_arn,
                tags=self.wanted_tags,
            )
        except eks.exceptions.ResourceInUseException:
            # Made meanwhile: the next plan says whose it is.
            if self._find(aws) is None:
                raise

    def progress(self, aws: AwsClients) -> Progress:
        """Associations are there at once."""
        return Progress(State.READY if self._find(aws) else State.ABSENT)

    def is_transient(self, error: ClientError) -> bool:
        """A role that was just made, or its trust policy, is not known everywhere yet."""
        message = str(error).lower()
        return error_code(error) == "InvalidParameterException" and (
            "role provided in the request does not exist" in message or "trust policy of the role" in message
        )

    def outputs(self, aws: AwsClients) -> dict[str, Any]:
        """Return ``association_id``, ``association_arn`` and ``role_arn``."""
        association = self._find(aws) or {}
        return {
            "association_id": association.get("associationId", UNKNOWN),
            "association_arn": association.get("associationArn", UNKNOWN),
            "role_arn": association.get("roleArn", self.role_arn),
        }

    def plan_deletion(self, aws: AwsClients) -> Plan:
        """Delete it if it is ours."""
        association = self._find(aws)
        if association is None:
            return self.a_plan(Action.LEAVE, "it is gone")
        refused = self.refused(association.get("tags", {}))
        return refused or self.a_plan(Action.DELETE, association_id=association["associationId"])

    def delete(self, aws: AwsClients, plan: Plan) -> None:
        """Delete it. Pods that run keep the role's keys until these expire."""
        eks = aws.client("eks")
        try:
            eks.delete_pod_identity_association(
                clusterName=self.cluster_name, associationId=plan.changes["association_id"]
            )
        except eks.exceptions.ResourceNotFoundException:
            return
