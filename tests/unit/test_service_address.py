"""The wait for a Service's address: each step it may hang at, in the task and in the triggerer."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import socket
import time
from datetime import datetime, timezone

import pytest
import yaml
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException, TaskDeferred

from airflow_eks_dask import certificates
from airflow_eks_dask.hooks.eks import KubernetesError
from airflow_eks_dask.hooks.kubernetes import KubernetesCluster
from airflow_eks_dask.operators.dask_endpoint import PublishDaskEndpointOperator, VerifyDaskEndpointOperator
from airflow_eks_dask.resources import service_address
from airflow_eks_dask.resources.service_address import (
    ServiceAddress,
    ServiceAddressError,
    ServiceAddressWatch,
    Step,
)
from airflow_eks_dask.sensors.service_address import ServiceAddressSensor
from tests.http_server import execution_api, kubernetes_objects, tls_context
from tests.triggers import run_trigger

pytestmark = pytest.mark.any_airflow

NAMESPACE = "/api/v1/namespaces/pipelines"
SERVICE = f"{NAMESPACE}/services/scheduler"


class Cluster:
    """A Kubernetes API with one Service, which a test changes as it goes."""

    def __init__(self, kubeconfig, objects):
        self.kubeconfig = str(kubeconfig)
        self.objects = objects
        objects[f"{NAMESPACE}/events"] = {"items": []}

    def put(self, *ingress, port=8786, name="tcp-dask", type_="LoadBalancer", more_ports=()):
        self.objects[SERVICE] = {
            "metadata": {"name": "scheduler", "namespace": "pipelines", "uid": "u-1"},
            "spec": {"type": type_, "selector": {"app": "dask"}, "ports": [{"port": port, "name": name}, *more_ports]},
            "status": {"loadBalancer": {"ingress": list(ingress)}},
        }
        self.objects[f"{NAMESPACE}/pods"] = {"items": []}

    def tell(self, reason, message, minute):
        time_ = f"2026-01-01T00:{minute:02}:00Z"
        about = {"kind": "Service", "name": "scheduler"}
        event = {"reason": reason, "message": message, "lastTimestamp": time_, "involvedObject": about}
        self.objects[f"{NAMESPACE}/events"]["items"].append(event | {"metadata": {"name": reason}})

    def secret(self, name, **data):
        encoded = {key.replace("_", "."): base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self.objects[f"{NAMESPACE}/secrets/{name}"] = {"metadata": {"name": name}, "data": encoded}

    def wanted(self, **changes):
        fields = {"namespace": "pipelines", "service": "scheduler", **changes}
        return ServiceAddress(cluster=KubernetesCluster(kubeconfig=self.kubeconfig), **fields)

    def sensor(self, **changes):
        fields = {"namespace": "pipelines", "service": "scheduler", "poke_interval": 0.01, "timeout": 30, **changes}
        return ServiceAddressSensor(task_id="address", kubeconfig=self.kubeconfig, **fields)


@pytest.fixture
def cluster(tmp_path):
    with kubernetes_objects() as (url, objects):
        file = tmp_path / "kubeconfig"
        named = {"name": "c"}
        content = {
            "clusters": [{**named, "cluster": {"server": url}}],
            "users": [{**named, "user": {}}],
            "contexts": [{**named, "context": {"cluster": "c", "user": "c"}}],
            "current-context": "c",
        }
        file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **content}))
        yield Cluster(file, objects)


@pytest.fixture
def listener():
    """A port where somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


@pytest.fixture
def tls(tmp_path):
    """A server with TLS: its port, and the certificate of its authority."""
    authority = certificates.make_authority(datetime.now(timezone.utc))
    with execution_api(tls_context(tmp_path / "tls", authority)) as url:
        yield int(url.split(":")[2].split("/")[0]), tmp_path / "tls" / "ca.pem"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


@pytest.fixture
def look(cluster, caplog):
    caplog.set_level(logging.INFO)
    made = []

    def look(**changes):
        made.append(ServiceAddressWatch(cluster.wanted(**changes), logging.getLogger("watch")))
        return made[-1].look()

    yield look
    for each in made:
        each.close()


