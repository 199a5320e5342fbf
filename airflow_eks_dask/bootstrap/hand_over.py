"""The end: tasks run on the cluster, and what there is to know is in the note of the run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, TaskGroup, TriggerRule

from airflow_eks_dask.bootstrap import kubernetes, notes
from airflow_eks_dask.bootstrap.planning import settings_of
from airflow_eks_dask.hooks.aws import AwsClients
from airflow_eks_dask.links.aws import AwsConsoleLink, tagged
from airflow_eks_dask.resources.ownership import TAG

if TYPE_CHECKING:
    from airflow.sdk import Context


class SummaryOperator(BaseOperator):
    """Writes into the note of the run what was made, what it costs, how to reach it and what comes next."""

    operator_extra_links = (AwsConsoleLink(),)
    ui_color = "#dce8f5"
    aws: AwsClients | None = None

    def execute(self, context: Context) -> str:
        """Write; return the note."""
        ti, settings = context["ti"], settings_of(context)
        aws = self.aws or AwsClients(settings.aws_conn_id, settings.region_name)
        AwsConsoleLink.leave(context, self, aws, lambda region: tagged(region, TAG, settings.cluster_name))
        checked = ti.xcom_pull(task_ids="hand_over.publish")
        made: dict[str, Any] = {
            "address": checked["address"],
            "slots": checked["slots"],
            "kubernetes_version": ti.xcom_pull(task_ids="cluster.cluster")["version"],
        }
        if settings.database != "none":
            task_id = "database.instance" if settings.database == "new" else "database.existing"
            made["database"] = ti.xcom_pull(task_ids=task_id)
        note = notes.of_bootstrap(settings, made, ti.xcom_pull(task_ids="plan.plan"))
        notes.write(context, settings.airflow_api_conn_id, note)
        return note


def hand_over_group() -> tuple[TaskGroup, BaseOperator]:
    """Make the tasks of the group; the last of them waits for all that was wanted, and for nothing that was not."""
    with TaskGroup("hand_over", tooltip="Tasks run on the cluster") as group:
        summary = SummaryOperator(task_id="summary", trigger_rule=TriggerRule.NONE_FAILED)
        kubernetes.publish() >> summary
    return group, summary
