"""The arguments of this package's commands. Imported at every call of ``airflow``: keep it light."""

from __future__ import annotations

from argparse import ArgumentTypeError
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.cli.cli_config import Arg, positive_int

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


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise ArgumentTypeError(f"must be a TCP port, 0 to 65535: {text!r}")
    return int(text)


KEEP = _arg(
    ("--keep", "--keep-ui"),
    help="After the run, keep Airflow and its UI up until Ctrl-C",
    action="store_true",
    dest="keep",
)
PORT = _arg(
    ("--port",),
    help="TCP port of the UI; if it is busy, another one is taken (default: %(default)s)",
    metavar="PORT",
    type=_port,
    default=8080,
)
DIRECTORY = _arg(
    ("--directory",),
    help="Directory in which the demo makes one of its own, with configuration, logs and results. Default: the "
    "system's directory for temporary files",
    metavar="DIRECTORY",
    type=Path,
    default=None,
)
TIMEOUT = _arg(
    ("--timeout",),
    help="Seconds that the run of the DAG may take (default: %(default)s)",
    metavar="SECONDS",
    type=_seconds,
    default=600.0,
)
DAG = _arg(
    ("--dag",),
    help="DAG of this package to run (default: %(default)s)",
    metavar="DAG_ID",
    default="sample_etl",
)
CERTS_DIRECTORY = _arg(
    ("--directory",),
    help="Directory of the certificates and keys; made, for you alone, if it is missing",
    metavar="DIRECTORY",
    type=Path,
    required=True,
)
CERTS_HOST = _arg(
    ("--host",),
    help="Host names and IP addresses of the Dask scheduler (default: this machine's loopback; with --renew, those of "
    "the present certificate)",
    metavar="NAME_OR_IP",
    type=str,
    action="extend",
    nargs="+",
)
CERTS_DAYS = _arg(
    ("--days",),
    help="Days for which the certificates of scheduler, workers and client are valid (default: %(default)s)",
    metavar="DAYS",
    type=_positive_int(allow_zero=False),
    default=365,
)
CERTS_RENEW = _arg(
    ("--renew",),
    help="Make new certificates and keys from the authority that is there",
    action="store_true",
)
CERTS_FORCE = _arg(
    ("--force",),
    help="Replace everything, the authority too: no certificate of the former one is accepted any more",
    action="store_true",
)
CERTS_CHECK = _arg(
    ("--check", "--show"),
    help="Only show what is there; exit with 1 if a certificate has expired or is not of the authority",
    action="store_true",
    dest="check",
)
OUTPUT = _arg(
    ("-o", "--output"),
    help="Output format (default: %(default)s)",
    choices=("table", "json"),
    default="table",
)
ADDRESS = _arg(
    ("--address",),
    # Brackets would be taken for markup.
    help="Address of the Dask scheduler. Default: what section dask of the configuration says (cluster_address, else "
    "the connection that connection_id names), else the embedded cluster that runs on this machine. TLS files come "
    "from section dask",
    metavar="ADDRESS",
    type=str,
    default=None,
)
DRAIN_WORKER = _arg(
    ("worker",),
    help="Name or address of the worker, as `workers` shows it",
    metavar="WORKER",
    type=str,
)
DRAIN_CANCEL = _arg(
    ("--cancel",),
    help="Have a worker that drains take workloads again",
    action="store_true",
)
DRAIN_WAIT = _arg(
    ("--wait",),
    help="Wait until the worker has left",
    action="store_true",
)
DRAIN_TIMEOUT = _arg(
    ("--timeout",),
    help="Seconds to wait; the worker goes on draining afterwards (default: as long as it takes)",
    metavar="SECONDS",
    type=_seconds,
    default=None,
)

EKS_CLUSTER = _arg(
    ("--cluster",),
    help="Name of the EKS cluster",
    metavar="NAME",
    type=str,
    required=True,
)
PLAN_CLUSTER = _arg(
    ("--cluster",),
    help="Name of the cluster (default: that of --conf, or of the form)",
    metavar="NAME",
    type=str,
    default=None,
)
PLAN_CONF = _arg(
    ("--conf",),
    help="Fields of the form of eks_dask_bootstrap that differ from its defaults, as a JSON object",
    metavar="JSON",
    type=str,
    default=None,
)
DOCTOR_ONLY = _arg(
    ("--only",),
    help="What to look at (default: all)",
    choices=("in_aws", "in_kubernetes", "through_workers"),
    default=None,
)
REGION = _arg(
    ("--region",),
    help="AWS region (default: that of the connection)",
    metavar="REGION",
    type=str,
    default=None,
)
AWS_CONN_ID = _arg(
    ("--aws-conn-id",),
    help="Airflow connection to AWS (default: aws_default if there is one, else what boto3 finds by itself)",
    metavar="ID",
    type=str,
    default=None,
)
KUBECONFIG_FILE = _arg(
    ("--file",),
    help="The kubeconfig to write (default: the first that KUBECONFIG names, else ~/.kube/config)",
    metavar="FILE",
    type=Path,
    default=None,
)
KUBECONFIG_MERGE = _arg(
    ("--merge",),
    help="Add the cluster to a file that is there; the former one is kept beside it, as FILE.bak",
    action="store_true",
)
KUBECONFIG_ALIAS = _arg(
    ("--alias",),
    help="Name of the context (default: the cluster's name)",
    metavar="NAME",
    type=str,
    default=None,
)
KUBECONFIG_EXEC = _arg(
    ("--exec",),
    help="Where kubectl gets a token: from the AWS CLI, with the credentials of whoever runs kubectl, or from this "
    "Airflow, with those of the connection (default: %(default)s)",
    choices=("aws", "airflow"),
    default="aws",
)
DASHBOARD_CLUSTER = _arg(
    ("--cluster",),
    help="Name of the EKS cluster (default: the cluster of a kubeconfig)",
    metavar="NAME",
    type=str,
    default=None,
)
DASHBOARD_KUBECONFIG = _arg(
    ("--kubeconfig",),
    help="The kubeconfig (default: those that KUBECONFIG names, else ~/.kube/config)",
    metavar="FILE",
    type=Path,
    default=None,
)
DASHBOARD_CONTEXT = _arg(
    ("--context",),
    help="Context of the kubeconfig (default: its current one)",
    metavar="NAME",
    type=str,
    default=None,
)
DASHBOARD_NAMESPACE = _arg(
    ("--namespace",),
    help="Namespace of the page's Service (default: %(default)s)",
    metavar="NAME",
    type=str,
    default="headlamp",
)
DASHBOARD_SERVICE = _arg(
    ("--service",),
    help="The page's Service (default: %(default)s)",
    metavar="NAME",
    type=str,
    default="headlamp",
)
DASHBOARD_ACCOUNT = _arg(
    ("--account",),
    help="The service account whose token is shown (default: %(default)s)",
    metavar="NAMESPACE/NAME",
    type=str,
    default="kube-system/eks-admin",
)
DASHBOARD_PORT = _arg(
    ("--port",),
    help="TCP port of this machine (default: any that is free)",
    metavar="PORT",
    type=_port,
    default=0,
)
