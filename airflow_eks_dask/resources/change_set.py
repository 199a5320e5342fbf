"""Change sets of CloudFormation: what an update would do to each resource, before it does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.hooks.aws import ignoring
from airflow_eks_dask.resources.base import ResourceError

if TYPE_CHECKING:
    from airflow_eks_dask.hooks.aws import AwsClients

NAME = "airflow-eks-dask"
"""There is one at a time: one that a killed task left is deleted by the next."""

_POLL_INTERVAL = 2.0
_PATIENCE = 600.0
_NO_CHANGES = ("didn't contain changes", "No updates are to be performed")


def create(aws: AwsClients, **update: Any) -> tuple[str, list[dict[str, Any]]]:
    """
    Create a change set, wait for it, and return its id and what it would do to each resource: maybe nothing.

    :param update: The parameters of ``CreateChangeSet``, but for name and type.
    :raises ResourceError: CloudFormation can't make it, or not in time; it is deleted then.
    """
    cloudformation = aws.client("cloudformation")
    request = {"ChangeSetName": NAME, "ChangeSetType": "UPDATE", **update}
    try:
        change_set = cloudformation.create_change_set(**request)["Id"]
    except cloudformation.exceptions.AlreadyExistsException:
        cloudformation.delete_change_set(StackName=update["StackName"], ChangeSetName=NAME)
        change_set = cloudformation.create_change_set(**request)["Id"]
    try:
        return change_set, _await(aws, change_set)
    except BaseException:
        delete(aws, change_set)
        raise


def _await(aws: AwsClients, change_set: str) -> list[dict[str, Any]]:
    cloudformation = aws.client("cloudformation")
    deadline = time.monotonic() + _PATIENCE
    while True:
        answer = cloudformation.describe_change_set(ChangeSetName=change_set)
        status, reason = answer["Status"], answer.get("StatusReason", "")
        if status == "CREATE_COMPLETE":
            changes = list(answer.get("Changes", ()))
            while token := answer.get("NextToken"):
                answer = cloudformation.describe_change_set(ChangeSetName=change_set, NextToken=token)
                changes += answer.get("Changes", ())
            return [change["ResourceChange"] for change in changes]
        if status == "FAILED":
            if any(words in reason for words in _NO_CHANGES):
                return []
            raise ResourceError(f"change set of {answer['StackName']}: CloudFormation can't make it: {reason}")
        if time.monotonic() > deadline:
            raise ResourceError(f"change set of {answer['StackName']}: is still {status} after {_PATIENCE:.0f} s")
        time.sleep(_POLL_INTERVAL)


def execute(aws: AwsClients, change_set: str) -> None:
    """Begin the update that a change set is for. That it has begun already is no error."""
    with ignoring("InvalidChangeSetStatus", "ChangeSetNotFound"):
        aws.client("cloudformation").execute_change_set(ChangeSetName=change_set)


def delete(aws: AwsClients, change_set: str) -> None:
    """Delete a change set that was not executed."""
    with ignoring("ChangeSetNotFound"):
        aws.client("cloudformation").delete_change_set(ChangeSetName=change_set)
