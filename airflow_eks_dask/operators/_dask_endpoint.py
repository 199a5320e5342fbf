"""What operators about a Dask scheduler's address have in common: the address, and where TLS material comes from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.endpoint import Endpoint
from airflow_eks_dask.hooks.dask_check import DaskClusterError
from airflow_eks_dask.operators._text import TextOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

FILES = ("tls_ca", "tls_cert", "tls_key")


class DaskEndpointOperator(TextOperator):
    """
    Knows a Dask scheduler. TLS material is read where the task runs and goes through no XCom.

    :param address: ``tls://host:port``.
    :param tls_ca: File (PEM) with the certificate of the authority of the cluster's certificates.
    :param tls_cert: File (PEM) with the certificate that Airflow shows to the Dask scheduler.
    :param tls_key: File (PEM) with the private key of ``tls_cert``.
    :param allow_insecure: Whether the Dask scheduler may be beyond this machine without TLS.
    """

    template_fields: Sequence[str] = ("address", *FILES)

    def __init__(
        self,
        *,
        address: str | None = None,
        tls_ca: str | None = None,
        tls_cert: str | None = None,
        tls_key: str | None = None,
        allow_insecure: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.address = address
        self.tls_ca = tls_ca
        self.tls_cert = tls_cert
        self.tls_key = tls_key
        self.allow_insecure = allow_insecure

    def problems(self) -> list[str]:
        """Say all that is wrong with the parameters, without asking anybody."""
        files = {name: value for name in FILES if (value := getattr(self, name))}
        found = [
            f"{name} is the path of a file, not what is in it: parameters are shown to whoever may see the task"
            for name, value in files.items()
            if "-----BEGIN " in value
        ]
        if found:
            return found
        return Endpoint(self.address or "", **files, allow_insecure=self.allow_insecure).problems(
            {"cluster_address": "address"}
        )

    def refuse(self, problems: Sequence[str]) -> None:
        """
        Refuse what cannot be.

        :raises DaskClusterError: With all of it.
        """
        if problems:
            raise DaskClusterError("What is wanted can't be: " + "; ".join(problems))

    def read_endpoint(self) -> Endpoint:
        """
        Return the Dask scheduler, with its TLS material as text.

        :raises DaskClusterError: The material does not serve.
        """
        endpoint = Endpoint(self.address or "", **self._from_files(), allow_insecure=self.allow_insecure)
        self.refuse(endpoint.problems({"cluster_address": "address"}))
        return endpoint

    def _from_files(self) -> dict[str, str]:
        return {name: Path(path).read_text() for name in FILES if (path := getattr(self, name))}
