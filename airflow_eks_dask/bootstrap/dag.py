"""The DAG that builds a cluster, put together from its groups of tasks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_eks_dask.bootstrap import aws
from airflow_eks_dask.bootstrap.form import bootstrap_form
from airflow_eks_dask.bootstrap.hand_over import hand_over_group
from airflow_eks_dask.bootstrap.kubernetes import pipeline_group, services_group, verify_group
from airflow_eks_dask.bootstrap.planning import plan_group
from airflow_eks_dask.bootstrap.preflight import preflight_group
from airflow_eks_dask.bootstrap.runs import BOOTSTRAP, refuse_second
from airflow_eks_dask.bootstrap.templates import setting

DEFAULTS: dict[str, Any] = {
    # The lane that stays where it is, while others move.
    "queue": "local",
    "cluster_name": setting("cluster_name"),
    "aws_conn_id": setting("aws_conn_id"),
    "region_name": setting("region_name"),
    "deferrable": True,
    # For passing troubles; whatever is wrong with the form or the account fails at once, or again.
    "retries": 1,
    "retry_delay": timedelta(seconds=30),
    # Longer than any resource takes.
    "execution_timeout": timedelta(hours=3),
    "pre_execute": refuse_second,
}
"""What all tasks have in common that work on one cluster."""


def bootstrap_dag(doc: str | None, **defaults: Any) -> DAG:
    """
    Return the DAG that builds a cluster.

    :param doc: Markdown that explains it.
    :param defaults: Parameters of all tasks, over :data:`DEFAULTS`.
    """
    with DAG(
        BOOTSTRAP,
        schedule=None,
        catchup=False,
        tags=["eks", "dask"],
        doc_md=doc,
        params=bootstrap_form(),
        default_args={**DEFAULTS, **defaults},
        render_template_as_native_obj=True,
    ) as dag:
        preflight, plan = preflight_group(), plan_group()
        built = aws.build()
        preflight >> plan
        plan >> [built.groups[name] for name in ("network", "roles", "database", "bucket")]
        _in_kubernetes(built)
    return dag


def _in_kubernetes(built: aws.Built) -> None:
    """Make what comes after AWS."""
    services, verify = services_group(), verify_group()
    pipeline = pipeline_group()
    hand_over, summary = hand_over_group()
    addons = built.groups["addons"]
    built.tasks["cluster.cluster"] >> pipeline["certificates"]
    # Pods that start before have no way to AWS, and no names.
    [addons, built.tasks["access.worker_role"]] >> pipeline["release"]
    addons >> services
    pipeline["address"] >> verify >> hand_over
    [*(built.groups[name] for name in ("database", "bucket", "access")), services] >> summary
