"""The chart's README says what is true: its tables are those of values.yaml, and its values render."""

from __future__ import annotations

import re

import pytest
import yaml

from tests.chart.readme import BEGIN, END, README, descriptions, leaves, tables
from tests.chart.rendering import CHART

pytestmark = pytest.mark.any_airflow

TEXT = README.read_text()
VALUES = (CHART / "values.yaml").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", TEXT, re.S)


def test_the_tables_are_those_of_the_values():
    assert TEXT.split(BEGIN)[1].split(END)[0] == tables(), "python -m tests.chart.readme writes them anew"


def test_each_value_is_described():
    described = descriptions(VALUES)
    for path in leaves(yaml.safe_load(VALUES)):
        assert any(path[:length] in described for length in range(1, len(path) + 1)), ".".join(path)


def test_a_description_belongs_to_the_value_below_it():
    text = "a:\n  # -- One\n  # and a half.\n  b: 1\n  # None.\n  c: 2\n  d:\n    # -- Three.\n    e: {f: 3}\ng: 4\n"
    assert descriptions(text) == {("a", "b"): "One and a half.", ("a", "d", "e"): "Three."}


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_render(chart, example):
    assert chart.render(yaml.safe_load(example)).of_kind("Deployment")
