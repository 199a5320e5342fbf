"""Makes the tables of values in the chart's README from values.yaml: ``python -m tests.chart.readme``."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import yaml

from tests.chart.rendering import CHART

if TYPE_CHECKING:
    from collections.abc import Iterator

README = CHART / "README.md"
BEGIN, END = "<!-- values: begin -->\n", "\n<!-- values: end -->"
COMMENT = re.compile(r"^ *# ?(.*)$")
KEY = re.compile(r"^( *)([A-Za-z]\w*):")


def descriptions(text: str) -> dict[tuple[str, ...], str]:
    """Return what comments say about values, by path: those that begin with two dashes and stand before a key."""
    found: dict[tuple[str, ...], str] = {}
    path: tuple[str, ...] = ()
    said: list[str] = []
    for line in text.splitlines():
        if comment := COMMENT.match(line):
            if comment[1].startswith("-- "):
                said = [comment[1][3:]]
            elif said:
                said.append(comment[1])
        elif key := KEY.match(line):
            path = (*path[: len(key[1]) // 2], key[2])
            if said:
                found[path] = " ".join(said)
            said = []
        else:
            said = []
    return found


def leaves(values: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Return the paths of all values that hold no others."""
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, name))
        else:
            yield (*path, name)


def tables() -> str:
    """Return the tables: one for each part of the values."""
    text = (CHART / "values.yaml").read_text()
    values = yaml.safe_load(text)
    parts: dict[str, list[str]] = {}
    for path, said in descriptions(text).items():
        value = values
        for name in path:
            value = value[name]
        part = path[0] if isinstance(values[path[0]], dict) and len(path) > 1 else ""
        default = json.dumps(value).replace("|", r"\|")
        parts.setdefault(part, []).append(f"| `{'.'.join(path)}` | `{default}` | {said} |")
    head = "| value | default | meaning |\n|---|---|---|"
    return "\n\n".join("\n".join([*([f"### {part}\n"] if part else []), head, *rows]) for part, rows in parts.items())


def main() -> None:
    """Write the tables into the README."""
    head, rest = README.read_text().split(BEGIN)
    README.write_text(head + BEGIN + tables() + END + rest.split(END)[1])


if __name__ == "__main__":
    main()
