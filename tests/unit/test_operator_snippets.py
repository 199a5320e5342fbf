"""Every operator's docstring has a snippet, and the snippet makes it."""

from __future__ import annotations

import pytest

from tests.unit.snippets import operator_classes, problems, snippets, tasks_of

OPERATORS = operator_classes()


def test_operators_are_found():
    assert {"EnsureClusterOperator", "DeleteNetworkOperator", "PlanSummaryOperator"} <= OPERATORS.keys()


@pytest.mark.parametrize("name", OPERATORS)
def test_snippet_makes_the_operator(name):
    (code,) = snippets(OPERATORS[name])
    assert OPERATORS[name] in {type(task) for task in tasks_of(code, **OPERATORS)}


@pytest.mark.parametrize("name", OPERATORS)
def test_what_a_snippet_asks_for_can_be(name):
    (code,) = snippets(OPERATORS[name])
    for task in tasks_of(code, **OPERATORS):
        assert problems(task) == []


def test_a_snippet_that_asks_for_what_cannot_be_is_found_out():
    what = 'cluster_name="pipelines", cidr="10.0.0.1/16", zones="{{ params.zones }}"'
    (task,) = tasks_of(f'EnsureNetworkOperator(task_id="network", {what})', **OPERATORS)
    (problem,) = problems(task)
    assert "cidr" in problem


def test_a_snippet_with_a_parameter_that_is_none_is_found_out():
    with pytest.raises(TypeError, match="colour"):
        tasks_of('DeleteNetworkOperator(task_id="network", cluster_name="pipelines", colour="blue")', **OPERATORS)
