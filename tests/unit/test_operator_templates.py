"""Parameters of operators in a DAG that renders native objects: text stays text, all else is what it is."""

from __future__ import annotations

import pytest
from airflow.sdk import DAG

from airflow_eks_dask.operators.eks import EnsureClusterOperator, EnsureNodegroupOperator
from airflow_eks_dask.operators.leftovers import LeftoversOperator
from airflow_eks_dask.operators.preflight import PreflightOperator

PARAMS = {"version": "1.30", "minor": 30, "size": 3, "flag": True, "nothing": None, "subnets": ["subnet-1", "subnet-2"]}


def rendered(operator, *, native=True, **parameters):
    with DAG("templates", schedule=None, render_template_as_native_obj=native) as dag:
        task = operator(task_id="task", **parameters)
    task.render_template_fields({"params": PARAMS}, dag.get_template_env())
    return task


@pytest.mark.parametrize("version", ["1.30", "{{ params.version }}", "1.{{ params.minor }}"])
@pytest.mark.parametrize("native", [True, False])
def test_a_version_is_no_number(version, native):
    task = rendered(EnsureClusterOperator, native=native, cluster_name="12", version=version)
    assert task.wanted == {"cluster_name": "12", "version": "1.30"}


def test_labels_and_tags_are_texts():
    texts = {"gpu": "True", "team": "7", "none": "None", "pair": "(1, 2)"}
    task = rendered(EnsureNodegroupOperator, cluster_name="pipelines", nodegroup_name="n", labels=texts, tags=texts)
    assert task.wanted["labels"] == task.wanted["tags"] == texts


def test_what_is_no_text_stays_what_it_is():
    task = rendered(
        EnsureNodegroupOperator,
        cluster_name="pipelines",
        nodegroup_name="n",
        min_size="{{ params.size }}",
        replace="{{ params.flag }}",
        desired_size="{{ params.nothing }}",
        subnet_ids="{{ params.subnets }}",
        instance_types="['m7i.large', 'm{{ params.size + 3 }}i.large']",
        dry_run="{{ params.flag }}",
    )
    assert task.wanted["min_size"] == 3
    assert task.wanted["replace"] is True
    assert task.wanted["desired_size"] is None
    assert task.wanted["subnet_ids"] == PARAMS["subnets"]
    assert task.wanted["instance_types"] == ["m7i.large", "m6i.large"]
    assert task.is_dry_run is True


def test_preflight_and_leftovers_take_texts():
    preflight = rendered(PreflightOperator, cluster_name="12", kubernetes_version="{{ params.version }}")
    assert preflight.wanted == {"cluster_name": "12", "kubernetes_version": "1.30"}
    assert rendered(LeftoversOperator, cluster_name="12").cluster_name == "12"
