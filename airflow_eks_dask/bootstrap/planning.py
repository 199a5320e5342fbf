"""Second: what would be made, and what it costs; and whether to go on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.python import ShortCircuitOperator
from airflow.sdk import BaseOperator, TaskGroup, task

from airflow_eks_dask.bootstrap import notes, remembered
from airflow_eks_dask.bootstrap.plan import plans
from airflow_eks_dask.bootstrap.settings import Settings
from airflow_eks_dask.bootstrap.templates import FORM
from airflow_eks_dask.hooks.aws import AwsClients
from airflow_eks_dask.links.aws import AwsConsoleLink, clusters
from airflow_eks_dask.operators._denial import failing_for_good_if_denied
from airflow_eks_dask.operators.plan import show_plans

if TYPE_CHECKING:
    from airflow.sdk import Context


def settings_of(context: Context) -> Settings:
    """Return the settings of a run."""
    return Settings.from_json(context["ti"].xcom_pull(task_ids=FORM)["settings"])


class PlanOperator(BaseOperator):
    """
    Shows what would be done in AWS, with what it costs in a month, and writes that into the note of the run.

    Returns what :class:`.PlanSummaryOperator` does; changes nothing.
    """

    operator_extra_links = (AwsConsoleLink(),)
    ui_color = "#dce8f5"
    aws: AwsClients | None = None

    @failing_for_good_if_denied()
    def execute(self, context: Context) -> dict[str, Any]:
        """
        Plan.

        :raises ResourceError: Something can't be done.
        :raises AirflowFailException: AWS has denied a call.
        """
        settings = settings_of(context)
        aws = self.aws or AwsClients(settings.aws_conn_id, settings.region_name)
        AwsConsoleLink.leave(context, self, aws, clusters)
        summary = show_plans(list(plans(settings, aws)), self.log.info)
        notes.write(context, settings.airflow_api_conn_id, notes.of_plan(settings, summary))
        return summary


@task(task_id="remember")
def remember(**context: Any) -> None:
    """Keep what the cluster is built with, for its examination and for taking it down."""
    remembered.remember(settings_of(context))  # type: ignore[arg-type]


def plan_group() -> TaskGroup:
    """Make the tasks of the group; its last one skips all that comes after it, if only a plan was asked for."""
    with TaskGroup("plan", tooltip="What would be made, why, and what it costs") as group:
        plan = PlanOperator(task_id="plan")
        go_on = ShortCircuitOperator(
            task_id="go_on",
            python_callable=lambda plan_only: not plan_only,
            op_args=["{{ params.plan_only }}"],
            doc_md="Skips all that follows, if the form says `plan_only`.",
        )
        plan >> go_on >> remember()
    return group
