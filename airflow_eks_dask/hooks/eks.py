"""The Kubernetes API of an EKS cluster, with the credentials of an AWS connection."""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import kubernetes.client  # type: ignore[import-untyped]
import kubernetes_asyncio.client
import urllib3
from asgiref.sync import sync_to_async

from airflow_eks_dask.hooks.eks_token import EksTokenSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eks_dask.hooks.aws import AwsClients

TIMEOUT = (10.0, 60.0)
"""Seconds that connecting, and waiting for the next bytes, may take."""


class KubernetesError(Exception):
    """The Kubernetes API refused, or was not reached; the message says what and why."""


@dataclass(frozen=True)
class ApiServer:
    """
    Where a cluster's Kubernetes API is.

    :param url: Its address.
    :param authority_data: The certificate of the authority that vouches for it: PEM, in base64.
    """

    url: str
    authority_data: str

    @property
    def authority(self) -> str:
        """The certificate of its authority, in PEM format."""
        return base64.b64decode(self.authority_data).decode()


def find_api_server(aws: AwsClients, cluster_name: str) -> ApiServer | None:
    """
    Find the Kubernetes API of a cluster.

    :return: None: there is no such cluster, or it is just being made.
    """
    eks = aws.client("eks")
    try:
        cluster = eks.describe_cluster(name=cluster_name)["cluster"]
    except eks.exceptions.ResourceNotFoundException:
        return None
    url, authority = cluster.get("endpoint"), cluster.get("certificateAuthority", {}).get("data")
    return ApiServer(url.rstrip("/"), authority) if url and authority else None


class EksKubernetes:
    """
    Clients of the Kubernetes API of one cluster.

    Each call of a client takes a token that is good for minutes, however long the client lives. No token and no key is
    written to disk, and neither is a kubeconfig, as the provider's ``EksHook`` does.

    :param aws: Whose credentials are used.
    :param cluster_name: The cluster.
    :param timeout: Seconds that connecting, and waiting for the next bytes of an answer, may take, unless a call says
        otherwise with ``_request_timeout``, as one has to that watches something silent.
    """

    def __init__(self, aws: AwsClients, cluster_name: str, timeout: tuple[float, float] = TIMEOUT) -> None:
        self._aws = aws
        self._cluster_name = cluster_name
        self._timeout = timeout
        self.tokens = EksTokenSource(aws, cluster_name)

    @cached_property
    def api_server(self) -> ApiServer:
        """
        Where the API is.

        :raises KubernetesError: The cluster is not there.
        """
        server = find_api_server(self._aws, self._cluster_name)
        if server is None:
            raise KubernetesError(f"EKS cluster {self._cluster_name} in {self._aws.region} is not there, or not yet")
        return server

    def client(self) -> kubernetes.client.ApiClient:
        """Return a client; to be closed after use: it is a context manager."""

        def refresh(configuration: kubernetes.client.Configuration) -> None:
            configuration.api_key["authorization"] = f"Bearer {self.tokens.get().value}"

        configuration = kubernetes.client.Configuration(host=self.api_server.url, api_key={"authorization": ""})
        configuration.refresh_api_key_hook = refresh
        client = _Client(configuration)
        client._timeout = self._timeout
        # It has no other way in for an authority than a file, to be there for as long as the client is.
        client.rest_client.pool_manager.connection_pool_kw["ssl_context"] = _tls_context(self.api_server.authority)
        return client

    async def async_client(self) -> kubernetes_asyncio.client.ApiClient:
        """Return a client for the running event loop; to be closed after use: it is an asynchronous context manager."""
        # Credentials may have to be fetched, which blocks.
        get_token = sync_to_async(self.tokens.get, thread_sensitive=False)
        server: ApiServer = await sync_to_async(lambda: self.api_server, thread_sensitive=False)()

        async def refresh(configuration: kubernetes_asyncio.client.Configuration) -> None:
            configuration.api_key["BearerToken"] = f"Bearer {(await get_token()).value}"

        configuration = kubernetes_asyncio.client.Configuration(host=server.url, api_key={"BearerToken": ""})
        configuration.refresh_api_key_hook = refresh
        configuration.disable_strict_ssl_verification = True  # see _tls_context
        # It reads the authority from a file, once, when it is made.
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(server.authority)
            file.flush()
            configuration.ssl_ca_cert = file.name
            client = _AsyncClient(configuration)
        client._timeout = self._timeout
        return client


@contextmanager
def kubernetes_errors(what: str) -> Iterator[None]:
    """
    Tell errors of the synchronous client in words.

    :param what: What was about to be done, such as ``reading ConfigMap kube-system/aws-auth``.
    :raises KubernetesError: Instead of any of them.
    """
    try:
        yield
    except kubernetes.client.ApiException as error:
        raise KubernetesError(f"{what}: Kubernetes answered {error.status} {error.reason}: {_said(error)}") from None
    except urllib3.exceptions.HTTPError as error:
        raise KubernetesError(
            f"{what}: the Kubernetes API was not reached: {error}. Is its endpoint open to this machine (endpoint "
            "access, allowed CIDRs, routes)?"
        ) from error


class _WithTimeout:
    """Has a client wait for no answer without end."""

    _timeout: tuple[float, float]

    def request(self, *args: Any, _request_timeout: Any = None, **kwargs: Any) -> Any:
        timeout = _request_timeout or self._timeout
        return super().request(*args, _request_timeout=timeout, **kwargs)  # type: ignore[misc]


class _Client(_WithTimeout, kubernetes.client.ApiClient):  # type: ignore[misc]
    pass


class _AsyncClient(_WithTimeout, kubernetes_asyncio.client.ApiClient):
    pass


def _said(error: kubernetes.client.ApiException) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (ValueError, KeyError, TypeError):
        return str(error.body)


def _tls_context(authority: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=authority)
    # EKS' authorities lack an extension that Python 3.13 came to insist on. Names and signatures are checked as ever.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
