"""Cluster services in a real cluster: charts from a repository, the administrators' account, TLS from a Secret."""

from __future__ import annotations

import base64
import ssl
import time
from types import SimpleNamespace

import httpx
import pytest
import yaml
from kubernetes import client, config

from airflow_eks_dask.helm.errors import HelmError
from airflow_eks_dask.hooks.dask_check import DaskClusterError
from airflow_eks_dask.hooks.eks import KubernetesError
from airflow_eks_dask.hooks.service_account import request_token
from airflow_eks_dask.operators.cluster_services import (
    DeleteClusterServiceOperator,
    DeleteEksAdminOperator,
    EnsureClusterServiceOperator,
    EnsureEksAdminOperator,
)
from airflow_eks_dask.operators.dask_endpoint import VerifyDaskEndpointOperator
from airflow_eks_dask.services import SERVICES
from tests.cluster import chart_servers
from tests.cluster.conftest import kubectl
from tests.integration.test_tls import make_certificates

pytestmark = pytest.mark.any_airflow

CONTEXT = {"ti": SimpleNamespace(dag_id="tests", run_id="run", task_id="task", map_index=-1)}


@pytest.fixture(scope="module")
def repository(kubernetes, tmp_path_factory):
    with chart_servers.services(tmp_path_factory.mktemp("charts")) as address:
        yield address


@pytest.fixture
def api(kubernetes):
    with config.new_client_from_config(str(kubernetes)) as made:
        yield made


@pytest.fixture
def ensure(kubernetes, namespace, repository):
    def ensure(service, **changes):
        parameters = {"kubeconfig": str(kubernetes), "namespace": namespace, "repository": repository, **changes}
        return EnsureClusterServiceOperator(task_id="s", service=service, **parameters).execute(CONTEXT)

    return ensure


def shown(api, namespace, name):
    found = client.CoreV1Api(api).read_namespaced_config_map(name, namespace)
    return yaml.safe_load(found.data["values"])


@pytest.mark.parametrize("service", SERVICES)
def test_the_chosen_chart_is_installed_with_the_chosen_values_and_removed(api, kubernetes, namespace, ensure, service):
    chosen = SERVICES[service]
    made = ensure(service)
    assert made["release"] == chosen.name
    assert made["chart"] == f"{chosen.chart}-{chosen.version}"
    assert made["changed"]
    assert (shown(api, namespace, chosen.name) or {}) == chosen.values
    assert not ensure(service)["changed"]
    delete = DeleteClusterServiceOperator(task_id="d", service=service, kubeconfig=str(kubernetes), namespace=namespace)
    delete.execute(CONTEXT)
    left = client.CoreV1Api(api).list_namespaced_config_map(namespace).items
    assert chosen.name not in [each.metadata.name for each in left]
    delete.execute(CONTEXT)


def test_a_value_of_ones_own_goes_before_the_chosen_one(api, namespace, ensure):
    ensure("prometheus", values={"server": {"retention": "30d"}})
    values = shown(api, namespace, "prometheus")
    assert values["server"]["retention"] == "30d"
    assert values["server"]["persistentVolume"] == SERVICES["prometheus"].values["server"]["persistentVolume"]


def test_a_version_that_the_repository_does_not_have(ensure):
    with pytest.raises(HelmError, match=r"9\.9\.9"):
        ensure("headlamp", version="9.9.9")


def test_on_eks_metrics_server_is_an_add_on():
    task = EnsureClusterServiceOperator(task_id="m", service="metrics-server", eks_cluster_name="pipelines")
    with pytest.raises(HelmError, match="EnsureAddonOperator"):
        task.execute(CONTEXT)


def test_there_are_only_these():
    with pytest.raises(ValueError, match="'grafana'; there are headlamp, metrics-server, prometheus"):
        EnsureClusterServiceOperator(task_id="g", service="grafana")


def test_the_administrators_account_has_tokens_for_an_hour_and_may_do_all(api, kubernetes):
    cluster = {"kubeconfig": str(kubernetes), "cluster_name": "tests"}
    made = EnsureEksAdminOperator(task_id="e", **cluster).execute(CONTEXT)
    assert [each["action"] for each in made] == ["create", "create"]
    try:
        token = request_token(api, "kube-system", "eks-admin")
        ca = api.configuration.ssl_ca_cert
        with httpx.Client(
            base_url=api.configuration.host,
            verify=ssl.create_default_context(cafile=ca),
            headers={"Authorization": f"Bearer {token.value}"},
            trust_env=False,
        ) as http:
            answer = http.get("/api/v1/namespaces/kube-system/secrets")
            answer.raise_for_status()
        lifetime = token.expires.timestamp() - time.time()
        assert 3300 < lifetime < 3700
        again = EnsureEksAdminOperator(task_id="e", **cluster).execute(CONTEXT)
        assert [each["action"] for each in again] == ["unchanged", "unchanged"]
    finally:
        gone = DeleteEksAdminOperator(task_id="d", **cluster).execute(CONTEXT)
    assert [each["action"] for each in gone] == ["delete", "delete"]
    left = kubectl("get", "clusterrolebinding,serviceaccount", "--all-namespaces", "--output", "name")
    assert "eks-admin" not in left


def test_an_account_that_is_not_there_is_told(api):
    with pytest.raises(KubernetesError, match=r"asking for a token of ServiceAccount kube-system/nobody.*404"):
        request_token(api, "kube-system", "nobody")


class TestTlsFromASecret:
    """Where the operators about a Dask scheduler get their TLS material."""

    @pytest.fixture
    def put(self, api, namespace, tmp_path):
        tls = make_certificates(tmp_path / "tls")
        files = {"ca.crt": "ca.pem", "tls.crt": "client.pem", "tls.key": "client-key.pem"}
        texts = {key: (tls / file).read_text() for key, file in files.items()}

        def put(*left_out, **changes):
            data = {key: text for key, text in (texts | changes).items() if key not in left_out}
            encoded = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
            body = {"metadata": {"name": "dask-tls"}, "data": encoded}
            client.CoreV1Api(api).create_namespaced_secret(namespace, body)
            return texts

        return put

    @pytest.fixture
    def operator(self, kubernetes, namespace):
        return VerifyDaskEndpointOperator(
            task_id="v",
            address="tls://dask.example.com:8786",
            tls_secret=f"{namespace}/dask-tls",
            kubeconfig=str(kubernetes),
        )

    def test_it_is_read(self, put, operator):
        texts = put()
        assert operator.problems() == []
        endpoint = operator.read_endpoint()
        assert [endpoint.tls_ca, endpoint.tls_cert, endpoint.tls_key] == list(texts.values())

    def test_what_it_lacks_is_told(self, put, operator, namespace):
        put("tls.key")
        with pytest.raises(KubernetesError, match=rf"Secret {namespace}/dask-tls has no tls\.key"):
            operator.read_endpoint()

    def test_what_is_no_certificate_is_told(self, put, operator):
        put(**{"ca.crt": "nonsense"})
        with pytest.raises(DaskClusterError, match=r"ca\.crt of Secret"):
            operator.read_endpoint()

    def test_a_secret_that_is_not_there(self, operator, namespace):
        with pytest.raises(KubernetesError, match=rf"reading Secret {namespace}/dask-tls: Kubernetes answered 404"):
            operator.read_endpoint()
