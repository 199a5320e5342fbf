"""What a user or a template gives becomes the wanted state of a resource, or is refused: all of it at once."""

from __future__ import annotations

import pytest

from airflow_eks_dask.operators.eks import EnsureNodegroupOperator
from airflow_eks_dask.operators.resource import EnsureOperator
from airflow_eks_dask.preflight.wanted import Wanted
from airflow_eks_dask.resources.base import UNKNOWN, ResourceError
from airflow_eks_dask.resources.bucket import Bucket
from airflow_eks_dask.resources.nodegroup import EksNodegroup
from airflow_eks_dask.resources.wanted_state import read_wanted
from tests.unit import snippets

pytestmark = pytest.mark.any_airflow

OPERATORS = snippets.operator_classes()
ENSURE = [each for each in OPERATORS.values() if issubclass(each, EnsureOperator)]
NONSENSE = (None, 5, "", "x y", [1], {"a": 1}, True, "True", -1, "5", [None], [[]])


def test_texts_of_templates_become_what_they_stand_for():
    given = {
        "cluster_name": "pipelines",
        "nodegroup_name": "nodes",
        "min_size": "2",
        "existing": "false",
        "disk_size": UNKNOWN,
        "labels": {"a": "b"},
    }
    fields, problems = read_wanted(EksNodegroup, given)
    assert not problems
    assert fields == {**given, "min_size": 2, "existing": False}


def test_so_do_those_of_what_a_bootstrap_is_to_make():
    given = {"cluster_name": "pipelines", "max_nodes": "4", "spot": "true", "zones": 3}
    assert read_wanted(Wanted, given) == ({**given, "max_nodes": 4, "spot": True}, {})


def test_all_that_is_wrong_is_said_at_once():
    given = {
        "nodegroup_name": 5,
        "min_size": "many",
        "existing": "perhaps",
        "labels": {"a": 1},
        "instance_types": "m7i",
    }
    told = "; ".join(read_wanted(EksNodegroup, given)[1].values())
    assert "cluster_name: is needed" in told
    assert "nodegroup_name = 5: input should be a valid string" in told
    assert "min_size = 'many': input should be a valid integer" in told
    assert "existing = 'perhaps': input should be a valid boolean" in told
    assert "labels['a'] = 1: input should be a valid string" in told
    assert "instance_types = 'm7i': input should be a valid list" in told


def test_a_truth_value_is_no_number():
    assert read_wanted(EksNodegroup, {"cluster_name": "a", "min_size": True})[1]
    assert read_wanted(Bucket, {"cluster_name": "a", "existing": 1})[1]


@pytest.mark.parametrize("operator", ENSURE, ids=lambda each: each.__name__)
def test_nonsense_in_any_field_is_told_in_words(operator):
    (code,) = snippets.snippets(operator)
    task = next(each for each in snippets.tasks_of(code, **OPERATORS) if type(each) is operator)
    sensible = {"cluster_name": "pipelines", **snippets.without_templates(task.wanted)}
    resource_class = operator.resource_class
    refused = 0
    for name in resource_class.field_names():
        for value in NONSENSE:
            fields, problems = read_wanted(resource_class, {**sensible, name: value})
            # Whatever could be read can be judged: this raises nothing.
            problems = list(problems) or resource_class(**fields).problems()
            refused += bool(problems)
    assert refused > len(resource_class.field_names())


def test_an_operator_refuses_it_before_it_asks_aws():
    operator = EnsureNodegroupOperator(
        task_id="nodes", cluster_name="pipelines", nodegroup_name="n", min_size="many", max_size="few"
    )
    with pytest.raises(ResourceError) as refusal:
        operator.execute({})
    # What could be read is judged as well.
    for words in ("min_size = 'many'", "max_size = 'few'", "subnet_ids: is needed"):
        assert words in str(refusal.value)


def test_a_region_that_can_be_none():
    operator = EnsureNodegroupOperator(
        task_id="nodes", cluster_name="pipelines", nodegroup_name="nodes", region_name="the moon"
    )
    with pytest.raises(ResourceError, match="region_name = 'the moon': must be such as eu-central-1"):
        operator.execute({})
