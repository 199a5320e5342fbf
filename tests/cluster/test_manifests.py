"""Manifests applied to and deleted from a real API server, with real pods."""

from __future__ import annotations

import json

import pytest
from kubernetes import client, config

from airflow_eks_dask.manifests.errors import ManifestError
from airflow_eks_dask.operators.kubernetes import ApplyManifestsOperator, DeleteManifestsOperator
from tests.aws.runs import Run
from tests.cluster.conftest import kubectl

pytestmark = pytest.mark.any_airflow

PAUSE = "local/pause"
KINDS = """
apiVersion: example.com/v1
kind: {kind}
metadata: {{name: one, namespace: {namespace}}}
spec: {{size: 3}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: {namespace}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec: {pod}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: store, namespace: {namespace}}}
spec:
  serviceName: web
  selector: {{matchLabels: {{app: store}}}}
  template:
    metadata: {{labels: {{app: store}}}}
    spec: {pod}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: agent, namespace: {namespace}}}
spec:
  selector: {{matchLabels: {{app: agent}}}}
  template:
    metadata: {{labels: {{app: agent}}}}
    spec: {pod}
---
apiVersion: v1
kind: Pod
metadata: {{name: bare, namespace: {namespace}}}
spec: {pod}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: {namespace}}}
spec:
  selector: {{app: web}}
  ports: [{{name: http, port: 80}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: web, namespace: {namespace}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, name: web}}
subjects: [{{kind: ServiceAccount, name: web, namespace: {namespace}}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {{name: web, namespace: {namespace}}}
rules: [{{apiGroups: [""], resources: [pods], verbs: [get]}}]
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ServiceAccount
  metadata: {{name: web, namespace: {namespace}}}
- apiVersion: v1
  kind: Secret
  metadata: {{name: web, namespace: {namespace}}}
  stringData: {{password: swordfish}}
- apiVersion: v1
  kind: ConfigMap
  metadata: {{name: web, namespace: {namespace}}}
  data: {{colour: blue}}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {{name: {kind_lower}s.example.com}}
spec:
  group: example.com
  scope: Namespaced
  names: {{kind: {kind}, plural: {kind_lower}s}}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            properties: {{size: {{type: integer, maximum: 10}}}}
---
apiVersion: v1
kind: Namespace
metadata: {{name: {namespace}}}
"""
"""Each needs something that comes after it."""


@pytest.fixture
def api(kubernetes):
    with config.new_client_from_config(str(kubernetes)) as made:
        yield made


@pytest.fixture
def pause(api):
    """An image whose containers do nothing until they are ended, on the node."""
    nodes = client.CoreV1Api(api).list_node().items
    images = [name for node in nodes for image in node.status.images for name in image.names]
    image = next((name for name in images if PAUSE in name), None)
    if image is None:
        pytest.skip(f"no node of this cluster has the image {PAUSE}")
    return image


@pytest.fixture
def make(kubernetes, namespace):
    def make(operator, manifests, **options):
        given = {"task_id": "t", "kubeconfig": str(kubernetes), "namespace": namespace, "cluster_name": "tests"}
        return operator(manifests=manifests, **{**given, "poll_interval": 0.3, "timeout": 120, **options})

    return make


@pytest.fixture
def apply(make):
    return lambda manifests, **options: actions(Run().run(make(ApplyManifestsOperator, manifests, **options)))


@pytest.fixture
def delete(make):
    return lambda manifests, **options: actions(Run().run(make(DeleteManifestsOperator, manifests, **options)))


@pytest.fixture
def everything(namespace, pause, delete):
    """Manifests of many kinds, with a namespace and a kind of their own, and gone afterwards."""
    kind = f"Thing{namespace.removeprefix('test-')}"
    text = KINDS.format(
        namespace=f"{namespace}-inner", kind=kind, kind_lower=kind.lower(), pod=json.dumps(pod_spec(pause))
    )
    yield text
    delete(text)


def actions(summary):
    return {each["object"]: each["action"] for each in summary}


def pod_spec(image, **container):
    container = {"name": "main", "image": image, "imagePullPolicy": "Never", **container}
    return {"terminationGracePeriodSeconds": 0, "containers": [container]}


def settings(name="settings", **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data or {"colour": "blue"}}


def versions(namespace, *kinds):
    found = json.loads(kubectl("get", ",".join(kinds), "--namespace", namespace, "--output", "json"))["items"]
    return {(each["kind"], each["metadata"]["name"]): each["metadata"]["resourceVersion"] for each in found}


def all_generations(namespace):
    return kubectl("get", "all", "--namespace", namespace, "--output", "jsonpath={..metadata.generation}")


class TestEverything:
    CONFIGURED = ("configmap", "secret", "serviceaccount", "role", "rolebinding", "service")

    def test_all_of_it_runs_again_nothing_is_written_and_then_it_is_gone(self, apply, delete, everything, namespace):
        inner = f"{namespace}-inner"
        foreseen = apply(everything, dry_run=True)
        assert set(foreseen.values()) == {"create"}
        made = apply(everything)
        assert made == foreseen
        assert list(made)[:2] == [f"Namespace {inner}", next(each for each in made if "Definition" in each)]
        ready = kubectl("get", "pods", "--namespace", inner, "--output", "jsonpath={.items[*].status.phase}").split()
        assert ready == ["Running"] * len(ready)
        assert len(ready) >= 5
        before, generations = versions(inner, *self.CONFIGURED), all_generations(inner)
        assert set(apply(everything, dry_run=True).values()) == {"unchanged"}
        assert set(apply(everything).values()) == {"unchanged"}
        assert versions(inner, *self.CONFIGURED) == before
        assert all_generations(inner) == generations
        gone = delete(everything)
        assert list(gone) != list(made)
        assert gone.keys() == made.keys()
        assert set(gone.values()) == {"delete"}
        assert kubectl("get", "namespace", inner, "--ignore-not-found") == ""
        assert set(delete(everything).values()) == {"absent"}

    def test_what_is_wrong_with_a_custom_resource_is_told(self, apply, everything):
        with pytest.raises(ManifestError, match=r"example.com|size"):
            apply(everything.replace("size: 3", "size: 11"))


class TestChanges:
    def test_a_dry_run_shows_the_change_and_makes_none(self, apply, namespace, capsys):
        apply([settings(colour="blue", size="3"), settings("other")])
        before = versions(namespace, "configmap")
        capsys.readouterr()
        wanted = [settings(colour="red"), settings("other"), settings("new")]
        expected = dict(zip(("settings", "other", "new"), ("change", "unchanged", "create"), strict=True))
        assert apply(wanted, dry_run=True) == {f"ConfigMap {namespace}/{name}": what for name, what in expected.items()}
        logged = capsys.readouterr().out
        assert all(line in logged for line in ("-  colour: blue", "+  colour: red", "-  size: '3'"))
        assert versions(namespace, "configmap") == before
        assert apply(wanted)[f"ConfigMap {namespace}/settings"] == "change"
        data = kubectl("get", "configmap", "settings", "--namespace", namespace, "--output", "jsonpath={.data}")
        assert json.loads(data) == {"colour": "red"}
