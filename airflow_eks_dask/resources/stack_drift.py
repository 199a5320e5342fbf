"""Drift: what was done to the resources of a stack behind CloudFormation's back."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eks_dask.resources import stack_events

if TYPE_CHECKING:
    from airflow_eks_dask.hooks.aws import AwsClients

_POLL_INTERVAL = 2.0
_PATIENCE = 600.0


def find(aws: AwsClients, stack_name: str) -> list[str]:
    """
    Have CloudFormation look at each resource of a stack, which changes nothing and takes up to some minutes.

    :return: What differs, in words. What CloudFormation has not looked at in time, or can't look at, is not told.
    """
    cloudformation = aws.client("cloudformation")
    deadline = time.monotonic() + _PATIENCE
    detection = _begin(aws, stack_name, deadline)
    status = cloudformation.describe_stack_drift_detection_status(StackDriftDetectionId=detection)
    while status["DetectionStatus"] == "DETECTION_IN_PROGRESS" and time.monotonic() < deadline:
        time.sleep(_POLL_INTERVAL)
        status = cloudformation.describe_stack_drift_detection_status(StackDriftDetectionId=detection)
    if status.get("StackDriftStatus") == "IN_SYNC":
        return []
    return [stack_events.drift_line(drift) for drift in _drifts(aws, stack_name)]


def _begin(aws: AwsClients, stack_name: str, deadline: float) -> str:
    while True:
        try:
            return str(aws.client("cloudformation").detect_stack_drift(StackName=stack_name)["StackDriftDetectionId"])
        except ClientError as error:
            # Somebody else has begun, or we have, and the answer was lost.
            if "already in progress" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(_POLL_INTERVAL)


def _drifts(aws: AwsClients, stack_name: str) -> list[dict[str, Any]]:
    request: dict[str, Any] = {
        "StackName": stack_name,
        "StackResourceDriftStatusFilters": ["MODIFIED", "DELETED"],
    }
    drifts: list[dict[str, Any]] = []
    while True:
        answer = aws.client("cloudformation").describe_stack_resource_drifts(**request)
        drifts += answer["StackResourceDrifts"]
        if not answer.get("NextToken"):
            return drifts
        request["NextToken"] = answer["NextToken"]
