"""README says what is true: its table of options, and commands that CI runs; so do the pages that one starts with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import airflow_eks_dask

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = ("README.md", "docs/getting-started.md", "docs/install.md", "docs/operating.md")


def options_table() -> str:
    lines = ["| option | default | meaning |", "|---|---|---|"]
    for name, option in airflow_eks_dask.get_provider_info()["config"]["dask"]["options"].items():
        default = f"`{option['default']}`" if option["default"] else ""
        lines.append(f"| `{name}` | {default} | {option['description'].replace('``', '`')} |")
    return "\n".join(lines)


def test_options_are_those_of_the_code():
    (table,) = re.findall(r"<!-- options: begin -->\n(.*)\n<!-- options: end -->", README, re.S)
    assert table == options_table()


def commands():
    for page in PAGES:
        for block in re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(), re.S):
            yield from ((page, line) for line in block.splitlines())


@pytest.mark.parametrize(("page", "command"), commands())
def test_command_is_run_by_ci(page, command):
    scripts = "".join(file.read_text() for file in (ROOT / ".ci").iterdir())
    assert command in scripts


def main() -> None:
    """Write the table of options into README."""
    begin, end = "<!-- options: begin -->\n", "\n<!-- options: end -->"
    head, rest = README.split(begin)
    (ROOT / "README.md").write_text(head + begin + options_table() + end + rest.split(end)[1])


if __name__ == "__main__":
    main()
