"""Which Dask cluster a command is about."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil
from airflow.configuration import conf
from airflow.exceptions import AirflowConfigException
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_eks_dask.cli._errors import CommandError, UsageError
from airflow_eks_dask.endpoint import Endpoint
from airflow_eks_dask.executors.embedded import scheduler_files
from airflow_eks_dask.hooks.dask import endpoint_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EMBEDDED_FILE = re.compile(r"embedded-(\d+)\.json")
# Linux tells when a process started in terms of a clock that may have been set since.
CLOCK_TOLERANCE = 60.0
TLS_OPTIONS = ("tls_ca", "tls_cert", "tls_key")


@dataclass(frozen=True)
class Cluster:
    """
    A Dask cluster, not yet spoken to.

    :param endpoint: Where its scheduler is.
    :param source: What said so, in words.
    """

    endpoint: Endpoint
    source: str


def find_cluster(address: str | None) -> Cluster:
    """
    Find the cluster a command is about.

    That is the given one, else the one of the configuration, else that of the connection it names, else the
    embedded cluster that runs on this machine.

    :param address: Of the Dask scheduler, as given.
    :raises CommandError: There is none, or what leads to it cannot work.
    """
    if address is not None:
        return Cluster(_endpoint(address.strip()), "--address")
    if configured := _option("cluster_address"):
        return Cluster(_endpoint(configured, forgiving=False), "[dask] cluster_address")
    connection_id = _option("connection_id")
    return (_of_connection(connection_id) if connection_id else None) or _embedded(scheduler_files())


def connect_timeout() -> float:
    """
    Return the seconds that connecting may take.

    :raises CommandError: The option is no number.
    """
    try:
        return conf.getfloat("dask", "connect_timeout")
    except AirflowConfigException as error:
        raise CommandError(f"[dask] connect_timeout: {error}") from None


def embedded_addresses(folder: Path) -> dict[int, str]:
    """
    Return the addresses of the embedded clusters whose processes live, by process id.

    :raises CommandError: A file of one of them cannot be read.
    """
    return {pid: _address_in(file) for pid, file in _living(folder)}


def _living(folder: Path) -> Iterator[tuple[int, Path]]:
    for file in sorted(folder.glob("embedded-*.json")):
        found = EMBEDDED_FILE.fullmatch(file.name)
        if found and _lives(int(found[1]), file):
            yield int(found[1]), file


def _lives(pid: int, file: Path) -> bool:
    try:
        process = psutil.Process(pid)
        # Younger than its file: another process has got the number since.
        return (
            process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= file.stat().st_mtime + CLOCK_TOLERANCE
        )
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False


def _address_in(file: Path) -> str:
    try:
        return str(json.loads(file.read_text())["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandError(
            f"{file} is no Dask scheduler file ({type(error).__name__}: {error}). Give --address"
        ) from None


def _embedded(folder: Path) -> Cluster:
    found = embedded_addresses(folder)
    if not found:
        raise CommandError(
            "No Dask cluster is named: give --address, set [dask] cluster_address or add the connection that [dask] "
            f"connection_id names. And no embedded cluster of this Airflow runs on this machine ({folder})"
        )
    if len(found) > 1:
        choice = ", ".join(f"{address} (process {pid})" for pid, address in found.items())
        raise UsageError(f"several embedded clusters run on this machine, choose one with --address: {choice}")
    ((pid, address),) = found.items()
    return Cluster(_endpoint(address), f"embedded cluster, process {pid}")


def _of_connection(connection_id: str) -> Cluster | None:
    # Loads the ORM, which the other ways do without.
    from airflow.models import Connection

    try:
        connection = Connection.get_connection_from_secrets(connection_id)
    except AirflowNotFoundException:
        return None
    try:
        return Cluster(endpoint_of(connection), f"connection {connection_id}")
    except ValueError as error:
        raise CommandError(str(error)) from None


def _endpoint(address: str, *, forgiving: bool = True) -> Endpoint:
    """
    Return an endpoint with the TLS material of the configuration.

    :param forgiving: Whether TLS material that an address without TLS has no use for is no mistake.
    """
    wanted = not forgiving or address.startswith("tls://")
    try:
        insecure = conf.getboolean("dask", "allow_insecure")
    except AirflowConfigException as error:
        raise CommandError(f"[dask] allow_insecure: {error}") from None
    material = {option: _option(option) if wanted else "" for option in TLS_OPTIONS}
    endpoint = Endpoint(address, **material, allow_insecure=insecure)
    names = {option: f"[dask] {option}" for option in (*TLS_OPTIONS, "allow_insecure")}
    address_name = "--address" if forgiving else "[dask] cluster_address"
    if problems := endpoint.problems({**names, "cluster_address": address_name}):
        raise CommandError("; ".join(problems))
    return endpoint


def _option(name: str) -> str:
    return (conf.get("dask", name) or "").strip()
