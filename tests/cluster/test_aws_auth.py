"""Entries of ``aws-auth`` in a real API server; only the way into EKS is another."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import yaml

from airflow_eks_dask.hooks.kubernetes import KubernetesCluster
from airflow_eks_dask.operators.aws_auth import DeleteAwsAuthOperator, EnsureAwsAuthOperator
from airflow_eks_dask.operators.resource import PLAN_KEY
from airflow_eks_dask.resources.base import ResourceError
from tests.cluster.conftest import kubectl

ROLE = "arn:aws:iam::111122223333:role/"
THEIRS = f"# ours since 2019\n- rolearn: {ROLE}ops\n  username: ops\n  groups: [system:masters]\n"


class Task:
    """Takes what an operator leaves for others."""

    def __init__(self) -> None:
        self.actions: list[str] = []

    def xcom_push(self, key, value, **_):
        if key == PLAN_KEY:
            self.actions.append(value["action"])


@pytest.fixture(autouse=True)
def _in_the_cluster(kubernetes, monkeypatch):
    class Way:
        def __init__(self, *_):
            self.client = KubernetesCluster(kubeconfig=str(kubernetes)).client

    monkeypatch.setattr("airflow_eks_dask.resources.aws_auth.EksKubernetes", Way)
    monkeypatch.setattr("airflow_eks_dask.resources.aws_auth.find_api_server", lambda *_: "there")
    monkeypatch.setenv(
        "AIRFLOW_CONN_AWS_DEFAULT",
        json.dumps({"conn_type": "aws", "login": "a", "password": "b", "extra": {"region_name": "eu-central-1"}}),
    )
    forget()
    yield
    forget()


def forget():
    kubectl("delete", "configmap", "aws-auth", "--namespace=kube-system", "--ignore-not-found")


def put(text):
    content = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "aws-auth", "namespace": "kube-system"}}
    kubectl("apply", "--filename=-", text=json.dumps({**content, "data": {"mapRoles": text}}))


def found():
    shown = kubectl("get", "configmap", "aws-auth", "--namespace=kube-system", "--ignore-not-found", "--output=json")
    return json.loads(shown) if shown else None


def run(operator_class, **named):
    operator = operator_class(task_id="task", cluster_name="pipelines", poll_interval=0.01, deferrable=False, **named)
    task = Task()
    operator.execute({"ti": task, "task_instance": task, "task": operator})
    return task.actions


def test_a_config_map_is_made_and_goes_with_its_last_entry():
    assert run(EnsureAwsAuthOperator, node_roles=[f"{ROLE}nodes"]) == ["create", "leave"]
    version = found()["metadata"]["resourceVersion"]
    assert run(EnsureAwsAuthOperator, node_roles=[f"{ROLE}nodes"]) == ["leave"]
    assert found()["metadata"]["resourceVersion"] == version
    assert run(DeleteAwsAuthOperator) == ["delete", "leave"]
    assert found() is None
    assert run(DeleteAwsAuthOperator) == ["leave"]


def test_what_others_wrote_stays():
    put(THEIRS)
    run(EnsureAwsAuthOperator, node_roles=[f"{ROLE}nodes"])
    text = found()["data"]["mapRoles"]
    assert text.startswith(THEIRS)
    assert [entry["rolearn"] for entry in yaml.safe_load(text)] == [f"{ROLE}ops", f"{ROLE}nodes"]
    run(DeleteAwsAuthOperator)
    assert found()["data"]["mapRoles"] == THEIRS


def test_an_entry_of_others_that_says_otherwise_is_refused():
    put(THEIRS)
    with pytest.raises(ResourceError, match="was not made for this cluster and says otherwise"):
        run(EnsureAwsAuthOperator, roles=[{"rolearn": f"{ROLE}ops", "username": "somebody"}])
    assert found()["data"]["mapRoles"] == THEIRS


def test_many_who_write_at_the_same_time_lose_nothing():
    put(THEIRS)
    arns = [f"{ROLE}nodes-{number}" for number in range(4)]
    with ThreadPoolExecutor(len(arns)) as threads:
        list(threads.map(lambda arn: run(EnsureAwsAuthOperator, node_roles=[arn]), arns))
    entries = yaml.safe_load(found()["data"]["mapRoles"])
    assert sorted(entry["rolearn"] for entry in entries) == sorted([f"{ROLE}ops", *arns])
