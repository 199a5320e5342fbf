"""Where a Dask scheduler is and what is shown to it, checked before anything connects."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import textwrap
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from distributed import Client, Security

_AS_OPTIONS: Mapping[str, str] = MappingProxyType({})
_OBJECT = re.compile(r"in <[^<>]* object at 0x[0-9a-f]+>: ")
_PEM_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)
_PEM_START = "-----BEGIN "
_PEM_ENCRYPTED = re.compile(r"-----BEGIN ENCRYPTED |Proc-Type:\s*4,\s*ENCRYPTED")


@dataclass(frozen=True)
class Endpoint:
    """
    One Dask scheduler, as a client of it needs to know it.

    Making one checks nothing: see :meth:`problems`.

    :param address: ``tls://host:port`` or ``tcp://host:port``.
    :param tls_ca: Certificate of the authority that signs the cluster's certificates: PEM text, or a file of it.
    :param tls_cert: Certificate that is shown to the Dask scheduler: PEM text, or a file of it.
    :param tls_key: Private key of ``tls_cert``, not encrypted: PEM text, or a file of it.
    :param allow_insecure: Whether a Dask scheduler beyond this machine may be used without TLS.
    """

    address: str
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = field(default="", repr=False)
    allow_insecure: bool = False

    @property
    def uses_tls(self) -> bool:
        """Whether the cluster is spoken to in TLS."""
        return self.address.startswith("tls://")

    def problems(self, called: Mapping[str, str] = _AS_OPTIONS) -> list[str]:
        """
        Say everything that cannot work, or must not; empty if nothing is wrong.

        :param called: How the reader knows a value, where that is not the option of section ``[dask]``.
        """
        return [*self.tls_problems(called), *self._address_problems(called)]

    def tls_problems(self, called: Mapping[str, str] = _AS_OPTIONS) -> list[str]:
        """
        Say what is wrong with the TLS material alone, wherever the Dask scheduler is.

        :param called: As for :meth:`problems`.
        """
        problems = [
            problem
            for option, value in self._material().items()
            if value and (problem := _material_problem(called.get(option, option), value, is_key=option == "tls_key"))
        ]
        missing = [called.get(option, option) for option, value in self._material().items() if not value]
        if self.uses_tls and missing:
            problems.append(f"{self._shown(called)} needs {', '.join(missing)} too")
        return problems

    def security(self) -> Security | None:
        """Return the TLS material for distributed; None without TLS."""
        if not self.uses_tls:
            return None
        from distributed import Security

        return Security(
            tls_ca_file=tidy_pem(self.tls_ca),
            tls_client_cert=tidy_pem(self.tls_cert),
            tls_client_key=tidy_pem(self.tls_key),
            require_encryption=True,
        )

    def connect(self, *, timeout: float, set_as_default: bool = False) -> Client:
        """
        Return a client that does not need an event loop. Close it, or use it as a context manager.

        :param timeout: Seconds that connecting may take.
        :param set_as_default: Whether Dask collections of this process compute there.
        :raises OSError: The Dask scheduler did not answer in time, or the TLS material does not serve.
        """
        from distributed import Client

        try:
            return Client(self.address, security=self.security(), timeout=timeout, set_as_default=set_as_default)
        except (OSError, asyncio.TimeoutError) as error:
            raise OSError(f"No connection to the Dask scheduler at {self.address}: {_innermost(error)}") from error

    async def connect_async(self, *, timeout: float, name: str | None = None) -> Client:
        """
        Return a client for the running event loop. Close it, or use it as an asynchronous context manager.

        :param timeout: Seconds that connecting may take.
        :param name: Part of the client's id on the Dask scheduler.
        :raises OSError: As :meth:`connect`.
        """
        from distributed import Client

        try:
            client: Client = await Client(
                self.address,
                security=self.security(),
                timeout=timeout,
                name=name,
                asynchronous=True,
                set_as_default=False,
            )
        except (OSError, asyncio.TimeoutError) as error:
            raise OSError(f"No connection to the Dask scheduler at {self.address}: {_innermost(error)}") from error
        return client

    def _material(self) -> dict[str, str]:
        return {"tls_ca": self.tls_ca, "tls_cert": self.tls_cert, "tls_key": self.tls_key}

    def _shown(self, called: Mapping[str, str]) -> str:
        return f"{called.get('cluster_address', 'cluster_address')} = {self.address!r}"

    def _address_problems(self, called: Mapping[str, str]) -> list[str]:
        host, address = _host(self.address), self._shown(called)
        if host is None:
            return [f"{address}: must look like tls://host:8786, or tcp://127.0.0.1:8786 on this machine"]
        if self.uses_tls:
            return []
        if any(self._material().values()):
            return [f"TLS files are set, but {address} is not TLS: write tls://"]
        if self.allow_insecure or is_loopback(host):
            return []
        ca, cert, key = (called.get(option, option) for option in self._material())
        problem = (
            f"{address} is beyond this machine and without TLS: whoever reaches it runs code as Airflow does. "
            f"Use tls:// with {ca}, {cert} and {key}, or set {called.get('allow_insecure', 'allow_insecure')} = True"
        )
        return [problem]


def tidy_pem(value: str) -> str:
    r"""
    Put the line ends of PEM text back where form fields and environment files have lost them.

    :param value: PEM text, with spaces, ``\n`` in letters or nothing in the place of line ends; a path is returned as
        it is.
    """
    if _PEM_START not in value:
        return value
    blocks = [
        f"-----BEGIN {label}-----\n{_wrapped(body)}\n-----END {label}-----\n"
        for label, body in _PEM_BLOCK.findall(value)
    ]
    return "".join(blocks) or value


def is_loopback(host: str) -> bool:
    """Tell whether a host name or IP address is this machine and cannot be reached from another."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _innermost(error: BaseException) -> str:
    """Say what began it: distributed wraps the cause in errors that tell of the timeout only."""
    words = [str(error) or type(error).__name__]
    while (cause := error.__cause__) is not None:
        error = cause
        if str(error) and str(error) not in words[-1]:
            words.append(str(error))
    return _OBJECT.sub("", ": ".join(words))


def _wrapped(body: str) -> str:
    return "\n".join(textwrap.wrap(re.sub(r"\\[rn]|\s", "", body), 64))


def _host(address: str) -> str | None:
    """Return the host of an address with all its parts; None if one is missing or wrong."""
    try:
        parts = urlsplit(address)
        complete = parts.scheme in ("tcp", "tls") and parts.port is not None
    except ValueError:
        return None
    return parts.hostname if complete else None


def _material_problem(name: str, value: str, *, is_key: bool) -> str | None:
    if _PEM_START in value:
        if len(_PEM_BLOCK.findall(value)) != value.count(_PEM_START):
            return f"{name}: PEM text without its end"
        return _encrypted(name, value)
    try:
        is_file = Path(value).is_file()
    except OSError:
        is_file = False
    if not is_file and is_key and not Path(value).is_absolute():
        # It is not shown: what stands in for a key may be a part of one.
        return f"{name}: neither PEM text nor a file"
    if not is_file:
        return f"{name} = {value!r}: no such file"
    if not is_key:
        return None
    try:
        return _encrypted(name, Path(value).read_text(errors="replace"))
    except OSError as error:
        return f"{name} = {value!r}: cannot be read: {error.strerror}"


def _encrypted(name: str, text: str) -> str | None:
    # OpenSSL would ask the terminal for the passphrase, and wait.
    return f"{name}: the key is encrypted; give one without a passphrase" if _PEM_ENCRYPTED.search(text) else None
