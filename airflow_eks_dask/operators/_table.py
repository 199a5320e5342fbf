"""Tables in the logs of tasks."""

from __future__ import annotations

from io import StringIO
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_WIDTH = 160
"""Of a table, in characters. A log has no width; this reads well in Airflow's."""


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table. Text is shown as it is: names may hold brackets, which are no markup."""
    grid = Table(box=box.ASCII2, show_lines=True)
    for column in columns:
        grid.add_column(column, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    page = StringIO()
    Console(file=page, width=_WIDTH, color_system=None, legacy_windows=False).print(grid)
    return [line.rstrip() for line in page.getvalue().splitlines()]
