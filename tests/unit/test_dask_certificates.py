"""Certificates of a Dask cluster in Secrets: made once, renewed, never taken from others."""

from __future__ import annotations

import base64
import json
import logging
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import ThreadingHTTPServer

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from airflow_eks_dask.certificates import CertificateError, names_of, subject_name
from airflow_eks_dask.hooks.eks import KubernetesError
from airflow_eks_dask.hooks.kubernetes import KubernetesCluster
from airflow_eks_dask.operators.dask_certificates import EnsureDaskCertificatesOperator
from airflow_eks_dask.resources.dask_certificates import DaskCertificates
from tests.http_server import json_handler, serving

pytestmark = pytest.mark.any_airflow

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
SECRETS = ["pipeline-authority", "pipeline-client-tls", "pipeline-scheduler-tls", "pipeline-worker-tls"]


class Kubernetes:
    """Keeps namespaces and Secrets as Kubernetes does: a Secret is replaced only by who knows its last version."""

    def __init__(self):
        self.namespaces = []
        self.secrets = {}
        self.requests = []
        self.before_write = None
        self._version = 0

    def store(self, body):
        self._version += 1
        metadata = body["metadata"] | {"resourceVersion": str(self._version), "namespace": "dask"}
        self.secrets[metadata["name"]] = {"apiVersion": "v1", "kind": "Secret", **body, "metadata": metadata}
        return self.secrets[metadata["name"]]

    def answer(self, method, path, body):
        self.requests.append(f"{method} {path}")
        if method != "GET" and "secrets" in path and self.before_write:
            interfere, self.before_write = self.before_write, None
            interfere()
        if path == "/api/v1/namespaces":
            if body["metadata"]["name"] in self.namespaces:
                return 409, {"message": "exists"}
            self.namespaces.append(body["metadata"]["name"])
            return 201, body
        if method == "POST":
            if body["metadata"]["name"] in self.secrets:
                return 409, {"message": "exists"}
            return 201, self.store(body)
        found = self.secrets.get(path.rpartition("/")[2])
        if found is None:
            return 404, {"message": "not found"}
        if method == "PUT":
            if body["metadata"].get("resourceVersion") != found["metadata"]["resourceVersion"]:
                return 409, {"message": "conflict"}
            return 200, self.store(body)
        return 200, found

    @contextmanager
    def serving(self):
        def answer(method, path, headers, sent):
            return self.answer(method, path.partition("?")[0], json.loads(sent or b"null"))

        with serving(ThreadingHTTPServer(("127.0.0.1", 0), json_handler(answer))) as port:
            yield f"http://127.0.0.1:{port}"

    def held(self, name):
        """What a Secret holds."""
        return {key: base64.b64decode(value) for key, value in self.secrets[name]["data"].items()}

    def certificate(self, role):
        return x509.load_pem_x509_certificate(self.held(f"pipeline-{role}-tls")["tls.crt"])


@pytest.fixture
def kubernetes():
    return Kubernetes()


@pytest.fixture
def kubeconfig(kubernetes, tmp_path):
    with kubernetes.serving() as url:
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        file = tmp_path / "kubeconfig"
        file.write_text(yaml.safe_dump(document))
        yield str(file)


@pytest.fixture
def ensure(kubeconfig):
    def ensure(now=NOW, hosts=("pipeline-scheduler",), owner="pipelines"):
        names = [subject_name(host) for host in hosts]
        wanted = DaskCertificates(namespace="dask", name="pipeline", owner=owner, hosts=names)
        with KubernetesCluster(kubeconfig=kubeconfig).client() as client:
            return wanted.ensure(client, now, logging.info)

    return ensure


def test_an_authority_signs_for_each_role(kubernetes, ensure):
    made = ensure()
    assert kubernetes.namespaces == ["dask"]
    assert sorted(kubernetes.secrets) == SECRETS
    assert made["changed"] == ["authority", "scheduler", "worker", "client"]
    assert made["secrets"]["client"] == "pipeline-client-tls"
    authority = x509.load_pem_x509_certificate(kubernetes.held("pipeline-authority")["ca.crt"])
    for role in ("scheduler", "worker", "client"):
        held = kubernetes.held(f"pipeline-{role}-tls")
        kubernetes.certificate(role).verify_directly_issued_by(authority)
        assert load_pem_private_key(held["tls.key"], None).public_key() == kubernetes.certificate(role).public_key()
        assert held["ca.crt"] == kubernetes.held("pipeline-authority")["ca.crt"]
        assert "ca.key" not in held
    assert [name.value for name in names_of(kubernetes.certificate("scheduler"))] == ["pipeline-scheduler"]
    assert all(
        each["metadata"]["labels"]["airflow-eks-dask/cluster"] == "pipelines" for each in kubernetes.secrets.values()
    )


