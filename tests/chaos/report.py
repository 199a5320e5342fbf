"""Verdicts as a table."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from importlib.metadata import version
from typing import TYPE_CHECKING

from benchmarks.report import put_between_markers

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tests.chaos.trial import Verdict

HEADINGS = (
    "Fault",
    "Executor",
    "Tasks",
    "Lost",
    "Run twice",
    "Overlapping",
    "Failed with what broke",
    "Failed wrongly",
    "First start after (s)",
    "All slots busy after (s)",
    "Left over",
)


def row(verdict: Verdict) -> str:
    """Return a verdict as a line of the table."""
    cells = (
        verdict.fault,
        verdict.executor,
        verdict.tasks,
        len(verdict.lost),
        len(verdict.duplicated),
        len(verdict.overlapping),
        verdict.failed,
        len(verdict.wrongly_failed),
        seconds(verdict.first_start),
        seconds(verdict.busy),
        "something" if verdict.left_over else "nothing",
    )
    return f"| {' | '.join(map(str, cells))} |"


def seconds(value: float | None) -> str:
    """Return seconds with one decimal place."""
    return "–" if value is None else f"{value:.1f}"  # noqa: RUF001 - a dash for what was not seen


def table(verdicts: Iterable[Verdict]) -> str:
    """Return the whole table."""
    return "\n".join([f"| {' | '.join(HEADINGS)} |", "|---" * len(HEADINGS) + "|", *map(row, verdicts)])


def machine() -> str:
    """Describe what it was measured on."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("apache-airflow", "distributed"))
    system = f"{os.cpu_count()} processors, {platform.system()} {platform.machine()}"
    return f"{system}, Python {platform.python_version()}, {versions}"


def write(file: Path, verdicts: Iterable[Verdict], *, seed: int, command: str, name: str = "faults") -> None:
    """
    Put the table between the markers of a file.

    :param seed: That decided what was broken when.
    :param name: Of the markers.
    :raises ValueError: The file has no markers.
    """
    date = datetime.now(timezone.utc).date()
    text = f"{table(verdicts)}\n\n{date}, {machine()}; `{command}`, seed {seed}."
    try:
        written = put_between_markers(file.read_text(), name, text)
    except ValueError as error:
        raise ValueError(f"{file}: {error}, to put the table between") from None
    file.write_text(written)
