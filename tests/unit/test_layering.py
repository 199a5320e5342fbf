"""Imports between the rooms of the package point one way, also those inside of functions."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import airflow_eks_dask

PACKAGE = Path(airflow_eks_dask.__file__).parent
ROOT = PACKAGE.parent

# What no other room may import; the commands and the page are for people.
ENDS = {"cli", "ui", "dags"}
FORBIDDEN = {
    "worker": {"executors", "operators", "triggers", "hooks", "local"},
    "executors": {"operators", "triggers", "links", "local"},
    "hooks": {"executors", "operators", "triggers", "links", "local"},
    "helm": {"executors", "operators", "triggers", "links", "local"},
    "preflight": {"executors", "operators", "triggers", "links", "local"},
    "resources": {"executors", "operators", "triggers", "links", "local", "preflight"},
    "triggers": {"executors", "operators", "links", "local"},
    "links": {"executors", "operators", "triggers", "local"},
    "operators": {"local"},
    "dags": {"executors", "worker", "local"},
    "cli": {"ui"},
    "ui": {"cli", "local", "operators"},
}


def files() -> dict[str, list[Path]]:
    """Return the modules of each room; what lies beside the rooms is a room too."""
    found: dict[str, list[Path]] = {"dags": sorted((ROOT / "dags").glob("*.py"))}
    for file in sorted(PACKAGE.rglob("*.py")):
        parts = file.relative_to(PACKAGE).parts
        found.setdefault(parts[0] if len(parts) > 1 else "", []).append(file)
    return found


def imported_rooms(source: str) -> set[str]:
    """Return the rooms that a module imports from."""
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports are not used here"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    parts = [name.split(".") for name in names if name.startswith("airflow_eks_dask.")]
    return {part[1] for part in parts if (PACKAGE / part[1]).is_dir() or part[1] == "dags"}


ROOMS = files()


def test_imports_are_found_wherever_they_are():
    source = """
import airflow_eks_dask.hooks.dask
from airflow_eks_dask import executors, __version__
def later():
    from airflow_eks_dask.ui import app
    from airflow.models import Log
"""
    assert imported_rooms(source) == {"hooks", "executors", "ui"}


def test_rooms_are_those_that_exist():
    assert FORBIDDEN.keys() <= ROOMS.keys()
    assert all(ROOMS.values())


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_one_way(room):
    wrong = {
        f"{file.relative_to(ROOT)} imports {other}"
        for file in ROOMS[room]
        for other in imported_rooms(file.read_text())
        if other != room and other in ENDS | FORBIDDEN.get(room, set())
    }
    assert not wrong
