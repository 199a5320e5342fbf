"""What operators about a Dask scheduler's address have in common: the address, and where TLS material comes from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.endpoint import Endpoint
from airflow_eks_dask.hooks.dask_check import DaskClusterError
from airflow_eks_dask.operators._kubernetes import KubernetesOperator, secret_problems

if TYPE_CHECKING:
    from collections.abc import Sequence

FILES = ("tls_ca", "tls_cert", "tls_key")
SECRET_KEYS = {"tls_ca": "ca.crt", "tls_cert": "tls.crt", "tls_key": "tls.key"}


class DaskEndpointOperator(KubernetesOperator):
    """
    Knows a Dask scheduler. TLS material is read where the task runs and goes through no XCom.

    :param address: ``tls://host:port``.
    :param tls_ca: File (PEM) with the certificate of the authority of the cluster's certificates.
    :param tls_cert: File (PEM) with the certificate that Airflow shows to the Dask scheduler.
    :param tls_key: File (PEM) with the private key of ``tls_cert``.
    :param tls_secret: Instead of the three files, ``namespace/name`` of a Secret in Kubernetes with the keys
        ``ca.crt``, ``tls.crt`` and ``tls.key``. In which cluster that is, the further parameters say.
    :param allow_insecure: Whether the Dask scheduler may be beyond this machine without TLS.
    """

    template_fields: Sequence[str] = (*KubernetesOperator.template_fields, "address", *FILES, "tls_secret")

    def __init__(
        self,
        *,
        address: str | None = None,
        tls_ca: str | None = None,
        tls_cert: str | None = None,
        tls_key: str | None = None,
        tls_secret: str | None = None,
        allow_insecure: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.address = address
        self.tls_ca = tls_ca
        self.tls_cert = tls_cert
        self.tls_key = tls_key
        self.tls_secret = tls_secret
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
        if not self.tls_secret:
            return Endpoint(self.address or "", **files, allow_insecure=self.allow_insecure).problems(
                {"cluster_address": "address"}
            )
        if files:
            found.append(f"tls_secret holds all three: leave out {', '.join(files)}")
        found += secret_problems("tls_secret", self.tls_secret)
        if not (self.address or "").startswith("tls://"):
            found.append(f"address = {self.address!r}: must look like tls://host:8786")
        return found + self.cluster.problems()

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
        :raises KubernetesError: The Secret is not there or lacks a part, or Kubernetes refused.
        """
        material = self._from_secret() if self.tls_secret else self._from_files()
        endpoint = Endpoint(self.address or "", **material, allow_insecure=self.allow_insecure)
        called = {name: f"{key} of Secret {self.tls_secret}" for name, key in SECRET_KEYS.items()}
        self.refuse(endpoint.problems({"cluster_address": "address", **(called if self.tls_secret else {})}))
        return endpoint

    def _from_files(self) -> dict[str, str]:
        return {name: Path(path).read_text() for name in FILES if (path := getattr(self, name))}

    def _from_secret(self) -> dict[str, str]:
        from airflow_eks_dask.hooks.secret import read_secret

        with self.cluster.client() as client:
            held = read_secret(client, str(self.tls_secret), list(SECRET_KEYS.values()))
        return {field: held[key] for field, key in SECRET_KEYS.items()}
