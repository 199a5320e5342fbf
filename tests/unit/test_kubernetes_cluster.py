"""Which Kubernetes cluster, and the kubeconfig that programs get for it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from datetime import datetime, timezone

import pytest
import yaml
from kubernetes.client import VersionApi

from airflow_eks_dask.hooks import kubernetes
from airflow_eks_dask.hooks.credential_plugin import CredentialServer
from airflow_eks_dask.hooks.eks_token import EksToken
from airflow_eks_dask.hooks.kubernetes import KubernetesCluster
from tests.kubernetes_api import KubernetesApi

pytestmark = pytest.mark.any_airflow


def kubeconfig(*names, current=None, **cluster):
    """A kubeconfig with a cluster, a user and a context of each name."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}", **cluster}} for name in names],
        "users": [{"name": name, "user": {"token": f"token of {name}"}} for name in names],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}} for name in names],
        "current-context": current or names[0],
    }


@pytest.fixture
def write(tmp_path):
    def write(name, content):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return str(file)

    return write


def given(cluster):
    """What a program finds in its kubeconfig."""
    with cluster.kubeconfig_file() as file:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        document = yaml.safe_load(file.read_text())
    assert not file.parent.exists()
    return document


class TestProblems:
    def test_all_at_once(self, write):
        cluster = KubernetesCluster(
            eks_cluster_name="no name", kubernetes_conn_id="kubernetes", kubeconfig="/nowhere", cluster_context="x"
        )
        found = "\n".join(cluster.problems())
        assert "eks_cluster_name and kubernetes_conn_id and kubeconfig are given" in found
        assert "no name" in found
        assert "cluster_context goes with a kubeconfig" in found
        assert "/nowhere: there is no such file" in found

    def test_none(self, write):
        file = write("config", kubeconfig("a"))
        for cluster in (
            KubernetesCluster(),
            KubernetesCluster(eks_cluster_name="pipelines"),
            KubernetesCluster(kubernetes_conn_id="kubernetes", cluster_context="a"),
            KubernetesCluster(kubeconfig=file, cluster_context="a"),
        ):
            assert cluster.problems() == []
            assert KubernetesCluster.from_json(json.loads(json.dumps(cluster.to_json()))) == cluster


class TestClient:
    def test_of_a_file(self, write):
        file = write("config", kubeconfig("a", "b"))
        with KubernetesCluster(kubeconfig=file, cluster_context="b").client() as client:
            assert client.configuration.host == "https://b"

    def test_no_such_file_or_context(self, write):
        file = write("config", kubeconfig("a"))
        for cluster, words in (
            (KubernetesCluster(kubeconfig=file, cluster_context="b"), "b"),
            (KubernetesCluster(kubeconfig=f"{file}-none"), "No configuration found"),
        ):
            with pytest.raises(ValueError, match=f"No Kubernetes cluster is known: .*{words}"):
                cluster.client()


class TestOfAFile:
    def test_paths_in_it_keep_their_meaning(self, write, tmp_path):
        file = write("folder/config", kubeconfig("a", **{"certificate-authority": "ca.pem"}))
        (cluster,) = given(KubernetesCluster(kubeconfig=file))["clusters"]
        assert cluster["cluster"]["certificate-authority"] == str(tmp_path / "folder" / "ca.pem")

    def test_a_context_is_chosen(self, write):
        file = write("config", kubeconfig("a", "b"))
        assert given(KubernetesCluster(kubeconfig=file))["current-context"] == "a"
        assert given(KubernetesCluster(kubeconfig=file, cluster_context="b"))["current-context"] == "b"

    @pytest.mark.parametrize(
        ("content", "context", "words"),
        [
            (kubeconfig("a", "b"), "c", "no context 'c' in the kubeconfig, but a, b"),
            ("a: [", None, "is not valid YAML"),
            ("[]", None, "is no kubeconfig"),
        ],
    )
    def test_it_does_not_serve(self, write, content, context, words):
        cluster = KubernetesCluster(kubeconfig=write("config", content), cluster_context=context)
        with pytest.raises(ValueError, match=words), cluster.kubeconfig_file():
            pytest.fail("there is nothing to do with it")


