"""The link from a task to the AWS console, for tasks that look after more than one resource."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from airflow.sdk import DAG

from airflow_eks_dask.links.aws import AwsConsoleLink
from airflow_eks_dask.operators.helm import HelmReleaseStatusOperator
from airflow_eks_dask.operators.iam import EnsureIamRoleOperator
from airflow_eks_dask.operators.leftovers import LeftoversOperator
from airflow_eks_dask.operators.plan import PlanSummaryOperator
from airflow_eks_dask.operators.preflight import PreflightOperator
from airflow_eks_dask.resources.base import ResourceError
from tests.aws.runs import Run

CLUSTERS = "https://console.aws.amazon.com/eks/clusters?region=eu-central-1"


@pytest.fixture
def run(simulation):
    return Run()


def link(run, task_id):
    return AwsConsoleLink().format_link(**run.left[task_id, AwsConsoleLink.key])


def role(**parameters):
    return EnsureIamRoleOperator(
        task_id="role", cluster_name="c", role_name="r", trusted_service="eks.amazonaws.com", **parameters
    )


def test_leftovers_leads_to_all_that_has_our_tag(run):
    run.run(LeftoversOperator(task_id="leftovers", cluster_name="pipelines", patience=0))
    address, _, query = link(run, "leftovers").partition("#")
    assert address == "https://console.aws.amazon.com/resource-groups/tag-editor/find-resources?region=eu-central-1"
    assert "tagFilters:!((key:'airflow-eks-dask/cluster',values:!('pipelines')))" in unquote(query)


def test_preflight_leads_to_the_clusters_of_the_region_also_when_it_fails(run):
    with pytest.raises(ResourceError):
        run.run(PreflightOperator(task_id="preflight", cluster_name="pipelines", region_name="eu-nowhere-1"))
    assert link(run, "preflight") == CLUSTERS.replace("eu-central-1", "eu-nowhere-1")


def test_preflight_without_a_region_tells_what_it_found_instead(run, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_NOWHERE", "aws://")
    with pytest.raises(ResourceError, match="There is no region to work in"):
        run.run(PreflightOperator(task_id="preflight", cluster_name="pipelines", aws_conn_id="nowhere"))
    assert ("preflight", AwsConsoleLink.key) not in run.left


def test_a_plan_summary_leads_to_where_its_tasks_work(run):
    with DAG("d", schedule=None):
        before, summary = role(dry_run=True), PlanSummaryOperator(task_id="plan")
        before >> summary
    run.run(before)
    run.run(summary)
    assert link(run, "plan") == CLUSTERS


def test_a_plan_summary_of_tasks_without_links_has_none(run):
    with DAG("d", schedule=None):
        before, summary = role(dry_run=True, do_xcom_push=False), PlanSummaryOperator(task_id="plan")
        before >> summary
    run.run(before)
    run.run(summary)
    assert ("plan", AwsConsoleLink.key) not in run.left


@pytest.mark.parametrize(
    ("where", "leads_to"),
    [
        ({"eks_cluster_name": "c"}, CLUSTERS.replace("clusters?", "clusters/c?")),
        ({"eks_cluster_name": "c", "aws_conn_id": "nowhere"}, None),
        ({"kubeconfig": "config"}, None),
    ],
)
def test_a_task_in_a_cluster_on_eks_leads_to_the_cluster(run, where, leads_to):
    task = HelmReleaseStatusOperator(task_id="status", release="r", namespace="n", **where)
    task.pre_execute({"ti": run, "task": task})
    left = run.left.get(("", AwsConsoleLink.key))
    assert (left and AwsConsoleLink().format_link(**left)) == leads_to
