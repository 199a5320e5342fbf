"""The DAG that examines a cluster."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, BaseOperator, TaskGroup, TriggerRule
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from airflow_eks_dask.bootstrap import notes
from airflow_eks_dask.bootstrap.dag import DEFAULTS
from airflow_eks_dask.bootstrap.examination import EXAMINERS, findings_of
from airflow_eks_dask.bootstrap.form import which_cluster
from airflow_eks_dask.bootstrap.planning import settings_of
from airflow_eks_dask.bootstrap.preflight import RecallOperator
from airflow_eks_dask.hooks.aws import AwsClients
from airflow_eks_dask.links.aws import AwsConsoleLink, clusters
from airflow_eks_dask.operators._table import table
from airflow_eks_dask.preflight.finding import COLUMNS, by_severity, errors_in_words

if TYPE_CHECKING:
    from airflow.sdk import Context

DOCTOR = "eks_dask_doctor"


class KnownClusterOperator(RecallOperator):
    """Finds out what a cluster was built with; a run by the schedule is skipped where there is no such cluster."""

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Find out.

        :raises AirflowSkipException: There is none, and nobody asked.
        :raises AirflowFailException: There is none.
        """
        try:
            return super().execute(context)
        except AirflowFailException as error:
            if context["dag_run"].run_type != "scheduled":
                raise
            raise AirflowSkipException(str(error)) from None


class ExamineOperator(BaseOperator):
    """
    Examines a cluster in one way. Changes nothing; returns what is found.

    :param examiner: One of :data:`.EXAMINERS`.
    """

    operator_extra_links = (AwsConsoleLink(),)
    ui_color = "#dce8f5"

    def __init__(self, *, examiner: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.examiner = examiner
        self.aws: AwsClients | None = None

    def execute(self, context: Context) -> list[dict[str, str]]:
        """Examine."""
        settings = settings_of(context)
        aws = self.aws or AwsClients(settings.aws_conn_id, settings.region_name)
        AwsConsoleLink.leave(context, self, aws, clusters)
        found = findings_of(self.examiner, settings, aws)
        for each in found:
            self.log.info("%s: %s: %s. %s", *(each[name] for name in ("severity", "what", "why", "what_to_do")))
        return found


class ReportOperator(BaseOperator):
    """Shows all that was found, the worst first. Fails if anything is wrong."""

    def execute(self, context: Context) -> list[dict[str, str]]:
        """
        Show.

        :raises AirflowFailException: Something is wrong.
        """
        settings = settings_of(context)
        names = [f"examine.{name}" for name in EXAMINERS]
        answers = context["ti"].xcom_pull(task_ids=names)
        unknown = [name for name, answer in zip(names, answers, strict=True) if answer is None]
        found = by_severity([each for answer in answers for each in answer or ()])
        for line in table(COLUMNS, [[each[name] for name in COLUMNS] for each in found]) if found else ():
            self.log.info("%s", line)
        notes.write(context, settings.airflow_api_conn_id, notes.of_examination(settings, found, unknown))
        errors = errors_in_words(found)
        if errors or unknown:
            lines = errors + [f"- {name} came to no end: see its log" for name in unknown]
            raise AirflowFailException(f"{len(lines)} things are wrong with {settings.known_as}:\n" + "\n".join(lines))
        return found


def doctor_dag(doc: str | None, **defaults: Any) -> DAG:
    """
    Return the DAG that examines a cluster.

    :param doc: Markdown that explains it.
    :param defaults: Parameters of all tasks.
    """
    common = {name: DEFAULTS[name] for name in ("queue", "retries", "retry_delay")}
    with DAG(
        DOCTOR,
        schedule=timedelta(days=1),
        catchup=False,
        is_paused_upon_creation=True,
        max_active_runs=1,
        tags=["eks", "dask"],
        doc_md=doc,
        params=which_cluster(),
        default_args={**common, "execution_timeout": timedelta(minutes=30), **defaults},
        render_template_as_native_obj=True,
    ) as dag:
        with TaskGroup("preflight", tooltip="What it was built with"):
            form = KnownClusterOperator(
                task_id="form", aws_conn_id="{{ params.aws_conn_id }}", region_name="{{ params.region_name }}"
            )
        with TaskGroup("examine", tooltip="Each part, from AWS to a worker") as examine:
            for name in EXAMINERS:
                ExamineOperator(task_id=name, examiner=name, retries=0)
        # It tells of those that failed, and is skipped with a cluster that isn't there.
        report = ReportOperator(task_id="report", trigger_rule=TriggerRule.ALL_DONE_MIN_ONE_SUCCESS, retries=0)
        form >> examine >> report
    return dag
