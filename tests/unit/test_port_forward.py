"""A port of this machine that leads into a cluster: which pod, and that bytes go both ways."""

from __future__ import annotations

import socket
import threading

import kubernetes.client
import pytest

from airflow_eks_dask.hooks.eks import KubernetesError
from airflow_eks_dask.hooks.port_forward import PortForward, Target, find_target
from tests.http_server import kubernetes_objects


def service(port, **selector):
    return {"spec": {"selector": selector, "ports": [port]}}


def pod(name, *, ready=True, **container_ports):
    ports = [{"name": each, "containerPort": number} for each, number in container_ports.items()]
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "ports": ports}]},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


@pytest.fixture
def api():
    with (
        kubernetes_objects() as (url, objects),
        kubernetes.client.ApiClient(kubernetes.client.Configuration(host=url)) as client,
    ):
        client.objects = objects
        yield client


def put(api, the_service, *pods):
    api.objects["/api/v1/namespaces/web/services/page"] = the_service
    api.objects["/api/v1/namespaces/web/pods"] = {"items": list(pods)}


@pytest.mark.parametrize(
    ("port", "number"),
    [({"port": 80, "targetPort": "http"}, 4466), ({"port": 80, "targetPort": 8000}, 8000), ({"port": 80}, 80)],
)
def test_the_port_of_a_ready_pod_is_found(api, port, number):
    put(api, service(port, app="page"), pod("old", ready=False, http=1), pod("new", http=4466))
    assert find_target(api, "web", "page") == Target("new", number)


def test_what_is_missing_is_told(api):
    with pytest.raises(KubernetesError, match="There is no Service web/page: is it installed there"):
        find_target(api, "web", "page")
    put(api, service({"port": 80}, app="page"), pod("starting", ready=False))
    with pytest.raises(KubernetesError, match=r"No pod behind Service web/page is ready. There are: starting \(Run"):
        find_target(api, "web", "page")
    put(api, {"spec": {"ports": [{"port": 80}]}})
    with pytest.raises(KubernetesError, match="selects no pods"):
        find_target(api, "web", "page")


@pytest.fixture
def there():
    """A server that answers each connection with what it got, in capitals, and then hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(connection.recv(100).upper())

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()
        listener.shutdown(socket.SHUT_RDWR)


def ask(port, words):
    with socket.create_connection(("127.0.0.1", port), timeout=30) as here:
        here.sendall(words)
        answer = b""
        while more := here.recv(100):
            answer += more
        return answer


def test_bytes_go_both_ways_and_connections_end(there, monkeypatch):
    monkeypatch.setattr(PortForward, "_connect", lambda self: socket.create_connection(there))
    with PortForward(None, "web", "page") as forward:
        assert [ask(forward.port, words) for words in (b"one", b"two")] == [b"ONE", b"TWO"]
        port = forward.port
    with pytest.raises(OSError):  # noqa: PT011 - refused, or reset
        ask(port, b"three")


def test_a_connection_that_cannot_be_carried_is_closed_and_the_next_one_served(there, monkeypatch, caplog):
    broken = [True]

    def connect(self):
        if broken.pop() if broken else False:
            raise KubernetesError("no pod is ready")
        return socket.create_connection(there)

    monkeypatch.setattr(PortForward, "_connect", connect)
    with PortForward(None, "web", "page") as forward:
        assert ask(forward.port, b"") == b""
        assert ask(forward.port, b"again") == b"AGAIN"
    assert "A connection was not carried: no pod is ready" in caplog.text


def test_a_port_that_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(OSError, match="in use"):
        PortForward(None, "web", "page", taken.getsockname()[1])
