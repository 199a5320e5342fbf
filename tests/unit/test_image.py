"""What goes into the image: all that is required, each in a version that was chosen."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

pytestmark = pytest.mark.any_airflow

ROOT = Path(__file__).parents[2]


def required(extras):
    command = [sys.executable, str(ROOT / "docker" / "requirements.py"), str(ROOT / "setup.cfg"), extras]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [Requirement(line) for line in done.stdout.splitlines() if line]


def extras_of_the_image():
    (word,) = re.findall(r'requirements\.py /setup\.cfg "(.*)" >', (ROOT / "docker" / "Dockerfile").read_text())
    return word.replace("${EXTRAS}", "samples")


@pytest.mark.parametrize("constraints", (ROOT / "constraints").glob("*.txt"), ids=lambda file: file.stem)
def test_every_requirement_is_pinned(constraints):
    lines = [Requirement(line) for line in constraints.read_text().splitlines()]
    pinned = {canonicalize_name(each.name): each.specifier for each in lines}
    for requirement in required(extras_of_the_image()):
        (specifier,) = pinned.get(canonicalize_name(requirement.name), ()) or [None]
        assert specifier is not None, f"{requirement.name} is not in {constraints.name}"
        assert requirement.specifier.contains(specifier.version), requirement.name


def test_dask_can_tell_metrics_and_the_execution_api_use_postgresql():
    names = {each.name for each in required(extras_of_the_image())}
    assert {"prometheus-client", "asyncpg", "psycopg2-binary", "distributed", "pandas"} <= names


def test_an_extra_that_is_none():
    with pytest.raises(AssertionError, match=r"setup\.cfg has no extra colours; it has samples, demo, image, "):
        required("colours")


def test_without_further_extras():
    assert {each.name for each in required("image,")} == {each.name for each in required("image")}
