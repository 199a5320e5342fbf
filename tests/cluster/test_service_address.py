"""The address of a Service in a real cluster: each step hangs until it is so, and says why."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from datetime import datetime, timezone

import pytest
from airflow.sdk.exceptions import AirflowSensorTimeout, TaskDeferred
from kubernetes import client, config

from airflow_eks_dask import certificates
from airflow_eks_dask.resources.service_address import ServiceAddressError
from airflow_eks_dask.sensors.service_address import ServiceAddressSensor
from airflow_eks_dask.triggers.service_address import ServiceAddressTrigger
from tests.conftest import PATIENCE
from tests.http_server import tls_context

pytestmark = pytest.mark.any_airflow

PORT = 8786
NAME = "dask"


@pytest.fixture
def core(kubernetes):
    with config.new_client_from_config(str(kubernetes)) as api:
        yield client.CoreV1Api(api)


@pytest.fixture
def host():
    """An address of this machine that the cluster reaches."""
    return os.environ.get("KUBE_HOST_IP") or pytest.skip("KUBE_HOST_IP names no address that pods reach")


@pytest.fixture
def sensor(kubernetes, namespace):
    def sensor(**changes):
        fields = {"poke_interval": 0.2, "timeout": PATIENCE, "deferrable": False, **changes}
        return ServiceAddressSensor(
            task_id="address", kubeconfig=str(kubernetes), namespace=namespace, service=NAME, **fields
        )

    return sensor


@contextmanager
def dask(host, directory):
    """A server that shows a certificate and wants to see one, as a Dask scheduler does; its port."""
    authority = certificates.make_authority(datetime.now(timezone.utc))
    context = tls_context(directory, authority)
    context.load_verify_locations(directory / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server((host, 0)) as listener:

        def serve():
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError), context.wrap_socket(connection, server_side=True) as session:
                        session.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


def make_service(core, namespace, **spec):
    """A Service; without a selector, it leads where its Endpoints say."""
    body = {"metadata": {"name": NAME}, "spec": {"type": "LoadBalancer", "ports": [{"port": PORT}], **spec}}
    return core.create_namespaced_service(namespace, body)


def lead_to(core, namespace, host, port):
    subsets = [{"addresses": [{"ip": host}], "ports": [{"port": port}]}]
    core.create_namespaced_endpoints(namespace, {"metadata": {"name": NAME}, "subsets": subsets})


def tell(core, namespace, service, reason, message):
    """What the part of a cluster says that makes load balancers."""
    now = datetime.now(timezone.utc).isoformat()
    about = {"kind": "Service", "name": NAME, "namespace": namespace, "uid": service.metadata.uid}
    body = {
        "metadata": {"name": f"{NAME}.{reason.lower()}"},
        "involvedObject": about,
        "reason": reason,
        "message": message,
        "type": "Warning",
        "firstTimestamp": now,
        "lastTimestamp": now,
        "source": {"component": "service-controller"},
    }
    core.create_namespaced_event(namespace, body)


def address_of(core, namespace, scheme):
    (ingress,) = core.read_namespaced_service(NAME, namespace).status.load_balancer.ingress
    return f"{scheme}://{ingress.ip}:{PORT}"


def test_one_step_after_the_other(core, sensor, namespace, host, tmp_path):
    with dask(host, tmp_path / "tls") as port, dask(host, tmp_path / "others") as _:
        material = {"tls_ca": str(tmp_path / "tls" / "ca.pem")}
        with pytest.raises(AirflowSensorTimeout, match=r"hung is Service: it is not there\. Is it installed"):
            sensor(timeout=0, **material).execute({})
        service = make_service(core, namespace)
        tell(core, namespace, service, "SyncLoadBalancerFailed", "no subnets")
        words = (
            r"hung is TCP: no connection to \d+\.\d+\.\d+\.\d+ port 8786.*Kubernetes says: SyncLoadBalancerFailed: no"
        )
        with pytest.raises(AirflowSensorTimeout, match=words):
            sensor(timeout=1, **material).execute({})
        lead_to(core, namespace, host, port)
        assert sensor(**material).execute({}) == address_of(core, namespace, "tls")
        assert sensor().execute({}) == address_of(core, namespace, "tcp")
        others = {"tls_ca": str(tmp_path / "others" / "ca.pem")}
        with pytest.raises(AirflowSensorTimeout, match="hung is TLS: the server's certificate does not count"):
            sensor(timeout=1, **others).execute({})


def test_deferred_it_waits_with_what_the_trigger_was_stored_as(core, sensor, namespace, host, tmp_path):
    secret = f"{namespace}/dask-tls"
    with pytest.raises(TaskDeferred) as deferred:
        sensor(deferrable=True, tls_secret=secret).execute({})
    path, arguments = deferred.value.trigger.serialize()
    assert path.rpartition(".")[2] == ServiceAddressTrigger.__name__

    async def wait():
        trigger = ServiceAddressTrigger(**json.loads(json.dumps(arguments)))
        waiting = asyncio.ensure_future(anext(trigger.run()))
        await asyncio.wait([waiting], timeout=1)
        assert not waiting.done()
        await asyncio.to_thread(make)
        return (await waiting).payload

    with dask(host, tmp_path / "tls") as port:

        def make():
            make_service(core, namespace)
            lead_to(core, namespace, host, port)
            held = {"ca.crt": (tmp_path / "tls" / "ca.pem").read_text()}
            core.create_namespaced_secret(namespace, {"metadata": {"name": "dask-tls"}, "stringData": held})

        event = asyncio.run(wait())
    assert event == {"address": address_of(core, namespace, "tls")}
    assert sensor(deferrable=True, tls_secret=secret).resume({}, event) == event["address"]


def test_pods_that_are_not_ready_are_told(core, sensor, namespace):
    make_service(core, namespace, selector={"app": NAME})
    container = {"name": "dask", "image": "registry.invalid/dask:1"}
    pod = {"metadata": {"name": "unwanted", "labels": {"app": NAME}}, "spec": {"containers": [container]}}
    pod["spec"]["nodeSelector"] = {"there-is": "none"}
    core.create_namespaced_pod(namespace, pod)
    with pytest.raises(AirflowSensorTimeout, match=r"hung is TCP: .*pod unwanted: not scheduled: 0/1 nodes"):
        sensor(timeout=2).execute({})


def test_other_types(core, sensor, namespace):
    make_service(core, namespace, type="NodePort")
    with pytest.raises(ServiceAddressError, match="is of type NodePort, which has no lasting address"):
        sensor().execute({})
    core.patch_namespaced_service(
        NAME, namespace, {"spec": {"type": "ClusterIP", "ports": [{"port": PORT, "nodePort": None}]}}
    )
    # This machine is not in the cluster.
    with pytest.raises(AirflowSensorTimeout, match=rf"hung is DNS: {NAME}\.{namespace}\.svc has no IP address"):
        sensor(timeout=0).execute({})


def test_who_may_not_look_is_told_at_once(kubernetes, namespace, core, tmp_path):
    import yaml

    from airflow_eks_dask.hooks.eks import KubernetesError
    from airflow_eks_dask.hooks.service_account import request_token

    make_service(core, namespace)
    token = request_token(core.api_client, namespace, "default", seconds=600)
    document = yaml.safe_load(kubernetes.read_text())
    document["users"] = [{"name": document["users"][0]["name"], "user": {"token": token.value}}]
    weak = tmp_path / "kubeconfig"
    weak.write_text(yaml.safe_dump(document))
    sensor = ServiceAddressSensor(
        task_id="address", kubeconfig=str(weak), namespace=namespace, service=NAME, deferrable=False
    )
    with pytest.raises(KubernetesError, match=f"looking at Service {namespace}/{NAME}: Kubernetes answered 403"):
        sensor.execute({})
