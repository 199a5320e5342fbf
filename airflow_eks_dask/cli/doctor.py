"""``airflow eks-dask doctor``: what is wrong with a cluster, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.utils.cli import suppress_logs_and_warning
from rich.console import Console
from rich.text import Text

from airflow_eks_dask.bootstrap.examination import EXAMINERS, findings_of
from airflow_eks_dask.bootstrap.remembered import recall
from airflow_eks_dask.cli._aws import aws_clients
from airflow_eks_dask.cli._errors import CommandError, reported
from airflow_eks_dask.cli._show import print_json, print_table
from airflow_eks_dask.preflight.finding import Severity, by_severity

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

_COLUMNS = ("check", "what", "why", "what_to_do")
_STYLES = {Severity.ERROR.value: "red", Severity.WARNING.value: "yellow"}


@suppress_logs_and_warning
def doctor(args: Namespace) -> None:
    """
    Run the command.

    :param args: ``aws_conn_id``, ``cluster``, ``only``, ``output``, ``region``, ``verbose``, as in ``definition``.
    :raises SystemExit: 1 if it failed or something is wrong.
    """
    with reported("doctor"):
        with aws_clients(args.aws_conn_id, args.region) as aws:
            try:
                settings = recall(args.cluster, aws)
            except ValueError as error:
                raise CommandError(str(error)) from None
            chosen = [args.only] if args.only else list(EXAMINERS)
            found = by_severity([each for name in chosen for each in findings_of(name, settings, aws)])
        if args.output == "json":
            print_json({"cluster": settings.cluster_name, "region": settings.region_name, "findings": found})
        elif found:
            _show(found)
        else:
            Console(soft_wrap=True, highlight=False).print(
                f"{settings.known_as} is well: looked at {', '.join(chosen)}", markup=False
            )
        if wrong := sum(each["severity"] == Severity.ERROR.value for each in found):
            raise CommandError(f"{wrong} things are wrong with {settings.known_as}")


def _show(found: Sequence[dict[str, str]]) -> None:
    rows: list[list[str | Text]] = [
        [Text(each["severity"], _STYLES.get(each["severity"], "")), *(each[name] for name in _COLUMNS)]
        for each in found
    ]
    print_table(("", "check", "what", "why", "what to do"), rows)
