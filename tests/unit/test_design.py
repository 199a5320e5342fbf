"""What the page on the design names is there: modules, classes, methods and functions."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import airflow_eks_dask

PACKAGE = Path(airflow_eks_dask.__file__).parent
PAGE = (PACKAGE.parent / "docs" / "design.md").read_text()
NAMED = sorted({name.strip() for code in re.findall(r"`([^`\n]+)`", PAGE) for name in code.split("→")})
FILES = [name for name in NAMED if re.fullmatch(r"[a-z_/]+\.py", name)]
MEMBERS = [name for name in NAMED if re.fullmatch(r"[A-Za-z_]+\.[a-z_]+", name) and name not in FILES]
# Of Airflow.
FOREIGN = {"BaseExecutor.run_workload"}


@cache
def members() -> set[str]:
    """Return methods by class, and functions by module."""
    found = set()
    for file in PACKAGE.rglob("*.py"):
        tree = ast.parse(file.read_text())
        for owner, body in [(file.stem, tree.body)] + [
            (node.name, node.body) for node in tree.body if isinstance(node, ast.ClassDef)
        ]:
            found |= {
                f"{owner}.{node.name}" for node in body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
            }
    return found


def test_it_names_what_a_reader_follows():
    assert len(FILES) > 20
    assert len(MEMBERS) > 25


@pytest.mark.parametrize("name", FILES)
def test_a_module_is_there(name):
    # A test's path begins at the top; a name alone stands for a module that was named in full before.
    assert (
        (PACKAGE / name).is_file()
        or (PACKAGE.parent / name).is_file()
        or any(each.endswith(f"/{name}") for each in FILES)
    )


@pytest.mark.parametrize("name", sorted({*MEMBERS} - FOREIGN))
def test_a_function_is_there(name):
    assert name in members()
