"""The pages say what is true: names, tests, and a DAG that loads."""

from __future__ import annotations

import ast
import inspect
import re
from pathlib import Path

import pytest
from airflow.dag_processing.dagbag import BundleDagBag

from airflow_eks_dask import resources
from airflow_eks_dask.preflight import checks
from airflow_eks_dask.resources.base import Resource
from airflow_eks_dask.resources.ownership import TAG
from tests.unit.snippets import modules, operator_classes, problems

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "aws.md").read_text()
VERBS = ["create", "update", "check", "delete"]


def behaviour():
    """Return the table of resources: what happens and the tests that show it, by resource and verb."""
    (table,) = re.findall(r"<!-- resources: begin -->\n(.*)\n<!-- resources: end -->", PAGE, re.S)
    rows: dict[str, dict[str, tuple[str, list[str]]]] = {}
    for line in table.splitlines()[2:]:
        resource, verb, what, tests = (cell.strip() for cell in line.strip("|").split("|"))
        name = resource.strip("`") or name  # noqa: F821
        rows.setdefault(name, {})[verb] = (what, re.findall(r"`(\S+)`", tests))
    return rows


def kinds_of_resources():
    return {
        name
        for module in modules(resources)
        for name, each in inspect.getmembers(module, inspect.isclass)
        if issubclass(each, Resource) and each.__module__ == module.__name__ and "kind" in vars(each)
    }


ROWS = behaviour()


def test_each_kind_of_resource_is_in_the_table():
    assert ROWS.keys() == kinds_of_resources()


@pytest.mark.parametrize("name", ROWS)
def test_a_resource_is_told_in_full(name):
    assert list(ROWS[name]) == VERBS
    assert all(what and tests for what, tests in ROWS[name].values())


@pytest.mark.parametrize("name", ROWS)
def test_the_tests_that_show_it_exist(name):
    for _, tests in ROWS[name].values():
        for test in tests:
            file, _, function = test.partition("::")
            tree = ast.parse((ROOT / "tests" / "aws" / file).read_text())
            assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, test


def test_each_operator_and_its_module_is_named():
    named = {
        operator: module
        for page in (ROOT / "docs").glob("*.md")
        for module, cell in re.findall(r"^\| `(\w+)` \| (.*) \|$", page.read_text(), re.M)
        for operator in re.findall(r"`(\w+(?:Operator|Sensor))`", cell)
    }
    assert named == {name: each.__module__.rpartition(".")[2] for name, each in operator_classes().items()}


def test_each_check_is_named():
    for name in (*checks._FIRST, *checks._THEN):
        assert name in PAGE


def test_the_tag_is_that_of_the_code():
    assert f"`{TAG}=<cluster_name>`" in PAGE


@pytest.mark.parametrize("page", ["aws", "kind-to-eks"])
def test_the_dag_loads_and_what_it_asks_for_can_be(tmp_path, page):
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / f"{page}.md").read_text(), re.S)
    file = tmp_path / "example.py"
    file.write_text(code)
    bag = BundleDagBag(dag_folder=file, bundle_path=tmp_path, bundle_name="docs")
    assert bag.import_errors == {}
    (dag,) = bag.dags.values()
    assert {task.task_id: problems(task) for task in dag.tasks} == {task_id: [] for task_id in dag.task_ids}
