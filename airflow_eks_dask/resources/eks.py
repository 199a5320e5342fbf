"""What clusters, node groups and add-ons of EKS have in common: where they stand, and one change at a time."""

from __future__ import annotations

import re
from abc import abstractmethod
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from botocore.exceptions import ClientError

from airflow_eks_dask.hooks.aws import error_code
from airflow_eks_dask.resources import ownership, validation
from airflow_eks_dask.resources.base import UNKNOWN, Action, Plan, Progress, Resource, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_eks_dask.hooks.aws import AwsClients

BUSY = ("CREATING", "UPDATING", "DELETING", "PENDING")
"""The statuses in which AWS takes no change."""

_NOT_YET = re.compile(
    r"could not be assumed|unable to assume|error in role params|role .*(can)?not (be )?found|trust relationship"
    r"|not in ACTIVE|currently has (an )?update",
    re.IGNORECASE,
)
"""What EKS says while IAM has yet to tell it of a role, or an update has yet to end."""


class Step(NamedTuple):
    """
    One call that changes something.

    :param reason: Why it is made, in words.
    :param operation: Name of the method of boto3's EKS client.
    :param arguments: What it is called with.
    """

    reason: str
    operation: str
    arguments: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class EksResource(Resource):
    """
    A cluster, or a part of one.

    Its plans hold in ``changes["steps"]`` all that is to be done. AWS takes one change at a time, so the first step is
    taken; the rest is in the next plan.

    The provider's ``EksHook`` is a thin wrapper of the client that knows neither updates, versions, health nor add-ons,
    and puts a tag of its own on node groups; so the client is used.
    """

    @property
    @abstractmethod
    def update_names(self) -> dict[str, str]:
        """What it is to ``ListUpdates``: the cluster's name, and the node group's or add-on's."""

    @abstractmethod
    def find(self, aws: AwsClients) -> dict[str, Any] | None:
        """Return what AWS says of it; None if there is none."""

    def apply(self, aws: AwsClients, plan: Plan) -> None:
        """Take the first step. That somebody created it meanwhile is no error: the next plan says whose it is."""
        try:
            _take(aws, plan.changes["steps"][0])
        except ClientError as error:
            already_there = plan.action is Action.CREATE and error_code(error) == "ResourceInUseException"
            if not already_there or self.find(aws) is None:
                raise

    def delete(self, aws: AwsClients, plan: Plan) -> None:
        """Take the first step."""
        with suppress(aws.client("eks").exceptions.ResourceNotFoundException):
            _take(aws, plan.changes["steps"][0])

    def progress(self, aws: AwsClients) -> Progress:
        """Return its status, its health and how its last update went."""
        found = self.find(aws)
        if found is None:
            return Progress(State.ABSENT)
        said = (found["status"], *health_issues(found))
        if found["status"] in BUSY:
            return Progress(State.PENDING, said)
        update = last_update(aws, self.update_names)
        if update is not None and update["status"] == "InProgress":
            return Progress(State.PENDING, (*said, f"{update['type']} is in progress"))
        failure = _recent_failure(update, self.timeout)
        failed = failure or found["status"].endswith("FAILED")
        return Progress(State.FAILED if failed else State.READY, (*said, *failure))

    def is_transient(self, error: ClientError) -> bool:
        """Whether AWS is busy with an update, or IAM has yet to make a role known."""
        code = error_code(error)
        if code == "ResourceInUseException":
            return True
        refused = code in ("InvalidParameterException", "InvalidRequestException")
        return refused and _NOT_YET.search(str(error)) is not None

    def step_plan(self, action: Action, steps: Sequence[Step], notes: Iterable[str] = ()) -> Plan:
        """
        Return a plan to take steps.

        :param notes: Reasons that no step follows from.
        """
        return self.a_plan(action, *(step.reason for step in steps), *notes, steps=list(steps))

    def tag_steps(self, found: dict[str, Any], arn: str) -> list[Step]:
        """
        Return the step that puts on missing tags.

        :param arn: The key under which AWS gives its ARN.
        """
        tags = ownership.tag_changes(self.wanted_tags, found.get("tags", {}))
        if not tags:
            return []
        reason = f"tags missing or different: {', '.join(sorted(tags))}"
        return [Step(reason, "tag_resource", {"resourceArn": found[arn], "tags": tags})]


