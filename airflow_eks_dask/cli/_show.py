"""How commands show numbers and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.cli.simple_table import AirflowConsole, SimpleTable
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rich.table import Table

# Airflow's own has no type annotations.
_simple_table: Callable[..., Table] = SimpleTable

UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]]) -> None:
    """Print a table. Text is shown as it is: names may hold brackets, which are no markup."""
    table = _simple_table(show_header=True)
    for column in columns:
        # The first is what one looks for; in the others, folding keeps every letter.
        table.add_column(column, no_wrap=column == columns[0], overflow="fold")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else Text(cell) for cell in row))
    AirflowConsole().print(table)


def print_json(data: Mapping[str, Any]) -> None:
    """Print one JSON object, and nothing else, to standard output."""
    AirflowConsole().print_as_json(dict(data))


def size(number: float | None) -> str:
    """
    Return a number of bytes in words.

    :param number: None is not known.
    """
    if number is None:
        return "-"
    amount, unit = float(number), 0
    while amount >= 1024 and unit < len(UNITS) - 1:
        amount, unit = amount / 1024, unit + 1
    return f"{amount:.0f} {UNITS[unit]}" if unit == 0 else f"{amount:.1f} {UNITS[unit]}"


def age(seconds: float) -> str:
    """Return a time span in words, in its two largest units. Clocks of two machines differ: below 0 is 0."""
    rest = max(0, int(seconds))
    words: list[str] = []
    for name, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, rest = divmod(rest, length)
        if count or words or name == "s":
            words.append(f"{count} {name}")
    return " ".join(words[:2])


def workload_name(workload: Mapping[str, Any]) -> str:
    """Return what people call a workload."""
    return str(workload.get("label") or workload["key"])
