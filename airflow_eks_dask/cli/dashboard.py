"""``airflow eks-dask dashboard``: the cluster's web page, through a port of this machine, and a token for it."""

from __future__ import annotations

import signal
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from airflow.utils.cli import suppress_logs_and_warning
from rich.console import Console

from airflow_eks_dask.cli._aws import aws_clients
from airflow_eks_dask.cli._errors import CommandError, UsageError, reported
from airflow_eks_dask.hooks.eks import EksKubernetes, KubernetesError
from airflow_eks_dask.hooks.kubernetes import KubernetesCluster
from airflow_eks_dask.hooks.service_account import ServiceAccountToken, request_token

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    import kubernetes.client  # type: ignore[import-untyped]


@suppress_logs_and_warning
def dashboard(args: Namespace) -> None:
    """
    Run the command, until Ctrl-C or SIGTERM.

    :param args: ``account``, ``aws_conn_id``, ``cluster``, ``context``, ``kubeconfig``, ``namespace``, ``port``,
        ``region``, ``service``, ``verbose``, as defined in ``definition``.
    :raises SystemExit: 1 if it failed, 2 if the arguments make no sense.
    """
    from airflow_eks_dask.hooks.port_forward import PortForward, find_target

    with reported("dashboard"), ExitStack() as stack:
        if problem := _misuse(args):
            raise UsageError(problem)
        stop = stack.enter_context(_until_signalled())
        try:
            client = stack.enter_context(_eks_client(args) if args.cluster else _kubeconfig_client(args))
            # What is missing is told before a port is opened.
            find_target(client, args.namespace, args.service)
            token = request_token(client, *args.account.split("/"))
            forward = stack.enter_context(PortForward(client, args.namespace, args.service, args.port))
        except KubernetesError as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"port {args.port} of 127.0.0.1: {error}. Choose another with --port") from None
        Console(soft_wrap=True, highlight=False).print(_told(forward.port, args.account, token), markup=False)
        stop.wait()


def _misuse(args: Namespace) -> str | None:
    if args.cluster and (args.kubeconfig or args.context):
        return "--cluster names a cluster of EKS, --kubeconfig and --context any: choose one"
    if not args.cluster and (args.region or args.aws_conn_id):
        return "--region and --aws-conn-id go with --cluster"
    if args.account.count("/") != 1 or not all(args.account.split("/")):
        return f"--account {args.account!r} must look like namespace/name"
    return None


@contextmanager
def _eks_client(args: Namespace) -> Iterator[Any]:
    with aws_clients(args.aws_conn_id, args.region) as aws, tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
        cluster = EksKubernetes(aws, args.cluster)
        file.write(cluster.api_server.authority)
        file.flush()
        with cluster.client() as client:
            # What carries connections wants the authority in a file.
            client.configuration.ssl_ca_cert = file.name
            yield client


def _kubeconfig_client(args: Namespace) -> kubernetes.client.ApiClient:
    cluster = KubernetesCluster(kubeconfig=args.kubeconfig and str(args.kubeconfig), cluster_context=args.context)
    try:
        return cluster.client()
    except ValueError as error:
        raise CommandError(f"{error}. Name a cluster with --cluster or --kubeconfig") from None


def _told(port: int, account: str, token: ServiceAccountToken) -> str:
    return f"""\
http://127.0.0.1:{port}/

Log in with this token of {account}. It is good until {token.expires:%H:%M} UTC, and not shown again:

{token.value}

Ctrl-C ends it."""


@contextmanager
def _until_signalled() -> Iterator[threading.Event]:
    stop = threading.Event()
    former = {each: signal.signal(each, lambda *_: stop.set()) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for each, handler in former.items():
            signal.signal(each, handler)
