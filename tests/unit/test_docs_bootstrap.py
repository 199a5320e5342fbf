"""The page on the DAGs that build, examine and remove a cluster says what is true."""

from __future__ import annotations

import re
from pathlib import Path

from airflow_eks_dask.bootstrap.dag import bootstrap_dag
from airflow_eks_dask.bootstrap.form import bootstrap_form

PAGE = (Path(__file__).parents[2] / "docs" / "bootstrap.md").read_text()


def rows(heading):
    (table,) = re.findall(rf"^\| {heading} .*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.M)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()]


def test_each_field_of_the_form_is_in_the_table_in_its_section():
    told, section = [], ""
    for first, fields, _ in rows("section"):
        section = first or section
        told += [(section, name) for name in re.findall(r"`(\w+)`", fields)]
    assert told == [(param.schema["section"], name) for name, param in bootstrap_form().items()]


def test_each_group_of_tasks_is_told():
    told = {name for first, *_ in rows("group") for name in re.findall(r"`(\w+)`", first)}
    assert told == {task.task_id.partition(".")[0] for task in bootstrap_dag(None).tasks}