@dataclass(frozen=True, kw_only=True)
class EksPart(EksResource):
    """A part of a cluster: a node group or an add-on."""

    name_pattern: ClassVar[re.Pattern[str]]
    name_is: ClassVar[str]
    """What its name must be, in words."""
    name_field: ClassVar[str]
    """The field that has its name."""
    name_key: ClassVar[str]
    """What AWS calls its name."""
    deletion: ClassVar[str]
    """Name of the method of boto3's EKS client that deletes it."""

    @property
    def name(self) -> str:
        """Its name."""
        return str(getattr(self, self.name_field))

    @property
    def update_names(self) -> dict[str, str]:
        """What it is to ``ListUpdates``."""
        return {"name": self.cluster_name, self.name_key: self.name}

    @property
    def names(self) -> dict[str, str]:
        """What it is to all other operations."""
        return {"clusterName": self.cluster_name, self.name_key: self.name}

    def identity_problems(self) -> list[str]:
        """Return what is wrong with its names."""
        return [
            *validation.cluster_name(self.cluster_name),
            *validation.matches(self.name_field, self.name, self.name_pattern, self.name_is),
        ]

    def progress(self, aws: AwsClients) -> Progress:
        """Return its status, health and how its last update went; pending, too, while the cluster takes no change."""
        progress = super().progress(aws)
        cluster = None if progress.state is State.PENDING else find_cluster(aws, self.cluster_name)
        if cluster is None or cluster["status"] not in BUSY:
            return progress
        return Progress(State.PENDING, (*progress.detail, f"waits for the cluster, which is {cluster['status']}"))

    def plan_deletion(self, aws: AwsClients) -> Plan:
        """Delete it if it is ours."""
        found = self.find(aws)
        if found is None:
            return self.a_plan(Action.LEAVE, "it is gone")
        return self.refused(found.get("tags", {})) or self.plan_removal("it is ours")

    def plan_remaking(self, found: dict[str, Any]) -> Plan:
        """Plan to delete it, as it failed: the next plan makes it anew."""
        reason = f"its status is {found['status']}: {issues_in_words(found)}"
        return self.a_plan(Action.REFUSE, reason) if self.existing else self.plan_removal(f"{reason}: made anew")

    def plan_removal(self, reason: str) -> Plan:
        """Return a plan to delete it, whosever it is."""
        return self.step_plan(Action.DELETE, [Step(reason, self.deletion, self.names)])


def describe(aws: AwsClients, operation: str, key: str, **names: str) -> dict[str, Any] | None:
    """
    Return what AWS says of something; None if it, or its cluster, isn't there.

    :param operation: Such as ``describe_cluster``.
    :param key: Where the answer has it.
    """
    if UNKNOWN in names.values():
        return None
    try:
        return dict(getattr(aws.client("eks"), operation)(**names)[key])
    except ClientError as error:
        if error_code(error) == "ResourceNotFoundException":
            return None
        raise


def find_cluster(aws: AwsClients, name: str) -> dict[str, Any] | None:
    """Return what AWS says of a cluster; None if there is none."""
    return describe(aws, "describe_cluster", "cluster", name=name)


def nodegroup_names(aws: AwsClients, cluster_name: str) -> list[str]:
    """Return the names of a cluster's managed node groups."""
    pages = aws.client("eks").get_paginator("list_nodegroups").paginate(clusterName=cluster_name)
    return [name for page in pages for name in page["nodegroups"]]


def health_issues(found: dict[str, Any]) -> list[str]:
    """Return what AWS says is wrong with something."""
    return [
        _in_words(issue["code"], issue["message"], issue.get("resourceIds", ()))
        for issue in found.get("health", {}).get("issues", ())
    ]


def issues_in_words(found: dict[str, Any]) -> str:
    """Return what AWS says is wrong with something, in one line."""
    return "; ".join(health_issues(found)) or "AWS doesn't say why"


def last_update(aws: AwsClients, names: dict[str, str]) -> dict[str, Any] | None:
    """
    Return the newest update of something, whatever became of it; None if there was none lately.

    Source: https://docs.aws.amazon.com/eks/latest/APIReference/API_DescribeUpdate.html.

    :param names: Of what, as ``ListUpdates`` names it.
    """
    pages = aws.client("eks").get_paginator("list_updates").paginate(**names)
    try:
        ids = [update_id for page in pages for update_id in page["updateIds"]]
    except aws.client("eks").exceptions.ResourceNotFoundException:
        return None
    updates = [describe(aws, "describe_update", "update", updateId=update_id, **names) for update_id in ids]
    return max((each for each in updates if each), key=lambda update: update["createdAt"], default=None)


def differs(wanted: Any, found: Any) -> bool:
    """Whether something is not as wanted. The order of lists has no meaning; what isn't known yet doesn't differ."""
    if is_unknown(wanted):
        return False
    return set(wanted) != set(found or ()) if isinstance(wanted, list) else bool(wanted != found)


def is_unknown(wanted: Any) -> bool:
    """Whether a dry run can't know a wanted value yet, or not all of a list."""
    return wanted == UNKNOWN or (isinstance(wanted, list) and UNKNOWN in wanted)


def _take(aws: AwsClients, step: Step) -> None:
    getattr(aws.client("eks"), step.operation)(**step.arguments)


def _recent_failure(update: dict[str, Any] | None, seconds: float) -> tuple[str, ...]:
    """Say how an update failed; nothing if it didn't, or so long ago that it was none of ours."""
    if update is None or update["status"] != "Failed":
        return ()
    if update["createdAt"] < datetime.now(timezone.utc) - timedelta(seconds=seconds):
        return ()
    errors = [
        _in_words(error.get("errorCode", "Unknown"), error.get("errorMessage", ""), error.get("resourceIds", ()))
        for error in update.get("errors", ())
    ]
    failed, which = f"{update['type']} failed", f"(update {update['id']})"
    return tuple(f"{failed}: {error} {which}" for error in errors or ["AWS doesn't say why"])


def _in_words(code: str, message: str, resource_ids: Iterable[str]) -> str:
    ids = ", ".join(resource_ids)
    return f"{code}: {message}{f' ({ids})' if ids else ''}"
