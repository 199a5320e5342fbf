"""Airflow's hook to a Dask cluster."""

from __future__ import annotations

import asyncio
import json
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from airflow.sdk import BaseHook

from airflow_eks_dask.endpoint import Endpoint, tidy_pem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from distributed import Client, Security

PORT = 8786
"""Of a Dask scheduler, unless the connection says another."""

EXTRAS = ("tls_ca", "tls_cert", "allow_insecure")
FIELDS = {
    "cluster_address": "address",
    "tls_ca": "extra.tls_ca",
    "tls_cert": "extra.tls_cert",
    "tls_key": "password",
    "allow_insecure": "extra.allow_insecure",
}
"""What an endpoint's values are called in a connection."""

PACKAGE = "airflow-eks-dask"
AIRFLOW = "apache-airflow"
COMPARED = ("python", "dask", "distributed")
MINOR_ONLY = ("python", AIRFLOW)
"""Of these, the first two numbers of the version count."""

CALL_TIMEOUT = 15.0
_MARK = ("Dask cluster ", ", published by airflow-eks-dask")


class SupportsConnection(Protocol):
    """What is needed of a connection: the Task SDK's and Airflow's own have it."""

    @property
    def conn_id(self) -> Any:
        """What it is called."""

    @property
    def host(self) -> Any:
        """Name or IP address of the Dask scheduler."""

    @property
    def port(self) -> Any:
        """Port of the Dask scheduler."""

    @property
    def password(self) -> Any:
        """The private key, which Airflow encrypts and masks."""

    @property
    def extra(self) -> Any:
        """The rest, in JSON."""


def endpoint_of(connection: SupportsConnection) -> Endpoint:
    """
    Return where a connection leads.

    It is TLS if the connection has any TLS material.

    :raises ValueError: With everything that is wrong.
    """
    extra, problems = _read_extra(connection.extra)
    material = {
        "tls_ca": str(extra.get("tls_ca") or "").strip(),
        "tls_cert": str(extra.get("tls_cert") or "").strip(),
        "tls_key": (connection.password or "").strip(),
    }
    insecure = str(extra.get("allow_insecure") or "false").strip().lower()
    if insecure not in ("true", "false"):
        problems.append(f"extra.allow_insecure = {insecure!r}: must be true or false")
    host = (connection.host or "").strip()
    endpoint = Endpoint(
        _address(host, connection.port or PORT, tls=any(material.values())),
        **material,
        allow_insecure=insecure == "true",
    )
    host_problems = _host_problems(host)
    problems += [*host_problems, *endpoint.tls_problems(FIELDS)] if host_problems else endpoint.problems(FIELDS)
    if problems:
        raise ValueError(f"Connection {connection.conn_id!r}: " + "; ".join(problems))
    return endpoint


def connection_fields(endpoint: Endpoint) -> dict[str, Any]:
    """
    Return what a connection that leads to an endpoint has in its fields; :func:`endpoint_of` reads it.

    :param endpoint: One without problems.
    """
    parts = urlsplit(endpoint.address)
    extra = {
        "tls_ca": tidy_pem(endpoint.tls_ca),
        "tls_cert": tidy_pem(endpoint.tls_cert),
        "allow_insecure": endpoint.allow_insecure,
    }
    return {
        "conn_type": DaskHook.conn_type,
        "host": parts.hostname,
        "port": parts.port or PORT,
        "password": tidy_pem(endpoint.tls_key) or None,
        "extra": json.dumps({name: value for name, value in extra.items() if value}),
    }


def ownership_mark(cluster_name: str) -> str:
    """Return the description by which a published connection is known again."""
    return f"{_MARK[0]}{cluster_name}{_MARK[1]}"


def published_cluster(description: str | None) -> str | None:
    """Return the name of the cluster that a connection was published for; None if it was written by somebody else."""
    text, (before, after) = description or "", _MARK
    is_marked = text.startswith(before) and text.endswith(after)
    return text.removeprefix(before).removesuffix(after) if is_marked else None


def version_differences(
    here: Mapping[str, str | None], there: Mapping[str, str | None], packages: Sequence[str] = COMPARED
) -> list[str]:
    """
    Say which versions differ between this process and one of Dask so much that they do not go together.

    Of Python and Airflow the first two numbers count, of other packages all.

    :param here: Versions by package; of Python as ``python``.
    :param there: The same for the Dask scheduler, or a worker.
    :param packages: Those that are compared.
    """

    def counting(package: str, version: str | None) -> str:
        text = str(version or "none")
        return ".".join(text.split(".")[:2]) if package in MINOR_ONLY else text

    return [
        f"{package} {counting(package, here.get(package))} here, {counting(package, there.get(package))} there"
        for package in packages
        if counting(package, here.get(package)) != counting(package, there.get(package))
    ]


