"""What the reference has from the code itself, as Markdown."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from airflow.cli.cli_parser import get_parser

from airflow_eks_dask import get_provider_info

if TYPE_CHECKING:
    from collections.abc import Iterator


def options() -> str:
    """Return the table of the options in section ``[dask]``."""
    rows = [
        f"| `{name}` | {option['type']} | {_code(option['default'])} | {option['version_added']} "
        f"| {' '.join(option['description'].split())} |"
        for name, option in get_provider_info()["config"]["dask"]["options"].items()
    ]
    return "\n".join(["| option | type | default | since | meaning |", "|---|---|---|---|---|", *rows])


def commands() -> str:
    """Return the help of each command of ``airflow eks-dask``."""
    return "\n\n".join(
        f"**airflow eks-dask {name}**\n\n```text\n{parser.format_help().strip()}\n```" for name, parser in _parsers()
    )


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _parsers() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    group = _subparsers(get_parser())["eks-dask"]
    for name, parser in _subparsers(group).items():
        # Airflow's own formatter colours and wraps by the terminal.
        parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=100)
        yield name, parser


def _subparsers(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    (action,) = (each for each in parser._actions if isinstance(each, argparse._SubParsersAction))
    return dict(action.choices)
