"""Code in docstrings and pages: found, run inside a DAG, and what it makes judged."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, BaseOperator

from airflow_eks_dask import operators, sensors
from airflow_eks_dask.operators import resource
from airflow_eks_dask.operators.preflight import PreflightOperator
from airflow_eks_dask.operators.resource import DeleteOperator, EnsureOperator, ResourceOperator
from airflow_eks_dask.preflight.wanted import Wanted
from airflow_eks_dask.resources.base import UNKNOWN

if TYPE_CHECKING:
    from types import ModuleType

_SNIPPET = re.compile(r"^\.\. code-block:: python\n((?:\n|    .*\n?)+)", re.M)


def modules(package: ModuleType) -> list[ModuleType]:
    """Return the modules of a package, imported."""
    return [
        importlib.import_module(each.name) for each in pkgutil.iter_modules(package.__path__, package.__name__ + ".")
    ]


def operator_classes() -> dict[str, type[BaseOperator]]:
    """Return the operators and sensors that people use, by name: all but those that others derive from."""
    return {
        name: each
        for module in modules(operators) + modules(sensors)
        if module is not resource and not module.__name__.rpartition(".")[2].startswith("_")
        for name, each in inspect.getmembers(module, inspect.isclass)
        if issubclass(each, BaseOperator) and each.__module__ == module.__name__
    }


def snippets(each: type) -> list[str]:
    """Return the blocks of Python in a class's own docstring."""
    docstring = inspect.cleandoc(vars(each).get("__doc__") or "")
    return [inspect.cleandoc(code) for code in _SNIPPET.findall(docstring)]


def tasks_of(code: str, **names: Any) -> list[BaseOperator]:
    """Run code inside a DAG; return the tasks that it makes."""
    with DAG("snippet", schedule=None) as dag:
        exec(compile(code, "snippet", "exec"), dict(names))
    return list(dag.tasks)


def problems(task: BaseOperator) -> list[str]:
    """Return what a task finds wrong with its parameters before it asks AWS; what templates stand for isn't known."""
    if isinstance(task, PreflightOperator):
        return Wanted(**without_templates(task.wanted)).problems()
    if not isinstance(task, ResourceOperator):
        return []
    wanted = task.resource_class.from_json(without_templates(task.wanted))
    assert isinstance(task, (EnsureOperator, DeleteOperator))
    return wanted.problems() if isinstance(task, EnsureOperator) else wanted.identity_problems()


def without_templates(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_templates(each) for key, each in value.items()}
    if isinstance(value, list):
        return [without_templates(each) for each in value]
    return UNKNOWN if isinstance(value, str) and "{{" in value else value
