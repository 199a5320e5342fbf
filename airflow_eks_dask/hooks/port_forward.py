"""A port of this machine that leads to a Service in a cluster, through the Kubernetes API."""

from __future__ import annotations

import logging
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import kubernetes.client  # type: ignore[import-untyped]
from kubernetes.stream import portforward  # type: ignore[import-untyped]

from airflow_eks_dask.hooks.eks import KubernetesError, kubernetes_errors

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

log = logging.getLogger(__name__)

_CHUNK = 1 << 16


@dataclass(frozen=True)
class Target:
    """
    Where a connection goes.

    :param pod: Name of the pod.
    :param port: Of the pod.
    """

    pod: str
    port: int


def find_target(client: Any, namespace: str, service: str) -> Target:
    """
    Find a pod that is ready, behind a Service's first port.

    :param client: Of the cluster.
    :raises KubernetesError: There is no such Service, or no pod behind it is ready.
    """
    core = kubernetes.client.CoreV1Api(client)
    with kubernetes_errors(f"looking for Service {namespace}/{service}"):
        try:
            spec = core.read_namespaced_service(service, namespace).spec
        except kubernetes.client.ApiException as error:
            if error.status != 404:
                raise
            raise KubernetesError(f"There is no Service {namespace}/{service}: is it installed there?") from None
        if not spec.selector:
            raise KubernetesError(f"Service {namespace}/{service} selects no pods")
        selector = ",".join(f"{name}={value}" for name, value in spec.selector.items())
        pods = core.list_namespaced_pod(namespace, label_selector=selector).items
    for pod in pods:
        port = _port_of(pod, spec.ports[0])
        if port is not None and _is_ready(pod):
            return Target(pod.metadata.name, port)
    found = ", ".join(f"{pod.metadata.name} ({pod.status.phase})" for pod in pods) or "none"
    raise KubernetesError(f"No pod behind Service {namespace}/{service} is ready. There are: {found}")


class PortForward:
    """
    Listens on 127.0.0.1 and carries each connection to a pod of a Service; a context manager.

    Which pod is found out for each connection: when one is replaced, the next connection goes to its successor.

    :param client: Of the cluster, with its authority in a file: what carries connections reads it there.
    :param namespace: Of the Service.
    :param service: Its name.
    :param port: To listen on; 0 for any that is free.
    :raises OSError: The port is taken.
    """

    def __init__(self, client: Any, namespace: str, service: str, port: int = 0) -> None:
        self._client = client
        self._namespace = namespace
        self._service = service
        # The client's method is swapped for a moment while a connection is made.
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="port-forward", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._carry, args=(connection,), daemon=True).start()

    def _carry(self, here: socket.socket) -> None:
        self._open.add(here)
        try:
            with here:
                there = self._connect()
                back = threading.Thread(target=_copy, args=(there, here), daemon=True)
                back.start()
                _copy(here, there)
                back.join()
                there.close()
        except (KubernetesError, OSError) as error:
            log.warning("A connection was not carried: %s", error)
        finally:
            self._open.discard(here)

    def _connect(self) -> socket.socket:
        with self._lock:
            target = find_target(self._client, self._namespace, self._service)
            core = kubernetes.client.CoreV1Api(self._client)
            with kubernetes_errors(f"connecting to pod {self._namespace}/{target.pod}"):
                forward = portforward(
                    core.connect_get_namespaced_pod_portforward, target.pod, self._namespace, ports=str(target.port)
                )
        carried: socket.socket = forward.socket(target.port)
        carried.setblocking(True)
        return carried


def _copy(source: socket.socket, destination: socket.socket) -> None:
    """Copy until one of both ends, then end both."""
    try:
        while data := source.recv(_CHUNK):
            destination.sendall(data)
    except OSError as error:
        log.debug("A connection ended: %s", error)
    finally:
        for each in (source, destination):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


def _is_ready(pod: Any) -> bool:
    conditions = pod.status.conditions or ()
    return not pod.metadata.deletion_timestamp and any(
        each.type == "Ready" and each.status == "True" for each in conditions
    )


def _port_of(pod: Any, service_port: Any) -> int | None:
    """Return the number of the pod's port that a Service's port leads to."""
    wanted = service_port.target_port or service_port.port
    if isinstance(wanted, int) or str(wanted).isdigit():
        return int(wanted)
    named: Mapping[str, int] = {
        port.name: port.container_port
        for container in pod.spec.containers
        for port in container.ports or ()
        if port.name
    }
    return named.get(wanted)
