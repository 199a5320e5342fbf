"""What is built in AWS: network, roles, database and bucket at once; then cluster, nodes, access and add-ons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from airflow.sdk import TaskGroup, task

from airflow_eks_dask.bootstrap.admins import each_admin, former_admins
from airflow_eks_dask.bootstrap.parts import ADMIN_POLICIES, FOR_NODES, ON_NODES, addon_part, role_part, static_parts
from airflow_eks_dask.bootstrap.settings import Settings
from airflow_eks_dask.bootstrap.templates import setting, wanted
from airflow_eks_dask.operators.access import DeleteAccessEntryOperator, EnsureAccessEntryOperator

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

    from airflow_eks_dask.bootstrap.parts import Part

GROUPS = {
    "network": "The VPC, or a look at one that is there",
    "roles": "IAM roles of cluster, nodes and pods",
    "database": "PostgreSQL on RDS, if there is to be one",
    "bucket": "S3, if there is to be some",
    "cluster": "The control plane of EKS",
    "nodes": "What nodes need to join, and nodes",
    "access": "Who may do what in the cluster, and pods in AWS",
    "addons": "What runs on nodes",
}
"""What each task group is about, by its name."""


class Built(NamedTuple):
    """
    The tasks that others wait for, and the groups.

    :param groups: By name.
    :param tasks: Those that make parts, by name.
    """

    groups: dict[str, TaskGroup]
    tasks: dict[str, BaseOperator]


@task.branch(task_id="choose")
def choose_database(database: str) -> list[str]:
    """Go on with the tasks of a new database, of an existing one, or of none."""
    return {
        "new": ["database.subnets", "database.security_group"],
        "existing": ["database.existing"],
    }.get(database, [])


@task.short_circuit(task_id="is_wanted", ignore_downstream_trigger_rules=False)
def is_wanted(value: Any) -> bool:
    """Skip what follows in this group, if it is not to be."""
    return bool(value)


def example_settings() -> Settings:
    """Return the settings that the form has at first: names of parts are the same with all."""
    return Settings.from_json({"account_id": "", "partition": "aws", "region_name": ""})


def build() -> Built:
    """Make the tasks, in groups, in the order that AWS needs and as much side by side as it takes."""
    groups = {name: TaskGroup(name, tooltip=tooltip) for name, tooltip in GROUPS.items()}
    tasks = {part.name: _task(part, groups) for part in static_parts(example_settings())}
    _order(tasks)
    with groups["database"]:
        choose_database(setting("database")) >> [
            tasks["database.subnets"],
            tasks["database.security_group"],
            tasks["database.existing"],
        ]
    with groups["bucket"]:
        is_wanted(setting("bucket")) >> tasks["bucket.bucket"]
    with groups["access"]:
        admins = each_admin(setting("admins"))
        tasks["cluster.cluster"] >> admins
        EnsureAccessEntryOperator.partial(
            task_id="admins", cluster_name=setting("cluster_name"), tags=setting("tags"), policies=ADMIN_POLICIES
        ).expand(principal_arn=admins)
        former = former_admins()
        tasks["cluster.cluster"] >> former
        DeleteAccessEntryOperator.partial(task_id="no_admins", cluster_name=setting("cluster_name")).expand(
            principal_arn=former
        )
    return Built(groups, tasks)


def _task(part: Part, groups: dict[str, TaskGroup]) -> BaseOperator:
    group, _, name = part.name.partition(".")
    return part.ensure(task_id=name, task_group=groups[group], **wanted(part))


def _order(tasks: dict[str, BaseOperator]) -> None:
    cluster, nodes = tasks["cluster.cluster"], tasks["nodes.nodes"]
    before = [tasks[addon_part(name)] for name in FOR_NODES]
    after = [tasks[addon_part(name)] for name in ON_NODES]
    [tasks["network.network"], tasks[role_part("cluster")]] >> cluster
    cluster >> [*before, tasks["access.oidc_provider"], tasks["access.worker_role"]]
    [*before, tasks[role_part("node")]] >> nodes >> after
    tasks[role_part("ebs_csi")] >> tasks[addon_part("aws-ebs-csi-driver")]
    tasks[role_part("worker")] >> tasks["access.worker_role"]
    tasks["network.network"] >> [tasks["database.subnets"], tasks["database.security_group"]]
    [tasks["database.subnets"], tasks["database.security_group"]] >> tasks["database.instance"]