def test_no_key_is_returned(ensure):
    assert "PRIVATE" not in json.dumps(ensure())


def test_the_second_time_nothing_is_made(kubernetes, ensure):
    first, before = ensure(), dict(kubernetes.secrets)
    second = ensure(NOW + timedelta(days=300))
    assert second == {**first, "changed": []}
    assert kubernetes.secrets == before


def test_what_ends_soon_is_made_anew_by_the_same_authority(kubernetes, ensure):
    first, authority = ensure(), kubernetes.held("pipeline-authority")
    second = ensure(NOW + timedelta(days=340))
    assert second["changed"] == ["scheduler", "worker", "client"]
    assert second["fingerprint"] != first["fingerprint"]
    assert kubernetes.held("pipeline-authority") == authority


def test_an_authority_that_ends_is_replaced_with_all_it_signed(ensure):
    ensure()
    assert ensure(NOW + timedelta(days=3640))["changed"] == ["authority", "scheduler", "worker", "client"]


def test_another_host_is_a_new_certificate_of_the_scheduler_alone(ensure):
    ensure()
    assert ensure(hosts=["pipeline-scheduler", "10.0.0.7"])["changed"] == ["scheduler"]


@pytest.mark.parametrize(
    ("key", "value"), [("tls.crt", b"nonsense"), ("tls.key", b"nonsense"), ("tls.key", None), ("tls.crt", None)]
)
def test_what_does_not_serve_is_made_anew(kubernetes, ensure, key, value):
    ensure()
    data = kubernetes.secrets["pipeline-worker-tls"]["data"]
    data.pop(key)
    if value is not None:
        data[key] = base64.b64encode(value).decode()
    assert ensure()["changed"] == ["worker"]
    assert ensure()["changed"] == []


def test_the_key_of_another_certificate_does_not_serve(kubernetes, ensure):
    ensure()
    data = kubernetes.secrets["pipeline-worker-tls"]["data"]
    data["tls.key"] = kubernetes.secrets["pipeline-client-tls"]["data"]["tls.key"]
    assert ensure()["changed"] == ["worker"]


@pytest.mark.parametrize("owner", [None, "another"])
def test_a_secret_of_others_is_left(kubernetes, ensure, owner):
    labels = {"airflow-eks-dask/cluster": owner} if owner else {}
    kubernetes.store({"metadata": {"name": "pipeline-worker-tls", "labels": labels}, "data": {}})
    with pytest.raises(CertificateError, match="Secret dask/pipeline-worker-tls exists, and it"):
        ensure()
    assert kubernetes.secrets["pipeline-worker-tls"]["data"] == {}


def test_who_is_faster_wins(kubernetes, ensure):
    kubernetes.before_write = ensure
    made = ensure()
    authority = x509.load_pem_x509_certificate(kubernetes.held("pipeline-authority")["ca.crt"])
    for role in made["secrets"]:
        kubernetes.certificate(role).verify_directly_issued_by(authority)
    assert "authority" not in made["changed"]


def test_a_refusal_is_told(kubernetes, ensure):
    kubernetes.answer = lambda *_: (403, {"message": "no"})
    with pytest.raises(KubernetesError, match="keeping certificates in namespace dask: Kubernetes answered 403"):
        ensure()


def test_the_operator_makes_them(kubernetes, kubeconfig):
    operator = EnsureDaskCertificatesOperator(
        task_id="certificates", namespace="dask", name="pipeline", cluster_name="pipelines", kubeconfig=kubeconfig
    )
    assert operator.execute({})["changed"] == ["authority", "scheduler", "worker", "client"]
    assert sorted(kubernetes.secrets) == SECRETS


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cluster_name": None}, "can be no label"),
        ({"cluster_name": "not a label"}, "can be no label"),
        ({"hosts": ["1.2.3"]}, "neither a host name nor"),
    ],
)
def test_bad_parameters_are_refused(kubernetes, kubeconfig, changes, words):
    fixed = {"namespace": "dask", "name": "pipeline", "cluster_name": "pipelines"}
    given = {**fixed, "kubeconfig": kubeconfig, **changes}
    with pytest.raises(ValueError, match=words):
        EnsureDaskCertificatesOperator(task_id="certificates", **given).execute({})
    assert kubernetes.requests == []
