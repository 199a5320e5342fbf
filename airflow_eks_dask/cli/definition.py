"""The commands this package adds to ``airflow``. Imported at every call of ``airflow``: keep it light."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.cli.cli_config import ARG_VERBOSE, ActionCommand, Arg, GroupCommand, lazy_load_command, positive_int

if TYPE_CHECKING:
    from collections.abc import Callable

# Airflow's own have no type annotations.
_arg: Callable[..., Any] = Arg
_positive_int: Callable[..., Any] = positive_int


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < 1e9:
        raise ArgumentTypeError(f"must be a number of seconds, 0 or more: {text!r}")
    return seconds


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
ARG_CERTS_DIRECTORY = _arg(
    ("--directory",),
    help="Directory of the certificates and keys; made, for you alone, if it is missing",
    type=Path,
    required=True,
)
ARG_CERTS_HOST = _arg(
    ("--host",),
    help="Host names and IP addresses of the Dask scheduler (default: this machine's loopback; with --renew, those of "
    "the present certificate)",
    metavar="NAME_OR_IP",
    type=str,
    action="extend",
    nargs="+",
)
ARG_CERTS_DAYS = _arg(
    ("--days",),
    help="Days for which the certificates of scheduler, workers and client are valid (default: %(default)s)",
    type=_positive_int(allow_zero=False),
    default=365,
)
ARG_CERTS_RENEW = _arg(
    ("--renew",),
    help="Make new certificates and keys from the authority that is there",
    action="store_true",
)
ARG_CERTS_FORCE = _arg(
    ("--force",),
    help="Replace everything, the authority too: no certificate of the former one is accepted any more",
    action="store_true",
)
ARG_CERTS_CHECK = _arg(
    ("--check", "--show"),
    help="Only show what is there; exit with 1 if a certificate has expired or is not of the authority",
    action="store_true",
    dest="check",
)
ARG_OUTPUT = _arg(
    ("-o", "--output"),
    help="Output format (default: %(default)s)",
    choices=("table", "json"),
    default="table",
)
ARG_ADDRESS = _arg(
    ("--address",),
    # Brackets would be taken for markup.
    help="Address of the Dask scheduler. Default: what section dask of the configuration says (cluster_address, else "
    "the connection that connection_id names), else the embedded cluster that runs on this machine. TLS files come "
    "from section dask",
    metavar="ADDRESS",
    type=str,
    default=None,
)
ARG_DRAIN_WORKER = _arg(
    ("worker",),
    help="Name or address of the worker, as `workers` shows it",
    metavar="WORKER",
    type=str,
)
ARG_DRAIN_CANCEL = _arg(
    ("--cancel",),
    help="Have a worker that drains take workloads again",
    action="store_true",
)
ARG_DRAIN_WAIT = _arg(
    ("--wait",),
    help="Wait until the worker has left",
    action="store_true",
)
ARG_DRAIN_TIMEOUT = _arg(
    ("--timeout",),
    help="Seconds to wait; the worker goes on draining afterwards (default: as long as it takes)",
    metavar="SECONDS",
    type=_seconds,
    default=None,
)

ARG_EKS_CLUSTER = _arg(
    ("--cluster",),
    help="Name of the EKS cluster",
    metavar="NAME",
    type=str,
    required=True,
)
ARG_REGION = _arg(
    ("--region",),
    help="AWS region (default: that of the connection)",
    metavar="REGION",
    type=str,
    default=None,
)
ARG_AWS_CONN_ID = _arg(
    ("--aws-conn-id",),
    help="Airflow connection to AWS (default: aws_default if there is one, else what boto3 finds by itself)",
    metavar="ID",
    type=str,
    default=None,
)
ARG_KUBECONFIG_FILE = _arg(
    ("--file",),
    help="The kubeconfig to write (default: the first that KUBECONFIG names, else ~/.kube/config)",
    metavar="FILE",
    type=Path,
    default=None,
)
ARG_KUBECONFIG_MERGE = _arg(
    ("--merge",),
    help="Add the cluster to a file that is there; the former one is kept beside it, as FILE.bak",
    action="store_true",
)
ARG_KUBECONFIG_ALIAS = _arg(
    ("--alias",),
    help="Name of the context (default: the cluster's name)",
    metavar="NAME",
    type=str,
    default=None,
)
ARG_KUBECONFIG_EXEC = _arg(
    ("--exec",),
    help="Where kubectl gets a token: from the AWS CLI, with the credentials of whoever runs kubectl, or from this "
    "Airflow, with those of the connection (default: %(default)s)",
    choices=("aws", "airflow"),
    default="aws",
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
                ActionCommand(
                    name="certs",
                    help="Make certificates for mutual TLS between Airflow, the Dask scheduler and its workers",
                    description="Make a certificate authority for one Dask cluster, and certificates for its "
                    "scheduler, its workers and the Airflow scheduler. Exit codes: 0 done, 1 failed or a certificate "
                    "does not serve, 2 bad usage.",
                    func=lazy_load_command("airflow_eks_dask.cli.certs.certs"),
                    args=(
                        ARG_CERTS_DIRECTORY,
                        ARG_CERTS_HOST,
                        ARG_CERTS_DAYS,
                        ARG_CERTS_RENEW,
                        ARG_CERTS_FORCE,
                        ARG_CERTS_CHECK,
                        ARG_OUTPUT,
                    ),
                ),
                ActionCommand(
                    name="status",
                    help="Show what a Dask cluster can run, and what waits for it",
                    description="Show a Dask cluster's versions, workers, slots, queues and waiting workloads. "
                    "Exit codes: 0 done, 1 failed, 2 bad usage.",
                    func=lazy_load_command("airflow_eks_dask.cli.status.status"),
                    args=(ARG_ADDRESS, ARG_OUTPUT),
                ),
                ActionCommand(
                    name="workers",
                    help="Show the workers of a Dask cluster, and what runs where",
                    description="Show each worker of a Dask cluster with its slots, queues and resources, and what it "
                    "runs since when. Exit codes: 0 done, 1 failed, 2 bad usage.",
                    func=lazy_load_command("airflow_eks_dask.cli.workers.workers"),
                    args=(ARG_ADDRESS, ARG_OUTPUT),
                ),
                ActionCommand(
                    name="drain",
                    help="Let a worker finish what it runs, take nothing new, and leave",
                    description="Take a worker out of service: it takes no new workload, finishes those it runs, and "
                    "then leaves the cluster. Exit codes: 0 done, 1 failed or it has not left in time, 2 bad usage.",
                    func=lazy_load_command("airflow_eks_dask.cli.drain.drain"),
                    args=(
                        ARG_DRAIN_WORKER,
                        ARG_DRAIN_CANCEL,
                        ARG_DRAIN_WAIT,
                        ARG_DRAIN_TIMEOUT,
                        ARG_ADDRESS,
                        ARG_OUTPUT,
                    ),
                ),
                ActionCommand(
                    name="kubeconfig",
                    help="Let people use kubectl with an EKS cluster",
                    description="Write a kubeconfig with which kubectl asks a program for short-lived tokens: none is "
                    "in the file. Exit codes: 0 done, 1 failed, 2 bad usage.",
                    func=lazy_load_command("airflow_eks_dask.cli.kubeconfig.kubeconfig"),
                    args=(
                        ARG_EKS_CLUSTER,
                        ARG_REGION,
                        ARG_AWS_CONN_ID,
                        ARG_KUBECONFIG_FILE,
                        ARG_KUBECONFIG_MERGE,
                        ARG_KUBECONFIG_ALIAS,
                        ARG_KUBECONFIG_EXEC,
                        ARG_OUTPUT,
                        ARG_VERBOSE,
                    ),
                ),
                ActionCommand(
                    name="token",
                    help="Print a token for an EKS cluster, for kubectl",
                    description="Print a token that an EKS cluster takes for minutes, in the form that kubectl expects "
                    "of a credential plugin; `kubeconfig --exec airflow` makes it one. Exit codes: 0 done, 1 failed.",
                    func=lazy_load_command("airflow_eks_dask.cli.token.token"),
                    args=(ARG_EKS_CLUSTER, ARG_REGION, ARG_AWS_CONN_ID, ARG_VERBOSE),
                ),
            ),
        )
    ]
