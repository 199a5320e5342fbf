"""What an auto scaling group says of its instances."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_eks_dask.hooks.aws import AwsClients

_ACTIVITIES = 20
"""How far back to look for why instances don't start."""


@dataclass(frozen=True)
class Group:
    """
    An auto scaling group.

    :param running: How many of its instances are healthy and in service.
    :param least: How many there are to be at least.
    :param activities: What it did last, the newest first, as AWS describes it; nothing unless it is short.
    """

    name: str
    running: int
    least: int
    suspended: frozenset[str] = frozenset()
    activities: tuple[dict[str, Any], ...] = ()

    @property
    def is_short(self) -> bool:
        """Whether it has fewer instances than it should."""
        return self.running < self.least

    def in_words(self) -> str:
        """Say how many instances it has."""
        return f"{self.running} of at least {self.least} nodes are in service"

    def problems(self) -> list[str]:
        """Say in AWS's own words why it has too few instances; nothing if they may be on their way."""
        failed = takewhile(lambda activity: activity["StatusCode"] != "Successful", self.activities)
        messages = [
            activity.get("StatusMessage") or activity["Description"]
            for activity in failed
            if activity["StatusCode"] in ("Failed", "Cancelled")
        ]
        stopped = [f"{process} is suspended" for process in sorted(self.suspended & {"Launch"})]
        return [*stopped, *dict.fromkeys(messages)]


def find(aws: AwsClients, name: str) -> Group | None:
    """Return an auto scaling group; None if it isn't there."""
    autoscaling = aws.client("autoscaling")
    answer = autoscaling.describe_auto_scaling_groups(AutoScalingGroupNames=[name])["AutoScalingGroups"]
    if not answer:
        return None
    found = answer[0]
    running = [
        instance
        for instance in found["Instances"]
        if instance["LifecycleState"] == "InService" and instance["HealthStatus"] == "Healthy"
    ]
    suspended = frozenset(process["ProcessName"] for process in found.get("SuspendedProcesses", ()))
    activities: tuple[dict[str, Any], ...] = ()
    if len(running) < found["MinSize"]:
        response = autoscaling.describe_scaling_activities(AutoScalingGroupName=name, MaxRecords=_ACTIVITIES)
        activities = tuple(response["Activities"])
    return Group(name, len(running), found["MinSize"], suspended, activities)
