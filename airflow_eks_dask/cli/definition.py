"""The commands this package adds to ``airflow``. Imported at every call of ``airflow``: keep it light."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.cli.cli_config import ActionCommand, Arg, GroupCommand, lazy_load_command

if TYPE_CHECKING:
    from collections.abc import Callable

# Airflow's class has no type annotations.
_arg: Callable[..., Any] = Arg

ARG_KEEP = _arg(
    ("--keep", "--keep-ui"),
    help="After the run, keep Airflow and its UI up until Ctrl-C",
    action="store_true",
    dest="keep",
)
ARG_PORT = _arg(
    ("--port",),
    help="TCP port of the UI; if it is busy, another one is taken (default: %(default)s)",
    type=int,
    default=8080,
)
ARG_DIRECTORY = _arg(
    ("--directory",),
    help="Directory in which the demo makes one of its own, with configuration, logs and results. Default: the "
    "system's directory for temporary files",
    type=Path,
    default=None,
)
ARG_TIMEOUT = _arg(
    ("--timeout",),
    help="Seconds that the run of the DAG may take (default: %(default)s)",
    type=float,
    default=600.0,
)
ARG_DAG = _arg(
    ("--dag",),
    help="DAG of this package to run (default: %(default)s)",
    default="sample_etl",
)


def get_cli_commands() -> list[GroupCommand]:
    """Return the command group ``airflow eks-dask``."""
    return [
        GroupCommand(
            name="eks-dask",
            help="Run Airflow on Dask, on this machine or on AWS EKS",
            subcommands=(
                ActionCommand(
                    name="demo",
                    help="Run a sample pipeline on an Airflow and a Dask cluster of its own, on this machine",
                    description="Start PostgreSQL, Airflow and a Dask cluster on this machine, run a sample pipeline "
                    "and end them all. Your own Airflow, its database and its configuration are not used.",
                    func=lazy_load_command("airflow_eks_dask.cli.demo.demo"),
                    args=(ARG_KEEP, ARG_PORT, ARG_DIRECTORY, ARG_TIMEOUT, ARG_DAG),
                ),
            ),
        )
    ]
