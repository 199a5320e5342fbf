"""The cluster's OpenID Connect issuer as an identity provider of IAM, for roles for service accounts (IRSA)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_eks_dask.resources import ownership, validation
from airflow_eks_dask.resources.base import UNKNOWN, Action, Plan, Progress, Resource, ResourceError, State

if TYPE_CHECKING:
    from airflow_eks_dask.hooks.aws import AwsClients

AUDIENCE = "sts.amazonaws.com"
"""For whom the tokens of service accounts are made."""


@dataclass(frozen=True, kw_only=True)
class OidcProvider(Resource):
    """
    IAM's trust in the service accounts of a cluster.

    Pod identity needs none of it. IAM knows the authorities that vouch for EKS' issuers: no thumbprint is given. The
    provider has no operator for it.
    Source: https://docs.aws.amazon.com/IAM/latest/APIReference/API_CreateOpenIDConnectProvider.html.
    """

    kind: ClassVar[str] = "IAM OIDC provider"

    @property
    def name(self) -> str:
        """The cluster's name; the issuer is known once the cluster is there."""
        return self.cluster_name

    def console_path(self, region: str) -> str:
        """Return the path of the list of identity providers in the AWS console."""
        return "iam/home#/identity_providers"

    def identity_problems(self) -> list[str]:
        """Return what is wrong with the cluster's name."""
        return validation.cluster_name(self.cluster_name)

    def problems(self) -> list[str]:
        """Return all that is wrong with what is wanted."""
        return self.identity_problems()

    def plan(self, aws: AwsClients) -> Plan:
        """Compare audience and tags."""
        issuer = self._issuer(aws)
        if issuer is None:
            return self.a_plan(Action.CREATE, "the cluster is not there yet")
        provider = _find(aws, _arn(aws, issuer))
        if provider is None:
            return self.a_plan(Action.CREATE, f"there is none for {issuer}", issuer=issuer)
        if refused := self.refused(ownership.as_mapping(provider.get("Tags"))):
            return refused
        changes: dict[str, Any] = {}
        reasons: list[str] = []
        audiences = set(provider["ClientIDList"])
        if AUDIENCE not in audiences:
            changes["add"] = AUDIENCE
            reasons.append(f"tokens for {AUDIENCE} are not taken")
        if surplus := sorted(audiences - {AUDIENCE}):
            changes["remove"] = surplus
            reasons.append(f"tokens for others are taken: {', '.join(surplus)}")
        if tags := ownership.tag_changes(self.wanted_tags, ownership.as_mapping(provider.get("Tags"))):
            changes["tags"] = tags
            reasons.append(f"tags missing or different: {', '.join(sorted(tags))}")
        if changes:
            changes["arn"] = _arn(aws, issuer)
        return self.a_plan(Action.CHANGE if changes else Action.LEAVE, *reasons, **changes)

    def _issuer(self, aws: AwsClients) -> str | None:
        """Return the URL of the cluster's issuer; None if there is no cluster, or not yet."""
        eks = aws.client("eks")
        try:
            cluster = eks.describe_cluster(name=self.cluster_name)["cluster"]
        except eks.exceptions.ResourceNotFoundException:
            return None
        issuer: str | None = cluster.get("identity", {}).get("oidc", {}).get("issuer")
        return issuer

    def apply(self, aws: AwsClients, plan: Plan) -> None:
        """
        Create it, with its tags at once; or make all changes.

        :raises ResourceError: The cluster is not there.
        """
        iam = aws.client("iam")
        if plan.action is Action.CREATE:
            if "issuer" not in plan.changes:
                raise ResourceError(f"{self.kind}: EKS cluster {self.cluster_name} is not there, or not yet")
            # Made meanwhile: the next plan says whose it is.
            with suppress(iam.exceptions.EntityAlreadyExistsException):
                iam.create_open_id_connect_provider(
                    Url=plan.changes["issuer"], ClientIDList=[AUDIENCE], Tags=ownership.as_list(self.wanted_tags)
                )
            return
        arn = plan.changes["arn"]
        if "add" in plan.changes:
            iam.add_client_id_to_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID=plan.changes["add"])
        for audience in plan.changes.get("remove", ()):
            iam.remove_client_id_from_open_id_connect_provider(OpenIDConnectProviderArn=arn, ClientID=audience)
        if "tags" in plan.changes:
            iam.tag_open_id_connect_provider(OpenIDConnectProviderArn=arn, Tags=ownership.as_list(plan.changes["tags"]))

    def progress(self, aws: AwsClients) -> Progress:
        """Providers are there at once."""
        issuer = self._issuer(aws)
        return Progress(State.READY if issuer and _find(aws, _arn(aws, issuer)) else State.ABSENT)

    def outputs(self, aws: AwsClients) -> dict[str, Any]:
        """Return ``oidc_provider_arn`` and ``oidc_issuer``, without ``https://`` as trust policies name it."""
        issuer = self._issuer(aws)
        if issuer is None:
            return {"oidc_provider_arn": UNKNOWN, "oidc_issuer": UNKNOWN}
        return {"oidc_provider_arn": _arn(aws, issuer), "oidc_issuer": issuer.removeprefix("https://")}

    def plan_deletion(self, aws: AwsClients) -> Plan:
        """Delete all that carry the cluster's tag: a cluster that was made anew has had several issuers."""
        issuer = self._issuer(aws)
        present = None if issuer is None else _arn(aws, issuer)
        found = {
            arn: ownership.as_mapping(provider.get("Tags"))
            for each in aws.client("iam").list_open_id_connect_providers()["OpenIDConnectProviderList"]
            if (provider := _find(aws, arn := each["Arn"])) is not None
        }
        if ours := [arn for arn, tags in found.items() if ownership.refusal(self.cluster_name, tags) is None]:
            return self.a_plan(Action.DELETE, *ours, arns=ours)
        refused = self.refused(found[present]) if present in found else None
        return refused or self.a_plan(Action.LEAVE, "it is gone")

    def delete(self, aws: AwsClients, plan: Plan) -> None:
        """Delete what the plan found."""
        iam = aws.client("iam")
        for arn in plan.changes["arns"]:
            with suppress(iam.exceptions.NoSuchEntityException):
                iam.delete_open_id_connect_provider(OpenIDConnectProviderArn=arn)


def _arn(aws: AwsClients, issuer: str) -> str:
    return f"arn:{aws.partition}:iam::{aws.account_id}:oidc-provider/{issuer.removeprefix('https://')}"


def _find(aws: AwsClients, arn: str) -> dict[str, Any] | None:
    iam = aws.client("iam")
    try:
        return dict(iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn))
    except iam.exceptions.NoSuchEntityException:
        return None
