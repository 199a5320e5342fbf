"""``airflow eks-dask kubeconfig``: let people use ``kubectl`` with an EKS cluster, without a token on disk."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.configuration import AIRFLOW_HOME
from airflow.utils.cli import suppress_logs_and_warning
from rich.console import Console

from airflow_eks_dask.cli import _kubeconfig
from airflow_eks_dask.cli._aws import aws_clients
from airflow_eks_dask.cli._errors import CommandError, UsageError, reported
from airflow_eks_dask.cli._kubeconfig import Access
from airflow_eks_dask.cli._show import print_json
from airflow_eks_dask.hooks.eks_token import EXEC_API_VERSION

if TYPE_CHECKING:
    from argparse import Namespace

    from airflow_eks_dask.hooks.aws import AwsClients


@dataclass(frozen=True)
class Written:
    """
    What has become of a kubeconfig.

    :param file: Which.
    :param backup: Where the former one is kept.
    :param changed: Whether it was written at all.
    """

    file: Path
    backup: Path | None = None
    changed: bool = True


@suppress_logs_and_warning
def kubeconfig(args: Namespace) -> None:
    """
    Run the command.

    :param args: ``alias``, ``aws_conn_id``, ``cluster``, ``exec``, ``file``, ``merge``, ``output``, ``region``,
        ``verbose``, as defined in ``definition``.
    :raises SystemExit: 1 if it failed, 2 if the arguments make no sense.
    """
    with reported("kubeconfig"):
        file = (args.file or _kubeconfig.default_file()).absolute()
        if file.exists() and not args.merge:
            raise UsageError(f"{file} is there already: add the cluster with --merge, or choose another with --file")
        with aws_clients(args.aws_conn_id, args.region) as aws:
            access = _access(args, aws)
        written = _write(file, access)
    if args.output == "json":
        _show_json(access, written)
    else:
        Console(soft_wrap=True, highlight=False).print(_told(args.exec, access, written), markup=False)


def _access(args: Namespace, aws: AwsClients) -> Access:
    eks = aws.client("eks")
    try:
        cluster = eks.describe_cluster(name=args.cluster)["cluster"]
    except eks.exceptions.ResourceNotFoundException:
        raise CommandError(f"there is no EKS cluster {args.cluster!r} in {aws.region}") from None
    if "endpoint" not in cluster:
        raise CommandError(f"EKS cluster {args.cluster!r} has no address: its status is {cluster['status']}")
    plugin = _aws_plugin(args.cluster, aws.region)
    if args.exec == "airflow":
        plugin = _airflow_plugin(args.cluster, aws.region, args.aws_conn_id)
    return Access(
        context=args.alias or args.cluster,
        name=f"airflow-eks-dask/{cluster['arn']}",
        server=cluster["endpoint"],
        authority_data=cluster["certificateAuthority"]["data"],
        plugin=plugin,
    )


def _aws_plugin(cluster_name: str, region: str) -> dict[str, Any]:
    return {
        "apiVersion": EXEC_API_VERSION,
        "command": "aws",
        "args": ["--region", region, "eks", "get-token", "--cluster-name", cluster_name, "--output", "json"],
        "interactiveMode": "IfAvailable",
        "installHint": "The AWS CLI makes the token: https://docs.aws.amazon.com/cli/. Where there is none, make this "
        "file with `airflow eks-dask kubeconfig --exec airflow`.",
    }


def _airflow_plugin(cluster_name: str, region: str, aws_conn_id: str | None) -> dict[str, Any]:
    # kubectl may run where the virtual environment is not on PATH.
    command = shutil.which("airflow", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    connection = ["--aws-conn-id", aws_conn_id] if aws_conn_id else []
    environment = {"AIRFLOW_HOME": AIRFLOW_HOME, "AIRFLOW_CONFIG": os.environ.get("AIRFLOW_CONFIG")}
    return {
        "apiVersion": EXEC_API_VERSION,
        "command": command or "airflow",
        "args": ["eks-dask", "token", "--cluster", cluster_name, "--region", region, *connection],
        "env": [{"name": name, "value": value} for name, value in environment.items() if value],
        "interactiveMode": "Never",
    }


def _write(file: Path, access: Access) -> Written:
    try:
        former = _kubeconfig.read(file) if file.exists() else {}
        content = _kubeconfig.with_access(former, access)
        if content == former:
            return Written(file, changed=False)
        return Written(file, _kubeconfig.write(file, content))
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}") from None


def _show_json(access: Access, written: Written) -> None:
    print_json(
        {
            "file": str(written.file),
            "changed": written.changed,
            "backup": str(written.backup) if written.backup else None,
            "context": access.context,
            "server": access.server,
            "command": [access.plugin["command"], *access.plugin["args"]],
        }
    )


def _told(plugin: str, access: Access, written: Written) -> str:
    lines = [f"{written.file} {'has' if written.changed else 'had'} the context {access.context}, now the current one."]
    if written.backup:
        lines.append(f"What it was before is in {written.backup}.")
    if plugin == "aws":
        lines.append("kubectl gets its tokens from `aws eks get-token`, with the credentials of whoever runs it.")
        if shutil.which("aws") is None:
            lines.append("There is no AWS CLI on this machine: install it, or use --exec airflow.")
    else:
        lines.append("kubectl gets its tokens from this Airflow, with the credentials of its connection.")
    lines += [
        "The cluster has to let these in, by an access entry.",
        "",
        f"kubectl --context {access.context} get nodes",
    ]
    return "\n".join(lines)
