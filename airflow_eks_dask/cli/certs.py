"""``airflow eks-dask certs``: make, renew and check the certificates of a Dask cluster."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow.cli.simple_table import AirflowConsole
from rich.console import Console

from airflow_eks_dask import certificates
from airflow_eks_dask.certificates import AUTHORITY, CertificateError, certificate_file, key_file
from airflow_eks_dask.cli._errors import CommandError, UsageError, reported
from airflow_eks_dask.cli._show import print_json

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence
    from pathlib import Path

    from cryptography.x509 import GeneralName

    from airflow_eks_dask.certificates import Examined

DEFAULT_HOSTS = ("localhost", "127.0.0.1", "::1")
PORT = 8786


@dataclass(frozen=True)
class Usage:
    """
    How to use the certificates of a directory.

    :param scheduler: The command that starts the Dask scheduler.
    :param worker: The command that starts a Dask worker.
    :param options: Airflow's section ``[dask]``.
    """

    scheduler: list[str]
    worker: list[str]
    options: dict[str, str]


def certs(args: Namespace) -> None:
    """
    Run the command.

    :param args: ``check``, ``days``, ``directory``, ``force``, ``host``, ``output``, ``renew``, as defined in
        ``definition``.
    :raises SystemExit: 1 if it failed or a certificate does not serve, 2 if the arguments make no sense.
    """
    directory = args.directory.absolute()
    now = datetime.now(timezone.utc)
    with reported("certs"):
        if problem := _misuse(args):
            raise UsageError(problem)
        try:
            if not args.check:
                _make(args, directory, now)
            examined = certificates.examine(directory, now)
        except (CertificateError, OSError) as error:
            raise CommandError(str(error)) from None
    how = None if args.check else usage(directory, _scheduler_address(examined))
    _show(examined, how, directory, now, args)
    if any(one.problems for one in examined):
        raise SystemExit(1)


def usage(directory: Path, address: str) -> Usage:
    """
    Return the commands and options that use the certificates of a directory.

    :param address: Of the Dask scheduler, with ``tls://``.
    """

    def files(role: str) -> list[str]:
        return [str(certificate_file(directory, AUTHORITY)), *_pair(directory, role)]

    def flags(role: str) -> list[str]:
        names = ("--tls-ca-file", "--tls-cert", "--tls-key")
        return [word for pair in zip(names, files(role), strict=True) for word in pair]

    return Usage(
        # The dashboard speaks plain HTTP and asks nobody who they are.
        ["dask", "scheduler", "--protocol", "tls", *flags("scheduler"), "--dashboard-address", "127.0.0.1:8787"],
        ["dask", "worker", address, *flags("worker"), "--dashboard-address", "127.0.0.1:0"],
        {"cluster_address": address, **dict(zip(("tls_ca", "tls_cert", "tls_key"), files("client"), strict=True))},
    )


def _pair(directory: Path, name: str) -> list[str]:
    return [str(certificate_file(directory, name)), str(key_file(directory, name))]


def _misuse(args: Namespace) -> str | None:
    if args.renew and args.force:
        return "--renew keeps the authority, --force replaces it: choose one"
    if args.check and (args.renew or args.force or args.host):
        return "--check changes nothing: it goes with --directory and --output only"
    for host in args.host or ():
        try:
            certificates.subject_name(host)
        except ValueError as error:
            return f"argument --host: {error}"
    return None


def _make(args: Namespace, directory: Path, now: datetime) -> None:
    names = [certificates.subject_name(host) for host in args.host or DEFAULT_HOSTS]
    if args.renew:
        authority = certificates.read_authority(directory)
        if not args.host:
            names = _present_names(certificate_file(directory, "scheduler"))
        issued = certificates.make_leaves(authority, now, args.days, names)
    else:
        authority = certificates.make_authority(now)
        issued = {AUTHORITY: authority, **certificates.make_leaves(authority, now, args.days, names)}
    certificates.write(directory, issued, overwrite=args.renew or args.force)


def _present_names(file: Path) -> list[GeneralName]:
    if not file.exists():
        raise CertificateError(f"{file}: no such file. Name the hosts of the Dask scheduler with --host")
    return certificates.names_of(certificates.read_certificate(file))


def _scheduler_address(examined: Sequence[Examined]) -> str:
    """Return an address for which the scheduler's certificate was made."""
    names = next(certificates.names_of(one.certificate) for one in examined if one.file.stem == "scheduler")
    host = str(names[0].value) if names else "localhost"
    return f"tls://[{host}]:{PORT}" if ":" in host else f"tls://{host}:{PORT}"


def _show(examined: Sequence[Examined], how: Usage | None, directory: Path, now: datetime, args: Namespace) -> None:
    rows = [_row(one, now) for one in examined]
    if args.output == "json":
        result: dict[str, Any] = {"directory": str(directory), "certificates": rows}
        print_json(result | ({"dask": how.options} if how else {}))
        return
    # Paths and subjects may hold brackets, which are no markup.
    AirflowConsole(markup=False).print_as(rows, "table")
    if how is not None:
        Console(soft_wrap=True).print(_next_steps(how, directory, renewed=args.renew), markup=False, highlight=False)


def _row(one: Examined, now: datetime) -> dict[str, Any]:
    return {
        "file": one.file.name,
        "subject": one.certificate.subject.rfc4514_string(),
        "names": [str(name.value) for name in certificates.names_of(one.certificate)],
        "valid_until": f"{one.certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}",
        "days_left": certificates.days_left(one.certificate, now),
        "sha256": certificates.fingerprint(one.certificate),
        "problems": list(one.problems),
    }


def _next_steps(how: Usage, directory: Path, *, renewed: bool) -> str:
    options = "\n".join(f"{name} = {value}" for name, value in how.options.items())
    running = (
        "\nWhat runs already uses the former certificates, until it is restarted or they expire.\n" if renewed else ""
    )
    return f"""\
All in {directory}. Each machine needs {AUTHORITY}.pem and the two files of its own role, no more. Workloads run as
their worker does and can read its key. Keep {AUTHORITY}-key.pem away from the cluster: it is needed for --renew only.
{running}
Start the Dask scheduler:
{shlex.join(how.scheduler)}

Start each Dask worker:
{shlex.join(how.worker)}

In the configuration of the Airflow scheduler:
[dask]
{options}"""
