"""``airflow eks-dask token``: the program that ``kubectl`` asks for a token, where there is no AWS CLI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.utils.cli import suppress_logs_and_warning

from airflow_eks_dask.cli._aws import aws_clients
from airflow_eks_dask.cli._errors import reported
from airflow_eks_dask.cli._show import print_json
from airflow_eks_dask.hooks.eks_token import EksTokenSource

if TYPE_CHECKING:
    from argparse import Namespace


@suppress_logs_and_warning
def token(args: Namespace) -> None:
    """
    Run the command.

    :param args: ``aws_conn_id``, ``cluster``, ``region``, ``verbose``, as defined in ``definition``.
    :raises SystemExit: 1 if it failed.
    """
    with reported("token"), aws_clients(args.aws_conn_id, args.region) as aws:
        made = EksTokenSource(aws, args.cluster).get()
    print_json(made.exec_credential())
