"""``airflow eks-dask plan``: what ``eks_dask_bootstrap`` would make in AWS, and what that costs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import ParamValidationError
from airflow.utils.cli import suppress_logs_and_warning
from rich.console import Console
from rich.text import Text

from airflow_eks_dask.bootstrap.form import bootstrap_form, complete
from airflow_eks_dask.bootstrap.plan import plans
from airflow_eks_dask.bootstrap.settings import Settings
from airflow_eks_dask.cli._aws import aws_clients
from airflow_eks_dask.cli._errors import CommandError, UsageError, reported
from airflow_eks_dask.cli._show import print_json, print_table
from airflow_eks_dask.operators.plan import amount, cost_in_words, summarize, totals_in_words
from airflow_eks_dask.resources.base import Action

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

_STYLES = {Action.REFUSE.value: "red", Action.DELETE.value: "red", Action.LEAVE.value: "dim"}


@suppress_logs_and_warning
def plan(args: Namespace) -> None:
    """
    Run the command.

    :param args: ``aws_conn_id``, ``cluster``, ``conf``, ``output``, ``region``, ``verbose``, as in ``definition``.
    :raises SystemExit: 1 if it failed or something can't be done, 2 if the arguments make no sense.
    """
    with reported("plan"):
        form = read_form(args)
        with aws_clients(args.aws_conn_id, args.region or form["region_name"] or None) as aws:
            settings = read_settings(form, aws)
            found = list(plans(settings, aws))
        summary = summarize(found)
        if args.output == "json":
            print_json(summary)
        else:
            _show(found)
            Console(soft_wrap=True, highlight=False).print(
                f"{totals_in_words(summary['totals'])}. {cost_in_words(summary)}.", markup=False
            )
        if refused := summary["totals"][Action.REFUSE.value]:
            raise CommandError(f"{refused} of these can't be done")


def read_form(args: Namespace) -> dict[str, Any]:
    """
    Return the form that the arguments fill in.

    :raises UsageError: A field is unknown, or its value isn't allowed.
    """
    try:
        given = json.loads(args.conf or "{}")
    except ValueError as error:
        raise UsageError(f"--conf is no JSON: {error}") from None
    if not isinstance(given, dict):
        raise UsageError("--conf has to be a JSON object: fields of the form and their values")
    if args.cluster:
        given["cluster_name"] = args.cluster
    try:
        return complete({**given, "plan_only": True}, bootstrap_form())
    except (ValueError, ParamValidationError) as error:
        raise UsageError(str(error).partition("\n")[0]) from None


def read_settings(form: dict[str, Any], aws: Any) -> Settings:
    """
    Return what a form means.

    :raises UsageError: It can't be as it is.
    """
    try:
        settings = Settings.read(form, aws)
    except ValueError as error:
        raise UsageError(str(error)) from None
    if problems := settings.problems():
        raise UsageError("; ".join(problems))
    return settings


def _show(found: Sequence[dict[str, Any]]) -> None:
    rows = [
        [
            each["kind"],
            each["name"],
            Text(each["action"], _STYLES.get(each["action"], "")),
            "; ".join(each["reasons"]),
            amount(each["monthly_cost"]),
        ]
        for each in found
    ]
    print_table(("resource", "name", "action", "why", "USD a month"), rows)
