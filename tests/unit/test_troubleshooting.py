"""What is quoted in the page on troubleshooting is what the code says."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import airflow_eks_dask
from airflow_eks_dask.bundle import dags_folder

PACKAGE = Path(airflow_eks_dask.__file__).parent
PAGE = (PACKAGE.parent / "docs" / "troubleshooting.md").read_text()
# Of Airflow, or of Python: not said by this package.
FOREIGN = {"Process terminated by signal"}
# What stands for something else: dots, names in quotation marks, code.
VARIABLE = re.compile(r"\.\.\.|'[^']*'|`[^`]*`|\d+")
PLACEHOLDER = re.compile(r"%[-.\d]*[a-z]")


def quotations() -> list[str]:
    """Return what the first column of each table quotes."""
    cells = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("|")]
    return sorted({quoted for cell in cells for quoted in re.findall(r'"([^"]+)"', cell)} - FOREIGN)


@cache
def texts() -> list[str]:
    """Return all texts in the code; what is put into them is cut out."""
    found = []
    for file in [*PACKAGE.rglob("*.py"), *dags_folder().glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                found.append("\0".join(part.value for part in node.values if isinstance(part, ast.Constant)))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(PLACEHOLDER.sub("\0", node.value))
    return found


def test_there_are_quotations():
    assert len(quotations()) > 10


@pytest.mark.parametrize("quoted", quotations())
def test_the_code_says_it(quoted):
    fragments = [fragment.strip(" :,.") for fragment in VARIABLE.split(quoted)]
    fragments = [fragment for fragment in fragments if fragment]

    assert fragments
    # All in one text: the same words elsewhere are about something else.
    assert any(all(fragment in text for fragment in fragments) for text in texts()), fragments
