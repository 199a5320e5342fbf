"""CloudFormation templates as data: read, compared by what they mean, and asked what they make."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Mapping


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Reads the short forms of functions as their long ones."""


def _function(loader: _Loader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    value: Any
    if isinstance(node, yaml.MappingNode):
        value = loader.construct_mapping(node, deep=True)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    return {suffix if suffix in ("Ref", "Condition") else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _function)


@cache
def shipped(name: str) -> str:
    """Return the text of one of the package's own templates, such as ``network.yaml``."""
    return (files("airflow_eks_dask") / "templates" / name).read_text(encoding="utf-8")


def parse(template: str | Mapping[str, Any]) -> dict[str, Any]:
    """
    Return what a template means: without comments and layout, functions in their long form.

    :param template: YAML or JSON, or what botocore made of JSON.
    """
    text = template if isinstance(template, str) else json.dumps(template)
    parsed: dict[str, Any] = yaml.load(text, Loader=_Loader)  # noqa: S506 (it derives from SafeLoader)
    return parsed


def resources(template: Mapping[str, Any], parameters: Mapping[str, str]) -> dict[str, str]:
    """
    Return the type of each resource that a stack gets, by its name in the template.

    :param template: As :func:`parse` gives it.
    :param parameters: Those of the stack; where there is none, the template's default counts.
    """
    defaults = {name: parameter.get("Default", "") for name, parameter in template.get("Parameters", {}).items()}
    conditions = template.get("Conditions", {})
    values = {name: str(value) for name, value in (defaults | dict(parameters)).items()}
    return {
        name: resource["Type"]
        for name, resource in template["Resources"].items()
        if "Condition" not in resource or _holds(conditions[resource["Condition"]], conditions, values)
    }


def _holds(condition: Mapping[str, Any], conditions: Mapping[str, Any], values: Mapping[str, str]) -> bool:
    ((function, operand),) = condition.items()
    if function == "Condition":
        return _holds(conditions[operand], conditions, values)
    if function == "Fn::Equals":
        first, second = (str(values[each["Ref"]]) if isinstance(each, dict) else str(each) for each in operand)
        return first == second
    results = [_holds(each, conditions, values) for each in operand]
    if function == "Fn::Not":
        return not results[0]
    if function in ("Fn::And", "Fn::Or"):
        return all(results) if function == "Fn::And" else any(results)
    raise ValueError(f"a condition has the unknown function {function}")
