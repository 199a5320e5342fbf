"""Which Dask cluster Airflow's tasks run on: what the configuration leads to, for commands and the page."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from airflow.configuration import conf
from airflow.exceptions import AirflowConfigException
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_eks_dask.endpoint import Endpoint
from airflow_eks_dask.hooks.dask import endpoint_of

if TYPE_CHECKING:
    from collections.abc import Iterator

EMBEDDED_FILE = re.compile(r"embedded-(\d+)\.json")
# Linux tells when a process started in terms of a clock that may have been set since.
CLOCK_TOLERANCE = 60.0
TLS_OPTIONS = ("tls_ca", "tls_cert", "tls_key")


class ClusterError(Exception):
    """A Dask cluster was not found, not reached or did not do what was asked; the message says why and what to do."""


class NoClusterError(ClusterError):
    """Nothing says where a Dask cluster is."""


class SeveralClustersError(ClusterError):
    """It is not clear which of several Dask clusters is meant."""


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
    Find the Dask cluster that Airflow's tasks run on.

    That is the given one, else the one of the configuration, else that of the connection it names, else the
    embedded cluster that runs on this machine.

    :param address: Of the Dask scheduler, as given on the command line.
    :raises NoClusterError: There is none.
    :raises SeveralClustersError: Several embedded clusters run here.
    :raises ClusterError: What leads to it cannot work.
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

    :raises ClusterError: The option is no number.
    """
    try:
        return conf.getfloat("dask", "connect_timeout")
    except AirflowConfigException as error:
        raise ClusterError(f"[dask] connect_timeout: {error}") from None


def scheduler_files() -> Path:
    """Return the directory in which each embedded cluster of this Airflow keeps ``embedded-<process id>.json``."""
    from airflow.configuration import AIRFLOW_HOME

    return Path(AIRFLOW_HOME) / "dask"


def embedded_addresses(folder: Path) -> dict[int, str]:
    """
    Return the addresses of the embedded clusters whose processes live, by process id.

    :raises ClusterError: A file of one of them cannot be read.
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
        raise ClusterError(
            f"{file} is no Dask scheduler file ({type(error).__name__}: {error}). If its process has ended, remove it"
        ) from None


def _embedded(folder: Path) -> Cluster:
    found = embedded_addresses(folder)
    if not found:
        raise NoClusterError(
            "No Dask cluster is named: set [dask] cluster_address or add the connection that [dask] connection_id "
            f"names. And no embedded cluster of this Airflow runs on this machine ({folder})"
        )
    if len(found) > 1:
        choice = ", ".join(f"{address} (process {pid})" for pid, address in found.items())
        raise SeveralClustersError(f"Several embedded clusters run on this machine: {choice}")
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
        raise ClusterError(str(error)) from None


def _endpoint(address: str, *, forgiving: bool = True) -> Endpoint:
    """
    Return an endpoint with the TLS material of the configuration.

    :param forgiving: Whether TLS material that an address without TLS has no use for is no mistake.
    """
    wanted = not forgiving or address.startswith("tls://")
    try:
        insecure = conf.getboolean("dask", "allow_insecure")
    except AirflowConfigException as error:
        raise ClusterError(f"[dask] allow_insecure: {error}") from None
    material = {option: _option(option) if wanted else "" for option in TLS_OPTIONS}
    endpoint = Endpoint(address, **material, allow_insecure=insecure)
    names = {option: f"[dask] {option}" for option in (*TLS_OPTIONS, "allow_insecure")}
    address_name = "--address" if forgiving else "[dask] cluster_address"
    if problems := endpoint.problems({**names, "cluster_address": address_name}):
        raise ClusterError("; ".join(problems))
    return endpoint


def _option(name: str) -> str:
    return (conf.get("dask", name) or "").strip()
