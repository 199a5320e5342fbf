"""Checks of what the caller may do, as IAM simulates it."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.preflight.finding import Finding, error, note, warning

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from airflow_eks_dask.hooks.aws import AwsClients
    from airflow_eks_dask.preflight.wanted import Wanted

_AT_ONCE = 50
"""Actions in one simulation: far below what a request may be long."""

_SERVICE_LINKED = {
    "AWSServiceRoleForAmazonEKS": "eks.amazonaws.com",
    "AWSServiceRoleForAmazonEKSNodegroup": "eks-nodegroup.amazonaws.com",
    "AWSServiceRoleForAutoScaling": "autoscaling.amazonaws.com",
    "AWSServiceRoleForElasticLoadBalancing": "elasticloadbalancing.amazonaws.com",
}
_DATABASE_ROLE = {"AWSServiceRoleForRDS": "rds.amazonaws.com"}
_SPOT_ROLE = {"AWSServiceRoleForEC2Spot": "spot.amazonaws.com"}


def policy_document() -> dict[str, Any]:
    """Return the policy with all that bootstrap and teardown do."""
    text = (files("airflow_eks_dask") / "templates" / "iam-policy.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def principal(aws: AwsClients) -> str | None:
    """
    Return the ARN of the user or role whose policies count; None if the caller has none of its own.

    A session of a role has an ARN that lacks the role's path, which the role's own ARN has.
    """
    caller = aws.client("sts").get_caller_identity()["Arn"]
    kind, _, name = caller.split(":", 5)[5].partition("/")
    if kind == "assumed-role":
        return str(aws.client("iam").get_role(RoleName=name.partition("/")[0])["Role"]["Arn"])
    return caller if kind in ("user", "role") else None


def actions(aws: AwsClients, wanted: Wanted) -> Iterator[Finding]:
    """Whether the caller may do all that bootstrap and teardown do."""
    statements = (wanted.policy or policy_document())["Statement"]
    who = principal(aws)
    if who is None:
        yield warning(
            "Whether the caller may do all it has to can't be told",
            "IAM simulates users and roles only, and it is neither",
            "Use a role with the policy docs/iam-policy.json",
        )
        return
    denied: dict[str, list[str]] = {}
    for statement in statements:
        for action, reason in _denied(aws, who, statement):
            denied.setdefault(reason, []).append(action)
    for reason, names in denied.items():
        yield error(
            f"{who} may not do {len(names)} of the actions that are needed",
            f"{reason}: {', '.join(sorted(set(names)))}",
            "Attach the policy docs/iam-policy.json to it"
            if reason == _NOT_ALLOWED
            else "Let whoever set this limit lift it for these actions",
        )


def service_linked_roles(aws: AwsClients, wanted: Wanted) -> Iterator[Finding]:
    """Whether the roles are there that AWS's services take, or can be made."""
    roles = {
        **_SERVICE_LINKED,
        **(_DATABASE_ROLE if wanted.database_identifier else {}),
        **(_SPOT_ROLE if wanted.spot else {}),
    }
    missing = {name: service for name, service in roles.items() if not _exists(aws, name)}
    who = principal(aws) if missing else None
    for name, service in missing.items():
        what = f"The service-linked role {name} is missing"
        command = f"aws iam create-service-linked-role --aws-service-name {service}"
        statement = {
            "Action": "iam:CreateServiceLinkedRole",
            "Resource": f"arn:{aws.partition}:iam::{aws.account_id}:role/aws-service-role/{service}/{name}",
            "Condition": {"StringLike": {"iam:AWSServiceName": service}},
        }
        if who is None:
            yield warning(what, "whether the caller may create it can't be told", f"If AWS does not: {command}")
        elif reasons := [reason for _, reason in _denied(aws, who, statement)]:
            yield error(what, f"{who} may not create it: {reasons[0]}", f"Let an administrator run: {command}")
        else:
            yield note(what, "AWS creates it when it is first needed, and the caller may do that", "Nothing")


def _exists(aws: AwsClients, role_name: str) -> bool:
    iam = aws.client("iam")
    try:
        iam.get_role(RoleName=role_name)
    except iam.exceptions.NoSuchEntityException:
        return False
    return True


_NOT_ALLOWED = "no policy allows"


def _denied(aws: AwsClients, who: str, statement: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """
    Yield those actions of a policy's statement that a principal may not do, each with the reason.

    Source: https://docs.aws.amazon.com/IAM/latest/APIReference/API_SimulatePrincipalPolicy.html.
    """
    names = _listed(statement["Action"])
    simulation = aws.client("iam").get_paginator("simulate_principal_policy")
    for start in range(0, len(names), _AT_ONCE):
        pages = simulation.paginate(
            PolicySourceArn=who,
            ActionNames=names[start : start + _AT_ONCE],
            ResourceArns=[_concrete(arn, aws) for arn in _listed(statement.get("Resource", "*"))],
            ContextEntries=list(_context(statement.get("Condition", {}))),
        )
        for result in (result for page in pages for result in page["EvaluationResults"]):
            if result["EvalDecision"] != "allowed":
                yield result["EvalActionName"], _reason(result)


def _reason(result: Mapping[str, Any]) -> str:
    if not result.get("OrganizationsDecisionDetail", {}).get("AllowedByOrganizations", True):
        return "a policy of the organization does not allow"
    if not result.get("PermissionsBoundaryDecisionDetail", {}).get("AllowedByPermissionsBoundary", True):
        return "the permissions boundary does not allow"
    return "a policy denies" if result["EvalDecision"] == "explicitDeny" else _NOT_ALLOWED


def _concrete(arn: str, aws: AwsClients) -> str:
    """Put partition, region and account into an ARN that leaves them open: policies name them, or leave them open."""
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return arn
    known = {1: aws.partition, 3: aws.region, 4: aws.account_id}
    return ":".join(known[index] if part == "*" and index in known else part for index, part in enumerate(parts))


def _context(condition: Mapping[str, Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield what a statement's condition asks for: the calls that it is meant for have that."""
    for operator, keys in condition.items():
        if operator.startswith("String"):
            for key, values in keys.items():
                yield {
                    "ContextKeyName": key,
                    "ContextKeyValues": _listed(values)[:1],
                    "ContextKeyType": "string",
                }


def _listed(value: str | Iterable[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)
