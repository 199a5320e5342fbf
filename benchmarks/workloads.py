"""What is run: the rows of the comparison, and their sizes."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SIZES = {"wide": 200, "chain": 20, "mapped": 500, "mixed": 60}
"""Tasks of each row, as in the published results."""

SIZE_VARIABLE = "BENCHMARK_{}_TASKS"
"""Environment variable by which a DAG file gets the size of its row."""

LONGEST = 3.0
_SEED = 20


@dataclass(frozen=True)
class Row:
    """
    One DAG and what is known of its tasks.

    :param name: Also the DAG's id.
    :param tasks: Number of task instances that are measured.
    :param width: How many of them can run at the same time.
    :param work: Seconds that they spend with their own work, all together.
    :param params: Of the DAG run.
    """

    name: str
    tasks: int
    width: int
    work: float = 0.0
    params: Mapping[str, int] = field(default_factory=dict)


def mixed_durations(tasks: int) -> list[float]:
    """
    Return the seconds that each task of ``mixed`` sleeps, the same each time.

    About a third do not sleep at all, the others for up to ``LONGEST``.

    :param tasks: How many there are.
    """
    rng = random.Random(_SEED)  # noqa: S311 - no secret
    return [0.0 if rng.random() < 1 / 3 else round(rng.uniform(0, LONGEST), 2) for _ in range(tasks)]


def rows(names: Mapping[str, int]) -> list[Row]:
    """
    Return rows by name and number of tasks.

    :raises ValueError: A name or number makes no sense.
    """
    return [_row(name, tasks) for name, tasks in names.items()]


def _row(name: str, tasks: int) -> Row:
    if tasks < 1:
        raise ValueError(f"row {name}: {tasks} tasks; must be at least 1")
    if name == "chain":
        return Row(name, tasks, width=1)
    if name == "mixed":
        return Row(name, tasks, width=tasks, work=sum(mixed_durations(tasks)))
    if name == "mapped":
        return Row(name, tasks, width=tasks, params={"tasks": tasks})
    if name == "wide":
        return Row(name, tasks, width=tasks)
    raise ValueError(f"there is no row {name!r}; there are {', '.join(SIZES)}")


def parse_size(text: str) -> tuple[str, int]:
    """
    Read ``name`` or ``name=tasks``.

    :raises ValueError: It is neither, or there is no such row.
    """
    name, equals, number = text.partition("=")
    if name not in SIZES:
        raise ValueError(f"there is no row {name!r}; there are {', '.join(SIZES)}")
    if not equals:
        return name, SIZES[name]
    if not number.isdecimal() or int(number) < 1:
        raise ValueError(f"row {name}: {number!r} tasks; must be a whole number of at least 1")
    return name, int(number)


def size_variables(selected: list[Row]) -> dict[str, str]:
    """Return the environment variables that the DAG files read."""
    return {SIZE_VARIABLE.format(row.name.upper()): str(row.tasks) for row in selected}
