"""Verdicts as a table."""

from __future__ import annotations

import os
import platform
from datetime import datetime, timezone
from importlib.metadata import version
from typing import TYPE_CHECKING

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


def markers(name: str) -> tuple[str, str]:
    """Return the lines before and after a table."""
    return f"<!-- {name}: begin -->", f"<!-- {name}: end -->"


def write(file: Path, verdicts: Iterable[Verdict], *, seed: int, command: str, name: str = "faults") -> None:
    """
    Put the table between the markers of a file.

    :param seed: That decided what was broken when.
    :param name: Of the markers.
    :raises ValueError: The file has no markers.
    """
    first, last = markers(name)
    text = file.read_text()
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"{file} has no lines {first} and {last} to put the table between")
    date = datetime.now(timezone.utc).date()
    about = f"{date}, {machine()}; `{command}`, seed {seed}."
    file.write_text(f"{before}{first}\n{table(verdicts)}\n\n{about}\n{last}{after}")
