"""``dashboard``: what it refuses, and how it gets into a cluster of EKS. That it works is seen on a real cluster."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from airflow.cli.cli_parser import get_parser
from kubernetes.client import VersionApi

from airflow_eks_dask.cli.dashboard import _eks_client, dashboard
from tests.kubernetes_api import KubernetesApi


@pytest.fixture
def api(tmp_path, monkeypatch):
    with KubernetesApi(tmp_path / "tls").serving() as api:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", api.connection)
        monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
        yield api


def parse(*words):
    return get_parser().parse_args(["eks-dask", "dashboard", *words])


def failure(capsys, *words):
    with pytest.raises(SystemExit) as end:
        dashboard(parse(*words))
    return end.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--cluster", "a", "--kubeconfig", "f"), "choose one"),
        (("--region", "eu-central-1"), "--region and --aws-conn-id go with --cluster"),
        (("--account", "eks-admin"), "--account 'eks-admin' must look like namespace/name"),
        (("--port", "70000"), "argument --port: must be a TCP port, 0 to 65535: '70000'"),
    ],
)
def test_what_makes_no_sense(capsys, words, message):
    code, told = failure(capsys, *words)
    assert code == 2
    assert message in told


def test_without_a_kubeconfig_it_says_what_to_name(capsys, tmp_path):
    code, told = failure(capsys, "--kubeconfig", str(tmp_path / "nothing"))
    assert code == 1
    assert "Name a cluster with --cluster or --kubeconfig" in told


def test_an_eks_cluster_that_is_not_there(api, capsys):
    code, told = failure(capsys, "--cluster", "others", "--region", "eu-central-1")
    assert code == 1
    assert "EKS cluster others in eu-central-1 is not there" in told


def test_the_client_of_an_eks_cluster_has_a_token_and_the_authority_in_a_file(api):
    with _eks_client(parse("--cluster", "pipelines")) as client:
        assert VersionApi(client).get_code().minor == "35"
        assert api.tokens
        authority = Path(client.configuration.ssl_ca_cert)
        assert ssl.create_default_context(cafile=authority).get_ca_certs()
    assert not authority.exists()
