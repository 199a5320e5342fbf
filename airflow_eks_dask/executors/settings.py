"""The ``[dask]`` section of Airflow's configuration, checked."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from airflow.exceptions import AirflowConfigException

if TYPE_CHECKING:
    from distributed import Security


class Configuration(Protocol):
    """What is needed of Airflow's configuration, global or of one team."""

    def get(self, section: str, option: str, /) -> str | None:
        """Return an option's value."""


@dataclass(frozen=True)
class DaskSettings:
    """
    The options of section ``[dask]``; their meaning is in :mod:`airflow_eks_dask.provider_info`.

    Make it with :meth:`from_configuration`, which refuses what cannot work.
    """

    cluster_address: str
    slots_per_worker: int
    preload_modules: tuple[str, ...]
    embedded_workers: int
    tls_ca: str
    tls_cert: str
    tls_key: str
    allow_insecure: bool
    connect_timeout: float
    shutdown_timeout: float

    @classmethod
    def from_configuration(cls, configuration: Configuration) -> DaskSettings:
        """
        Read and check the options.

        :raises AirflowConfigException: With everything that is wrong.
        """
        problems: list[str] = []

        def text(option: str) -> str:
            return (configuration.get("dask", option) or "").strip()

        def number(option: str, minimum: float, *, whole: bool) -> float:
            value = text(option)
            try:
                parsed = int(value) if whole else float(value)
            except ValueError:
                parsed = minimum - 1
            if not minimum <= parsed < 1e9:
                kind = "whole number" if whole else "number"
                problems.append(f"{option} = {value!r}: must be a {kind} of at least {minimum:g}")
            return parsed

        insecure = text("allow_insecure").lower()
        if insecure not in ("true", "false"):
            problems.append(f"allow_insecure = {insecure!r}: must be True or False")
        settings = cls(
            cluster_address=text("cluster_address"),
            slots_per_worker=int(number("slots_per_worker", 0, whole=True)),
            preload_modules=tuple(name for name in re.split(r"[,\s]+", text("preload_modules")) if name),
            embedded_workers=int(number("embedded_workers", 1, whole=True)),
            tls_ca=text("tls_ca"),
            tls_cert=text("tls_cert"),
            tls_key=text("tls_key"),
            allow_insecure=insecure == "true",
            connect_timeout=number("connect_timeout", 0.1, whole=False),
            shutdown_timeout=number("shutdown_timeout", 0, whole=False),
        )
        problems += settings._problems()
        if problems:
            raise AirflowConfigException("Section [dask] of the configuration: " + "; ".join(problems))
        return settings

    @property
    def is_embedded(self) -> bool:
        """Whether the executor starts its own cluster."""
        return not self.cluster_address

    @property
    def uses_tls(self) -> bool:
        """Whether the cluster is spoken to in TLS."""
        return self.cluster_address.startswith("tls://")

    def security(self) -> Security | None:
        """Return the TLS material for distributed; None without TLS."""
        if not self.uses_tls:
            return None
        from distributed import Security

        return Security(
            tls_ca_file=self.tls_ca,
            tls_client_cert=self.tls_cert,
            tls_client_key=self.tls_key,
            require_encryption=True,
        )

    def _problems(self) -> list[str]:
        tls = {"tls_ca": self.tls_ca, "tls_cert": self.tls_cert, "tls_key": self.tls_key}
        problems = [
            f"{option} = {path!r}: no such file" for option, path in tls.items() if path and not Path(path).is_file()
        ]
        problems += [
            f"preload_modules: {name!r} is not the name of a module"
            for name in self.preload_modules
            if not all(part.isidentifier() for part in name.split("."))
        ]
        if self.is_embedded:
            return problems
        try:
            parts = urlsplit(self.cluster_address)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if host is None or port is None or parts.scheme not in ("tcp", "tls"):
            problems.append(
                f"cluster_address = {self.cluster_address!r}: must look like tls://host:8786, "
                "or tcp://127.0.0.1:8786 on this machine"
            )
        elif self.uses_tls:
            missing = [option for option, path in tls.items() if not path]
            if missing:
                problems.append(f"cluster_address = {self.cluster_address!r} needs {', '.join(missing)} too")
        elif any(tls.values()):
            problems.append(
                f"TLS files are set, but cluster_address = {self.cluster_address!r} is not TLS: write tls://"
            )
        elif not self.allow_insecure and not _is_loopback(host):
            problems.append(
                f"cluster_address = {self.cluster_address!r} is beyond this machine and without TLS: whoever reaches "
                "it runs code as Airflow does. Use tls:// with tls_ca, tls_cert and tls_key, or set "
                "allow_insecure = True"
            )
        return problems


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
