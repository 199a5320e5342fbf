"""Who was made administrator of a cluster: access entries of ours, also those that the form names no more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import task

from airflow_eks_dask.bootstrap.planning import settings_of
from airflow_eks_dask.hooks.aws import AwsClients
from airflow_eks_dask.resources import ownership

if TYPE_CHECKING:
    from airflow_eks_dask.bootstrap.settings import Settings


@task(task_id="each_admin")
def each_admin(admins: Any) -> Any:
    """Return the administrators, a task each of what follows."""
    return admins


@task(task_id="former_admins")
def former_admins(**context: Any) -> list[str]:
    """Return those who were administrators by a former form, and are to be so no more."""
    settings = settings_of(context)  # type: ignore[arg-type]
    return [arn for arn in _admitted(settings) if arn not in settings.admins]


@task(task_id="each_admin")
def all_admins(**context: Any) -> list[str]:
    """Return all administrators that were made for the cluster; none if it is gone."""
    return _admitted(settings_of(context))  # type: ignore[arg-type]


def _admitted(settings: Settings) -> list[str]:
    return admitted(AwsClients(settings.aws_conn_id, settings.region_name), settings.cluster_name)


def admitted(aws: AwsClients, cluster_name: str) -> list[str]:
    """Return the ARNs of those with an access entry of ours; none if there is no such cluster."""
    eks, cluster = aws.client("eks"), {"clusterName": cluster_name}
    try:
        pages = list(eks.get_paginator("list_access_entries").paginate(**cluster))
        arns = [arn for page in pages for arn in page["accessEntries"]]
        entries = [eks.describe_access_entry(**cluster, principalArn=arn)["accessEntry"] for arn in arns]
    except eks.exceptions.ResourceNotFoundException:
        return []
    return [each["principalArn"] for each in entries if each.get("tags", {}).get(ownership.TAG) == cluster_name]