class TestOfTheEnvironment:
    def test_the_first_of_several_files_counts(self, write, monkeypatch):
        files = [write("one", kubeconfig("a", current="a")), write("two", kubeconfig("a", "b", namespace="x"))]
        monkeypatch.setenv("KUBECONFIG", os.pathsep.join([*files, "/nowhere"]))
        document = given(KubernetesCluster())
        assert document["current-context"] == "a"
        assert [each["name"] for each in document["contexts"]] == ["a", "b"]
        assert "namespace" not in document["clusters"][0]["cluster"]
        assert given(KubernetesCluster(cluster_context="b"))["current-context"] == "b"
        # In a pod, too, a program and a client find the same cluster.
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        with KubernetesCluster(cluster_context="b").client() as client:
            assert client.configuration.host == "https://b"

    def test_in_a_pod(self, monkeypatch, tmp_path):
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
        document = given(KubernetesCluster())
        assert document["clusters"][0]["cluster"]["server"] == "https://[fd00::1]:443"
        assert document["users"][0]["user"] == {"tokenFile": str(kubernetes.SERVICE_ACCOUNT / "token")}

    def test_there_is_none(self, monkeypatch, tmp_path):
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
        monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
        with pytest.raises(ValueError, match="No Kubernetes cluster is known"), KubernetesCluster().kubeconfig_file():
            pytest.fail("there is nothing to do")


@pytest.mark.parametrize("as_text", [json.dumps, dict], ids=["text", "data"])
def test_of_a_connection(monkeypatch, as_text):
    extra = {"kube_config": as_text(kubeconfig("a", "b")), "cluster_context": "b"}
    connection = {"conn_type": "kubernetes", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_ELSEWHERE", json.dumps(connection))
    cluster = KubernetesCluster(kubernetes_conn_id="elsewhere")
    assert given(cluster)["current-context"] == "b"
    with cluster.client() as client:
        assert client.configuration.host == "https://b"
    assert given(KubernetesCluster(kubernetes_conn_id="elsewhere", cluster_context="a"))["current-context"] == "a"


def test_of_a_connection_with_a_file(monkeypatch, write):
    extra = {"kube_config_path": write("config", kubeconfig("a"))}
    monkeypatch.setenv("AIRFLOW_CONN_ELSEWHERE", json.dumps({"conn_type": "kubernetes", "extra": extra}))
    assert given(KubernetesCluster(kubernetes_conn_id="elsewhere"))["current-context"] == "a"


class TestOnEks:
    @pytest.fixture
    def api(self, tmp_path):
        with KubernetesApi(tmp_path).serving() as api:
            yield api

    @pytest.fixture
    def cluster(self, api, monkeypatch):
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", api.connection)
        return KubernetesCluster(eks_cluster_name="pipelines")

    def test_a_client(self, cluster, api):
        with cluster.client() as client:
            assert VersionApi(client).get_code().git_version == "v1.35.0"
        assert api.tokens

    def test_a_program_asks_the_task_for_tokens(self, cluster):
        with cluster.kubeconfig_file() as file:
            document = yaml.safe_load(file.read_text())
            assert "k8s-aws-v1" not in file.read_text()
            plugin = document["users"][0]["user"]["exec"]
            command = [plugin["command"], *plugin["args"]]
            done = subprocess.run(command, env={}, check=True, capture_output=True, text=True, timeout=60)
        credential = json.loads(done.stdout)
        assert credential["apiVersion"] == plugin["apiVersion"]
        assert credential["status"]["token"].startswith("k8s-aws-v1.")
        assert subprocess.run(command, env={}, check=False, capture_output=True, timeout=60).returncode != 0

    def test_a_token_that_can_not_be_made(self, tmp_path, caplog):
        class NoTokens:
            def get(self):
                raise RuntimeError("the role may not be assumed")

        with CredentialServer(NoTokens(), tmp_path / "socket") as server:
            plugin = server.plugin()
            command = [plugin["command"], *plugin["args"]]
            done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 1
        assert "its log says why" in done.stderr
        assert "the role may not be assumed" in caplog.text

    def test_the_cluster_is_not_there(self, cluster, api):
        api.cluster_name = None
        with pytest.raises(Exception, match="pipelines in eu-central-1 is not there"), cluster.kubeconfig_file():
            pytest.fail("there is nothing to do")


def test_a_token_is_not_shown():
    assert "secret" not in repr(EksToken("secret", datetime.now(timezone.utc)))
