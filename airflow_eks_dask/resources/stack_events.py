"""What CloudFormation says of a stack: statuses, events and drift, as lines for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eks_dask.resources.base import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

NEVER_MADE = frozenset({"CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "REVIEW_IN_PROGRESS"})
"""Statuses of a stack whose creation came to nothing: AWS can only delete it."""

STUCK = frozenset({"UPDATE_ROLLBACK_FAILED", "IMPORT_ROLLBACK_FAILED"})
"""Statuses that only people can get a stack out of."""

_READY = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE", "REVIEW_IN_PROGRESS"})
_BEGINNINGS = frozenset({"CREATE_IN_PROGRESS", "UPDATE_IN_PROGRESS", "DELETE_IN_PROGRESS"})
_STACK = "AWS::CloudFormation::Stack"
_CANCELLED = ("Resource creation cancelled", "Resource update cancelled")


def state_of(status: str) -> State:
    """Return where a stack of this status stands. One that was rolled back is as before, which is not as wanted."""
    if status in _READY:
        return State.READY
    if status == "DELETE_COMPLETE":
        return State.ABSENT
    return State.PENDING if status.endswith("_IN_PROGRESS") else State.FAILED


def last_operation(newest_first: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the events since somebody last had the stack created, changed or deleted, the oldest first."""
    events: list[Mapping[str, Any]] = []
    for event in newest_first:
        events.insert(0, event)
        if (
            event["ResourceType"] == _STACK
            and event.get("PhysicalResourceId") == event["StackId"]
            and event["ResourceStatus"] in _BEGINNINGS
        ):
            break
    return events


def as_line(event: Mapping[str, Any]) -> str:
    """Return an event in one line, in AWS's own words."""
    reason = f": {event['ResourceStatusReason']}" if event.get("ResourceStatusReason") else ""
    name, kind = event["LogicalResourceId"], event["ResourceType"]
    return f"{event['Timestamp']:%H:%M:%S} {name} ({kind}) {event['ResourceStatus']}{reason}"


def failures(events: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the events that say why an operation failed; not those of things that were only cancelled by it."""
    return [
        as_line(event)
        for event in events
        if event["ResourceStatus"].endswith("_FAILED")
        and not event.get("ResourceStatusReason", "").startswith(_CANCELLED)
    ]


def drift_line(drift: Mapping[str, Any]) -> str:
    """Return in one line what was done to a resource of a stack behind CloudFormation's back."""
    name = f"{drift['LogicalResourceId']} ({drift.get('PhysicalResourceId') or drift['ResourceType']})"
    if drift["StackResourceDriftStatus"] == "DELETED":
        return f"{name} was deleted by somebody"
    differences = [
        f"{each['PropertyPath']} is {each['ActualValue']}, not {each['ExpectedValue']}"
        for each in drift.get("PropertyDifferences", ())
    ]
    return f"{name} was changed by somebody: {', '.join(differences) or 'AWS does not say how'}"


def change_line(change: Mapping[str, Any]) -> str:
    """Return in one line what a change set would do to a resource."""
    replaced = {"True": ", by making it anew", "Conditional": ", perhaps by making it anew"}
    how = replaced.get(change.get("Replacement", ""), "")
    return f"AWS will {change['Action'].lower()} {change['LogicalResourceId']} ({change['ResourceType']}){how}"
