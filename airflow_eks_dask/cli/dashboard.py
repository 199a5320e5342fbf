"""``airflow eks-dask dashboard``: the cluster's web page, through a port of this machine, and a token for it."""

from __future__ import annotations

import signal
import tempfile
import threading
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow.utils.cli import suppress_logs_and_warning
from rich.console import Console

from airflow_eks_dask.cli._aws import aws_clients
from airflow_eks_dask.cli._errors import CommandError, UsageError, reported
from airflow_eks_dask.hooks.eks import EksKubernetes, KubernetesError, kubernetes_errors

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

TOKEN_SECONDS = 3600
CALL_TIMEOUT = 30.0


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
            token, expires = _token(client, args.account)
            forward = stack.enter_context(PortForward(client, args.namespace, args.service, args.port))
        except KubernetesError as error:
            raise CommandError(str(error)) from None
        except OSError as error:
            raise CommandError(f"port {args.port} of 127.0.0.1: {error}. Choose another with --port") from None
        Console(soft_wrap=True, highlight=False).print(_told(forward.port, args.account, token, expires), markup=False)
        stop.wait()


def _misuse(args: Namespace) -> str | None:
    if args.cluster and (args.kubeconfig or args.context):
        return "--cluster names a cluster of EKS, --kubeconfig and --context any: choose one"
    if not args.cluster and (args.region or args.aws_conn_id):
        return "--region and --aws-conn-id go with --cluster"
    if args.account.count("/") != 1 or not all(args.account.split("/")):
        return f"--account {args.account!r} must look like namespace/name"
    if not 0 <= args.port < 65536:
        return f"--port {args.port} is no port"
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


@contextmanager
def _kubeconfig_client(args: Namespace) -> Iterator[Any]:
    from kubernetes import config  # type: ignore[import-untyped]

    try:
        client = config.new_client_from_config(args.kubeconfig and str(args.kubeconfig), args.context)
    except config.ConfigException as error:
        raise CommandError(f"{error}. Name a cluster with --cluster or --kubeconfig") from None
    with client:
        yield client


def _token(client: Any, account: str) -> tuple[str, datetime]:
    """Ask for a token that is good for an hour."""
    from kubernetes.client import (  # type: ignore[import-untyped]
        AuthenticationV1TokenRequest,
        CoreV1Api,
        V1TokenRequestSpec,
    )

    namespace, _, name = account.partition("/")
    request = AuthenticationV1TokenRequest(spec=V1TokenRequestSpec(audiences=[], expiration_seconds=TOKEN_SECONDS))
    with kubernetes_errors(f"asking for a token of ServiceAccount {account}"):
        made = CoreV1Api(client).create_namespaced_service_account_token(
            name, namespace, request, _request_timeout=CALL_TIMEOUT
        )
    return str(made.status.token), made.status.expiration_timestamp.astimezone(timezone.utc)


def _told(port: int, account: str, token: str, expires: datetime) -> str:
    return f"""\
http://127.0.0.1:{port}/

Log in with this token of {account}. It is good until {expires:%H:%M} UTC, and not shown again:

{token}

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