class TestSteps:
    def test_no_service(self, look):
        looked = look()
        assert (looked.step, looked.reason, looked.events) == (Step.SERVICE, "it is not there", ())

    def test_no_address_and_why(self, look, cluster):
        cluster.put()
        cluster.tell("SyncLoadBalancerFailed", "could not find any suitable\n  subnets", minute=2)
        cluster.tell("EnsuringLoadBalancer", "Ensuring load balancer", minute=1)
        looked = look()
        assert (looked.step, looked.reason) == (Step.ADDRESS, "its load balancer has no address yet")
        assert looked.events == (
            "EnsuringLoadBalancer: Ensuring load balancer",
            "SyncLoadBalancerFailed: could not find any suitable subnets",
        )

    def test_events_that_may_not_be_read_are_no_failure(self, look, cluster):
        cluster.put()
        cluster.objects[f"{NAMESPACE}/events"] = 403
        assert look().events == ("its events can't be read: 403 Forbidden",)

    def test_no_such_name(self, look, cluster):
        cluster.put({"hostname": "nowhere.invalid"})
        looked = look()
        assert looked.step is Step.DNS
        assert looked.reason.startswith("nowhere.invalid has no IP address: ")

    def test_the_name_of_a_cluster_ip_is_that_in_the_cluster(self, look, cluster):
        cluster.put(type_="ClusterIP")
        looked = look()
        assert (looked.step, looked.reason.split(" has no")[0]) == (Step.DNS, "scheduler.pipelines.svc")

    def test_nobody_listens_and_why(self, look, cluster):
        port = free_port()
        cluster.put({"ip": "127.0.0.1"}, port=port)
        refused = f"no connection to 127.0.0.1 port {port}: Connection refused"
        looked = look()
        assert (looked.step, looked.reason) == (Step.TCP, f"{refused}; there is no pod behind it")
        waits = {"name": "scheduler", "ready": False, "state": {"waiting": {"reason": "ImagePullBackOff"}}}
        waits |= {"image": "i", "imageID": "", "restartCount": 0}
        pod = {"metadata": {"name": "dask-1"}, "status": {"containerStatuses": [waits]}}
        cluster.objects[f"{NAMESPACE}/pods"] = {"items": [pod]}
        assert look().reason == f"{refused}; pod dask-1: container scheduler waits: ImagePullBackOff"
        cluster.objects[f"{NAMESPACE}/pods"] = 403
        assert look().reason.startswith(f"{refused}; looking at the pods of Service scheduler: Kubernetes answered 403")

    def test_a_connection(self, look, cluster, listener, caplog):
        cluster.put({}, {"ip": "127.0.0.1"}, port=listener)
        assert look().address == f"tcp://127.0.0.1:{listener}"
        told = [record.getMessage() for record in caplog.records if record.name == "watch"]
        assert told == [
            f"Service pipelines/scheduler: address: LoadBalancer, at 127.0.0.1 port {listener}",
            "Service pipelines/scheduler: DNS: 127.0.0.1 is 127.0.0.1",
            f"Service pipelines/scheduler: TCP: connected to 127.0.0.1 port {listener}",
        ]

    def test_brackets_around_ipv6(self, look, cluster):
        try:
            listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
        except OSError:
            pytest.skip("this machine has no IPv6")
        with listening:
            cluster.put({"ip": "::1"}, port=listening.getsockname()[1])
            assert look().address == f"tcp://[::1]:{listening.getsockname()[1]}"

    def test_no_tls(self, look, cluster, monkeypatch):
        with execution_api() as url:
            port = int(url.split(":")[2].split("/")[0])
            cluster.put({"ip": "127.0.0.1"}, port=port)
            looked = look(tls=True)
        assert looked.step is Step.TLS
        assert looked.reason.startswith("no TLS handshake with 127.0.0.1: ")

    def test_tls_with_the_authority_of_a_file_or_a_secret(self, look, cluster, tls):
        port, authority = tls
        cluster.put({"ip": "127.0.0.1"}, port=port)
        expected = f"tls://127.0.0.1:{port}"
        assert look(tls=True, authority=authority.read_text()).address == expected
        assert look(tls=True).step is Step.TLS
        missing = look(tls=True, tls_secret="pipelines/tls")
        assert missing.step is Step.TLS
        assert missing.reason.startswith("reading Secret pipelines/tls: Kubernetes answered 404")
        cluster.secret("tls", tls_crt="no")
        assert look(tls=True, tls_secret="pipelines/tls").reason.startswith("Secret pipelines/tls has no ca.crt")
        cluster.secret("tls", ca_crt="no")
        assert look(tls=True, tls_secret="pipelines/tls").reason.startswith("ca.crt of Secret pipelines/tls: ")
        cluster.secret("tls", ca_crt=authority.read_text())
        assert look(tls=True, tls_secret="pipelines/tls").address == expected


