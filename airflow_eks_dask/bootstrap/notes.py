"""What is told at the end, in the note of a DAG run: short, for Airflow keeps a thousand characters of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.hooks.airflow_api import AirflowApi, AirflowApiError, find_api
from airflow_eks_dask.operators.plan import cost_in_words, totals_in_words
from airflow_eks_dask.resources.leftovers import DATA

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from airflow_eks_dask.bootstrap.settings import Settings

log = logging.getLogger(__name__)


def write(context: Context, airflow_api_conn_id: str, note: str) -> None:
    """Write the note of a run; it is in the log as well, and a run needs none to be right."""
    log.info("%s", note)
    run = context["dag_run"]
    try:
        with AirflowApi(find_api(airflow_api_conn_id)) as api:
            api.write_note(run.dag_id, run.run_id, note)
    except (AirflowApiError, ValueError) as error:
        log.warning("The note of the run could not be written: %s", error)


def of_plan(settings: Settings, summary: Mapping[str, Any]) -> str:
    """Say what would be made."""
    lines = [
        f"**Plan for {settings.known_as}**: {totals_in_words(summary['totals'])}. {cost_in_words(summary)}.",
        "",
        "The log of the task `plan.plan` has all of it, and why.",
    ]
    if settings.plan_only:
        lines.append(f"Nothing was changed. Pods need the image `{settings.image}`.")
    return "\n".join(lines)


def of_bootstrap(settings: Settings, made: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """
    Say what was made, what it costs, how to reach it and what comes next.

    :param made: ``address``, ``slots``, ``kubernetes_version`` and, if there is one, ``database``.
    :param summary: Of the plan.
    """
    name = settings.cluster_name
    what = f"{made['slots']} slots at `{made['address']}`, Kubernetes {made['kubernetes_version']}"
    lines = [
        f"**{settings.known_as} runs Airflow's tasks**: {what}. {cost_in_words(summary)}.",
        "",
        f"- Airflow: connection `{settings.connection_id}`; see `airflow eks-dask status`, or the page Dask cluster",
        f"- kubectl: `airflow eks-dask kubeconfig --cluster {name} --region {settings.region_name} --merge`",
    ]
    if settings.dashboard:
        lines.append(f"- Headlamp: `airflow eks-dask dashboard --cluster {name} --region {settings.region_name}`")
    if database := made.get("database"):
        lines.append(f"- PostgreSQL: `{database['host']}`, password in Secrets Manager")
    if settings.bucket:
        lines.append(f"- Bucket: `{settings.bucket_name}`")
    lines += ["", "Next: trigger `sample_etl`; examine with `eks_dask_doctor`; remove with `eks_dask_teardown`."]
    return "\n".join(lines)


def of_teardown(settings: Settings, kept: Sequence[Mapping[str, str]]) -> str:
    """
    Say what became of a cluster.

    :param kept: What was kept on purpose, each with ``arn`` and ``kind``.
    """
    lines = [f"**{settings.known_as} is gone**; tasks run at home."]
    data = [each["arn"] for each in kept if each["kind"] in DATA]
    lines += [f"- kept: `{arn}`" for arn in data]
    if others := len(kept) - len(data):
        lines.append(f"- kept, and paid for: the network of the database, {others} things")
    if not kept:
        lines.append("Nothing of it is left.")
    return "\n".join(lines)


def of_examination(settings: Settings, found: Sequence[Mapping[str, str]], unknown: Sequence[str]) -> str:
    """
    Say what an examination came to.

    :param found: The findings, the worst first.
    :param unknown: The tasks that came to no end.
    """
    if not found and not unknown:
        return f"**{settings.known_as} is well.**"
    lines = [f"**{settings.known_as}**: {len(found)} findings; the log of the task `report` has what to do."]
    lines += [f"- `{name}` came to no end" for name in unknown]
    lines += [f"- {each['severity']}: {each['what']}" for each in found]
    return "\n".join(lines)