class DaskHook(BaseHook):
    """
    Connects a task to a Dask cluster. For the one that the task runs on there is :func:`airflow_eks_dask.get_client`.

    A connection has ``host`` and ``port`` of the Dask scheduler; for TLS, the private key (PEM) as ``password`` and in
    ``extra`` ``tls_ca`` and ``tls_cert``. Each of the three is PEM text or the path of a file. ``extra.allow_insecure``
    permits a Dask scheduler beyond this machine without TLS.

    :param dask_conn_id: The connection.
    :param timeout: Seconds that connecting may take.
    """

    conn_name_attr = "dask_conn_id"
    default_conn_name = "dask_default"
    conn_type = "dask"
    hook_name = "Dask"

    def __init__(self, dask_conn_id: str = default_conn_name, timeout: float = 10) -> None:
        super().__init__()
        self.dask_conn_id = dask_conn_id
        self.timeout = timeout

    @cached_property
    def endpoint(self) -> Endpoint:
        """
        Where the connection leads.

        :raises ValueError: The connection is half filled in, or not secure.
        """
        return endpoint_of(self.get_connection(self.dask_conn_id))

    @property
    def address(self) -> str:
        """Address of the Dask scheduler: ``tls://host:port``, or ``tcp://host:port`` without TLS material."""
        return self.endpoint.address

    def security(self) -> Security | None:
        """Return the TLS material for :class:`distributed.Client`; None without TLS."""
        return self.endpoint.security()

    def get_conn(self) -> Client:
        """
        Return a client of the cluster, on which Dask collections then compute. Use it as a context manager.

        :raises OSError: The Dask scheduler did not answer in time.
        :raises ValueError: The connection is half filled in, or not secure.
        """
        return self.endpoint.connect(timeout=self.timeout, set_as_default=True)

    def test_connection(self) -> tuple[bool, str]:
        """
        Ask the Dask scheduler for its versions.

        :return: Whether it answers and its versions go with those here, and that in words.
        """
        try:
            with self.endpoint.connect(timeout=self.timeout) as client:
                there = scheduler_versions(client)
        except (OSError, ValueError) as error:
            return False, str(error)
        if differences := version_differences(local_versions(), there):
            return False, f"Connected to {self.address}, but versions differ: {'; '.join(differences)}"
        return True, f"Connected to {self.address}, distributed {there['distributed']}"


def local_versions() -> dict[str, str | None]:
    """Return this process's versions of Python and of what counts for Dask, by package."""
    from distributed.versions import get_versions

    return plain_versions(get_versions([PACKAGE, AIRFLOW])["packages"])


def scheduler_versions(client: Client) -> dict[str, str | None]:
    """
    Return the versions of the Dask scheduler, by package.

    :param client: A client of it that is connected.
    :raises OSError: It did not answer in time.
    """
    scheduler = client.scheduler
    if scheduler is None:
        raise ConnectionError("The connection to the Dask scheduler was closed")
    try:
        answer = client.sync(scheduler.versions, packages=[PACKAGE, AIRFLOW], callback_timeout=CALL_TIMEOUT)
    except asyncio.TimeoutError:
        raise OSError(f"The Dask scheduler has not answered within {CALL_TIMEOUT:g} s") from None
    return plain_versions(answer["packages"])


def plain_versions(versions: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return versions as people write them: Dask says more than that of Python's."""
    return {name: version and version.removesuffix(".final.0") for name, version in versions.items()}


def _address(host: str, port: int, *, tls: bool) -> str:
    bracketed = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"{'tls' if tls else 'tcp'}://{bracketed}:{port}"


def _host_problems(host: str) -> list[str]:
    if not host:
        return ["host is empty"]
    if "/" in host or "@" in host:
        return [f"host = {host!r}: must be a name or an IP address alone"]
    return []


def _read_extra(written: str | dict[str, Any] | None) -> tuple[dict[str, Any], list[str]]:
    """
    Return what is in the field ``extra``, and what is wrong with it.

    :param written: JSON; of a connection made from a URI, the Task SDK of Airflow 3.2 has it read already.
    """
    try:
        extra = written if isinstance(written, dict) else json.loads(written or "{}")
    except ValueError as error:
        return {}, [f"extra is not JSON: {error}"]
    if not isinstance(extra, dict):
        return {}, ["extra is not a JSON object"]
    unknown = sorted(set(extra) - set(EXTRAS))
    return extra, [f"extra.{name}: not known; there are {', '.join(EXTRAS)}" for name in unknown]