class TestWhatWillNeverBe:
    @pytest.mark.parametrize("type_", ["NodePort", "ExternalName"])
    def test_a_type_without_an_address(self, look, cluster, type_):
        cluster.put(type_=type_)
        with pytest.raises(ServiceAddressError, match=f"is of type {type_}.*Make it a LoadBalancer"):
            look()

    @pytest.mark.parametrize(
        ("port", "words"), [("http", "no port 'http'"), (1, "no port 1"), (None, "no single port")]
    )
    def test_a_port_it_has_not(self, look, cluster, port, words):
        cluster.put({"ip": "127.0.0.1"}, more_ports=[{"port": 80}])
        with pytest.raises(ServiceAddressError, match=rf"has {words}.*It has: tcp-dask 8786, without a name 80"):
            look(port=port)

    def test_by_name_or_number(self, look, cluster, listener):
        cluster.put({"ip": "127.0.0.1"}, port=listener, more_ports=[{"port": 80, "name": "http"}])
        for port in ("tcp-dask", listener):
            assert look(port=port).address == f"tcp://127.0.0.1:{listener}"


class TestAnApiThatFails:
    def test_refusals_are_told_at_once(self, look, cluster):
        cluster.objects[SERVICE] = 403
        with pytest.raises(KubernetesError, match="looking at Service pipelines/scheduler: Kubernetes answered 403"):
            look()

    def test_what_passes_is_waited_for_but_not_for_ever(self, cluster, listener):
        cluster.put({"ip": "127.0.0.1"}, port=listener)
        good = cluster.objects[SERVICE]
        with ServiceAddressWatch(cluster.wanted(), logging.getLogger("watch")) as watch:
            cluster.objects[SERVICE] = 503
            for _ in range(service_address._MOST_FAILURES):
                assert "will ask again: 503 Service Unavailable" in watch.look().reason
            cluster.objects[SERVICE] = good
            assert watch.look().address
            cluster.objects[SERVICE] = 503
            for _ in range(service_address._MOST_FAILURES):
                watch.look()
            with pytest.raises(KubernetesError, match="503"):
                watch.look()


class TestSensor:
    def test_what_it_returns_is_taken_by_the_next_task(self, cluster, tls):
        port, authority = tls
        cluster.put({"ip": "127.0.0.1"}, port=port)
        address = cluster.sensor(tls_ca=str(authority), deferrable=False).execute({})
        assert address == f"tls://127.0.0.1:{port}"
        pulled = "{{ ti.xcom_pull('address') }}"
        material = {"tls_secret": "pipelines/dask-client-tls"}
        for operator, further in (
            (VerifyDaskEndpointOperator, {}),
            (PublishDaskEndpointOperator, {"cluster_name": "c"}),
        ):
            with DAG("d", schedule=None):
                task = operator(task_id="t", address=pulled, **material, **further)
            task.render_template_fields({"ti": type("Ti", (), {"xcom_pull": lambda self, task_id: address})()})
            assert task.address == address
            assert task.problems() == []

    def test_it_waits_until_all_is_so(self, cluster, listener, monkeypatch):
        looks = []

        def sleep(seconds):
            looks.append(seconds)
            cluster.put(*([{"ip": "127.0.0.1"}] if len(looks) > 1 else []), port=listener)

        monkeypatch.setattr(time, "sleep", sleep)
        assert cluster.sensor(deferrable=False).execute({}) == f"tcp://127.0.0.1:{listener}"
        assert looks == [0.01, 0.01]

    def test_time_is_up(self, cluster):
        cluster.put()
        cluster.tell("SyncLoadBalancerFailed", "no subnets", minute=1)
        words = (
            r"Service pipelines/scheduler was not reached in time. The step that hung is address: its load balancer "
            r"has no address yet. Kubernetes says: SyncLoadBalancerFailed: no subnets. .*cloud-provider-kind"
        )
        with pytest.raises(AirflowSensorTimeout, match=words):
            cluster.sensor(deferrable=False, timeout=0).execute({})
        with pytest.raises(AirflowSkipException, match=words):
            cluster.sensor(deferrable=False, timeout=0, soft_fail=True).execute({})

    def test_an_error_that_is_to_be_a_skip_is_none_of_time(self, cluster):
        cluster.put(type_="NodePort")
        with pytest.raises(AirflowSkipException, match="never_fail"):
            cluster.sensor(deferrable=False, never_fail=True).execute({})

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"namespace": "", "service": ""}, "namespace is empty; service is empty"),
            ({"port": "70000"}, "port = '70000'"),
            ({"tls_ca": "/nowhere"}, "tls_ca = '/nowhere': No such file"),
            ({"tls_ca": __file__}, "holds no certificate"),
            ({"tls_secret": "tls"}, "tls_secret = 'tls': must look like namespace/name"),
            ({"tls_ca": __file__, "tls_secret": "a/b"}, "choose one"),
            ({"eks_cluster_name": "pipelines"}, "eks_cluster_name and kubeconfig are given"),
        ],
    )
    def test_what_makes_no_sense(self, cluster, changes, words):
        with pytest.raises(ValueError, match=words):
            cluster.sensor(**changes).execute({})

    def test_templates(self, cluster):
        params = {"port": 8786, "tls": False, "service": "scheduler"}
        for native in (True, False):
            with DAG("d", schedule=None, render_template_as_native_obj=native) as dag:
                sensor = cluster.sensor(
                    service="{{ params.service }}", port="{{ params.port }}", tls="{{ params.tls }}"
                )
            sensor.render_template_fields({"params": params}, dag.get_template_env())
            assert (sensor.wanted.service, sensor.wanted.port, sensor.wanted.tls) == ("scheduler", 8786, False)


