"""One table of all plans of a DAG, from what its tasks left."""

from __future__ import annotations

import pytest
from airflow.sdk import DAG

from airflow_eks_dask.operators.iam import EnsureIamRoleOperator
from airflow_eks_dask.operators.plan import PlanSummaryOperator
from airflow_eks_dask.operators.resource import PLAN_KEY
from airflow_eks_dask.resources.base import ResourceError
from tests.aws.runs import Run
from tests.aws.said import Said


def plan(action, *reasons, name="thing", **more):
    return {"kind": "thing", "name": name, "action": action, "reasons": list(reasons), **more}


@pytest.fixture
def run():
    return Run()


@pytest.fixture
def summarize(run):
    """Show plans; a mapping of them by the task that left it."""

    def do(**plans):
        run.left.update({(task_id, PLAN_KEY): plan for task_id, plan in plans.items()})
        return run.run(PlanSummaryOperator(task_id="plan", task_ids=list(plans)))

    return do


@pytest.fixture
def said(monkeypatch):
    return Said.by(PlanSummaryOperator, monkeypatch)


def test_the_plans_of_all_tasks_before_it_are_shown_in_order(simulation, run):
    def role(name):
        return EnsureIamRoleOperator(
            task_id=name,
            cluster_name="c",
            role_name=name,
            trusted_service="eks.amazonaws.com",
            dry_run=True,
        )

    with DAG("d", schedule=None):
        first, second, after = role("first"), role("second"), role("after")
        summary = PlanSummaryOperator(task_id="plan")
        first >> second >> summary >> after
    for task in (second, first, after):
        run.run(task)
    result = run.run(summary)
    assert [(each["name"], each["action"]) for each in result["plans"]] == [("first", "create"), ("second", "create")]
    assert result["totals"] == {"create": 2, "change": 0, "leave": 0, "delete": 0, "refuse": 0}
    assert (result["monthly_cost"], result["monthly_cost_is_complete"]) == (0, True)


def test_costs_are_summed(summarize, said):
    result = summarize(a=plan("create", monthly_cost=73.0), b=plan("leave", monthly_cost=1200.5))
    assert (result["monthly_cost"], result["monthly_cost_is_complete"]) == (1273.5, True)
    assert said[-1].startswith("1 to create, 1 to leave. It costs 1,273.50 USD a month")


def test_an_unknown_cost_makes_it_at_least(summarize, said):
    result = summarize(a=plan("create", monthly_cost=73.0), b=plan("create", monthly_cost=None))
    assert (result["monthly_cost"], result["monthly_cost_is_complete"]) == (73, False)
    assert "It costs at least 73.00 USD" in said[-1]
    assert "unknown" in said.text


@pytest.mark.parametrize("other", [{}, {"monthly_cost": 0.0}])
def test_without_any_price_the_cost_is_unknown(summarize, said, other):
    result = summarize(a=plan("create", monthly_cost=None), b=plan("leave", **other))
    assert (result["monthly_cost"], result["monthly_cost_is_complete"]) == (0, False)
    assert "What it costs is unknown" in said[-1]


def test_every_reason_is_in_the_table(summarize, said):
    summarize(a=plan("change", "the [red]version differs", "no tag", name="pipelines"))
    for words in ("pipelines", "change", "the [red]version differs", "no tag"):
        assert words in said.text


def test_all_refusals_are_told_at_once(summarize):
    refusals = {"a": plan("refuse", "a is foreign"), "b": plan("create"), "c": plan("refuse", "c is locked", "and b")}
    with pytest.raises(ResourceError) as caught:
        summarize(**refusals)
    assert str(caught.value).splitlines()[1:] == ["- a is foreign", "- c is locked; and b"]


def test_tasks_without_a_plan_are_passed_over(summarize, said):
    assert summarize(a=None)["plans"] == []
    assert said[-1].startswith("Nothing was planned")
