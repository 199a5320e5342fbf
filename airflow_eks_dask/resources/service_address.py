"""The address of a Service in Kubernetes: assigned, known to DNS, reached, and answered by whom it should be."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, dataclass
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any

import kubernetes.client  # type: ignore[import-untyped]
import urllib3
from botocore.exceptions import BotoCoreError, ClientError
from kubernetes.client import ApiException

from airflow_eks_dask.hooks.eks import KubernetesError, kubernetes_errors
from airflow_eks_dask.hooks.kubernetes import KubernetesCluster
from airflow_eks_dask.hooks.secret import read_secret
from airflow_eks_dask.manifests.pods import held_up, pods_of, when
from airflow_eks_dask.resources import waiting
from airflow_eks_dask.resources.reachability import (
    UnreachedError,
    connect,
    only_certificates,
    resolve,
    shake_hands,
    tls_context,
)

if TYPE_CHECKING:
    from typing_extensions import Self

AUTHORITY_KEY = "ca.crt"
"""Where a Secret with TLS material has the certificate of its authority."""

_PASSING = (408, 429, 500, 502, 503, 504)
"""What Kubernetes answers while it has too much to do, or is restarted."""

_MOST_FAILURES = 10
"""Looks in a row in which Kubernetes may not answer."""

_MOST_EVENTS = _MOST_REASONS = 5
"""How many events of a Service are told, the newest, and how many reasons of its pods."""


class Step(str, Enum):
    """What has to be so, one after the other, until a Service is reached."""

    SERVICE = "Service"
    ADDRESS = "address"
    DNS = "DNS"
    TCP = "TCP"
    TLS = "TLS"


_ADVICE = {
    Step.SERVICE: "Is it installed, in that namespace and that cluster?",
    Step.ADDRESS: "Something in the cluster has to make load balancers: on EKS, that takes subnets with the tags of "
    "Kubernetes; on kind, cloud-provider-kind.",
    Step.DNS: "The name of a new load balancer takes minutes to be known; that of a ClusterIP is known in the cluster "
    "alone.",
    Step.TCP: "Is there a way from here: routes to a load balancer that is internal, security groups, "
    "loadBalancerSourceRanges, NetworkPolicy? Does the server run?",
    Step.TLS: "Is TLS switched on there, and is the authority that of the certificate?",
}


class ServiceAddressError(Exception):
    """A Service will not get an address that can be waited for; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class ServiceAddress:
    """
    A Service, and what is to be seen of it. It holds no secret, so that triggers can hold it.

    :param cluster: In which cluster.
    :param namespace: Where it is.
    :param service: Its name.
    :param port: Number or name of one of its ports; None: the only one.
    :param tls: Whether a TLS handshake is made.
    :param authority: Certificates (PEM) of authorities that count; None: those of the system, if there is no Secret.
    :param tls_secret: ``namespace/name`` of a Secret that holds them instead, as ``ca.crt``.
    """

    cluster: KubernetesCluster
    namespace: str
    service: str
    port: int | str | None = None
    tls: bool = False
    authority: str | None = None
    tls_secret: str | None = None

    def __str__(self) -> str:
        return f"Service {self.namespace}/{self.service}"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data, for :meth:`from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the Service of this data."""
        return cls(**{**data, "cluster": KubernetesCluster.from_json(data["cluster"])})


@dataclass(frozen=True)
class Looked:
    """
    How far one look came.

    :param step: The step that is waited for; the last one, if there is an address.
    :param reason: Why.
    :param events: What Kubernetes tells of the Service, the newest last.
    :param address: The address, ``tls://host:port`` or ``tcp://host:port``, once every step is done.
    """

    step: Step
    reason: str = ""
    events: tuple[str, ...] = ()
    address: str | None = None


class ServiceAddressWatch:
    """
    Looks at a Service for as long as it takes; a context manager.

    :param wanted: The Service.
    :param log: Gets each step, and what Kubernetes says, each line once.
    """

    def __init__(self, wanted: ServiceAddress, log: waiting.Log) -> None:
        self._wanted = wanted
        self._log = waiting.OnceLog(log, wanted)
        self._failures = 0
        self._step = Step.SERVICE
        self._uid, self._selector = "", None
        self._looked = Looked(Step.SERVICE, "it was not looked at")
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the client."""
        self._stack.close()

    def look(self) -> Looked:
        """
        Return how far the Service has come.

        :raises ServiceAddressError: Waiting is of no use.
        :raises KubernetesError: Kubernetes refuses to tell, or has not answered for many looks.
        :raises ClientError: So does AWS.
        """
        with kubernetes_errors(f"looking at {self._wanted}"):
            try:
                looked = self._look()
            except (ApiException, urllib3.exceptions.HTTPError, BotoCoreError, ClientError) as error:
                self._failures += 1
                if not _is_passing(error) or self._failures > _MOST_FAILURES:
                    raise
                looked = Looked(self._step, f"Kubernetes could not be asked, will ask again: {_brief(error)}")
            else:
                self._failures = 0
        if not looked.address:
            self._log.tell(f"waits for {looked.step.value}: {looked.reason}")
        for line in looked.events:
            self._log.tell(line)
        self._looked = looked
        return looked

    def late(self) -> str:
        """Say where it hung, why, and what to do."""
        looked = self._looked
        events = f" Kubernetes says: {'; '.join(looked.events)}." if looked.events else ""
        hung = f"The step that hung is {looked.step.value}: {looked.reason}."
        return f"{self._wanted} was not reached in time. {hung}{events} {_ADVICE[looked.step]}"

    @cached_property
    def _client(self) -> kubernetes.client.ApiClient:
        return self._stack.enter_context(self._wanted.cluster.client())

    @cached_property
    def _core(self) -> kubernetes.client.CoreV1Api:
        return kubernetes.client.CoreV1Api(self._client)

    def _look(self) -> Looked:
        try:
            return Looked(self._step, address=self._reach())
        except UnreachedError as error:
            reasons = [str(error), *self._behind()]
        return Looked(self._step, "; ".join(reasons), tuple(self._events()))

    def _reach(self) -> str:
        """Go through all the steps."""
        wanted = self._wanted
        self._step = Step.SERVICE
        service = self._service()
        self._step = Step.ADDRESS
        host, port = _host(service), _port(service, wanted.port)
        self._done(f"{service.spec.type}, at {host} port {port}")
        self._step = Step.DNS
        self._done(f"{host} is {', '.join(resolve(host, port))}")
        self._step = Step.TCP
        with connect(host, port) as connection:
            self._done(f"connected to {host} port {port}")
            if wanted.tls:
                self._step = Step.TLS
                version = shake_hands(connection, host, tls_context(self._authority()))
                self._done(f"{version}, and the certificate counts")
        return f"{'tls' if wanted.tls else 'tcp'}://{f'[{host}]' if ':' in host else host}:{port}"

    def _service(self) -> Any:
        try:
            service = self._core.read_namespaced_service(self._wanted.service, self._wanted.namespace)
        except ApiException as error:
            if error.status == 404:
                raise UnreachedError("it is not there") from None
            raise
        self._uid, self._selector = str(service.metadata.uid), service.spec.selector
        return service

    def _authority(self) -> str | None:
        if not self._wanted.tls_secret:
            return self._wanted.authority
        try:
            held = read_secret(self._client, self._wanted.tls_secret, [AUTHORITY_KEY])
            return only_certificates(held[AUTHORITY_KEY].encode())
        except KubernetesError as error:
            raise UnreachedError(str(error)) from None
        except ValueError as error:
            raise UnreachedError(f"{AUTHORITY_KEY} of Secret {self._wanted.tls_secret}: {error}") from None

    def _behind(self) -> list[str]:
        """Say why nothing behind the Service may answer."""
        if self._step not in (Step.TCP, Step.TLS) or not self._selector:
            return []
        service = {
            "kind": "Service",
            "metadata": {"namespace": self._wanted.namespace, "name": self._wanted.service},
            "spec": {"selector": {"matchLabels": self._selector}},
        }
        try:
            pods = pods_of(self._client, service)
        except KubernetesError as error:
            return [str(error)]
        return held_up(pods)[:_MOST_REASONS] if pods else ["there is no pod behind it"]

    def _events(self) -> list[str]:
        if self._step is Step.SERVICE:
            return []
        selector = f"involvedObject.kind=Service,involvedObject.uid={self._uid}"
        try:
            found = self._core.list_namespaced_event(self._wanted.namespace, field_selector=selector).items
        except ApiException as error:
            return [f"its events can't be read: {error.status} {error.reason}"]
        newest = sorted(found, key=when)[-_MOST_EVENTS:]
        return [f"{each.reason}: {' '.join((each.message or '').split())}" for each in newest]

    def _done(self, what: str) -> None:
        self._log.tell(f"{self._step.value}: {what}")


def _host(service: Any) -> str:
    """
    Return the host name or IP address of a Service.

    :raises ServiceAddressError: A Service of its type has none.
    :raises UnreachedError: It has none yet.
    """
    spec, metadata = service.spec, service.metadata
    if spec.type == "ClusterIP":
        return f"{metadata.name}.{metadata.namespace}.svc"
    if spec.type != "LoadBalancer":
        raise ServiceAddressError(
            f"Service {metadata.namespace}/{metadata.name} is of type {spec.type}, which has no lasting address of its "
            "own. Make it a LoadBalancer; or a ClusterIP, where Airflow runs in the same cluster"
        )
    balancer = service.status.load_balancer
    for ingress in (balancer and balancer.ingress) or ():
        if host := ingress.hostname or ingress.ip:
            return str(host)
    raise UnreachedError("its load balancer has no address yet")


def _port(service: Any, wanted: int | str | None) -> int:
    """
    Return the number of a port of a Service.

    :raises ServiceAddressError: It has no such port, or more than one.
    """
    ports = service.spec.ports or []
    found = [each for each in ports if wanted is None or wanted in (each.port, each.name)]
    if len(found) == 1:
        return int(found[0].port)
    there = ", ".join(f"{each.name or 'without a name'} {each.port}" for each in ports) or "none"
    which = "no single port: name one" if wanted is None else f"no port {wanted!r}"
    name = f"{service.metadata.namespace}/{service.metadata.name}"
    raise ServiceAddressError(f"Service {name} has {which}. It has: {there}")


def _is_passing(error: Exception) -> bool:
    if isinstance(error, ApiException):
        return error.status in _PASSING
    return not isinstance(error, (BotoCoreError, ClientError)) or waiting.is_passing(error)


def _brief(error: Exception) -> str:
    return f"{error.status} {error.reason}" if isinstance(error, ApiException) else str(error)