def fired(trigger):
    """Return its event, as the triggerer gets it."""
    assert trigger.serialize()[0] == "airflow_eks_dask.triggers.service_address.ServiceAddressTrigger"
    return run_trigger(trigger)


class TestDeferred:
    def defer(self, cluster, **changes):
        with pytest.raises(TaskDeferred) as deferred:
            cluster.sensor(deferrable=True, **changes).execute({})
        assert deferred.value.method_name == "resume"
        return deferred.value.trigger

    def test_what_is_there_needs_no_wait(self, cluster, listener):
        cluster.put({"ip": "127.0.0.1"}, port=listener)
        assert cluster.sensor(deferrable=True).execute({}) == f"tcp://127.0.0.1:{listener}"

    def test_the_address_comes_from_the_trigger(self, cluster, tls):
        port, authority = tls
        key = (authority.parent / "server-key.pem").read_text()
        both = authority.parent / "both.pem"
        both.write_text(key + authority.read_text())
        trigger = self.defer(cluster, tls_ca=str(both))
        assert "PRIVATE KEY" not in json.dumps(trigger.serialize())
        cluster.put({"ip": "127.0.0.1"}, port=port)
        event = fired(trigger)
        assert event == {"address": f"tls://127.0.0.1:{port}"}
        assert cluster.sensor(deferrable=True).resume({}, event) == event["address"]

    def test_the_trigger_waits(self, cluster, listener):
        trigger = self.defer(cluster)

        async def run():
            waiting = asyncio.ensure_future(anext(trigger.run()))
            await asyncio.wait([waiting], timeout=0.2)
            assert not waiting.done()
            cluster.put({"ip": "127.0.0.1"}, port=listener)
            return await waiting

        assert asyncio.run(run()).payload == {"address": f"tcp://127.0.0.1:{listener}"}

    def test_time_is_up(self, cluster):
        event = fired(self.defer(cluster, timeout=0))
        sensor = cluster.sensor(deferrable=True)
        with pytest.raises(
            AirflowSensorTimeout, match=r"The step that hung is Service: it is not there. Is it installed"
        ):
            sensor.resume({}, event)
        with pytest.raises(AirflowSkipException):
            cluster.sensor(deferrable=True, soft_fail=True).resume_execution("resume", {"event": event}, {})

    def test_what_will_never_be(self, cluster):
        trigger = self.defer(cluster)
        cluster.put(type_="NodePort")
        with pytest.raises(ServiceAddressError, match="NodePort"):
            cluster.sensor().resume({}, fired(trigger))
        cluster.objects[SERVICE] = 401
        assert "401" in fired(trigger)["error"]
