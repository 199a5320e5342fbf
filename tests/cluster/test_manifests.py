"""Manifests applied to and deleted from a real API server, with real pods."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest
import yaml
from airflow.sdk.exceptions import TaskDeferred
from kubernetes import client, config

from airflow_eks_dask.manifests.errors import ManifestError
from airflow_eks_dask.operators.kubernetes import ApplyManifestsOperator, DeleteManifestsOperator
from tests.aws.runs import Run
from tests.cluster.conftest import kubectl
from tests.conftest import eventually
from tests.triggers import run_trigger

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


def deployment(spec, name="web", **rest):
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": spec}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **rest},
    }


def settings(name="settings", **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data or {"colour": "blue"}}


def let_go(namespace):
    patch = '{"metadata": {"finalizers": null}}'
    kubectl("patch", "configmap", "settings", "--namespace", namespace, "--type=merge", "--patch", patch)


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

    def test_secrets_are_hidden_and_keys_taken_away(self, apply, namespace, capsys):
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}
        apply({**secret, "stringData": {"user": "clara", "password": "swordfish"}})
        apply({**secret, "stringData": {"password": "hunter2"}})
        logged = capsys.readouterr().out
        assert "+  password: <hidden, and changed>" in logged
        assert not any(each in logged for each in ("swordfish", "hunter2", "clara", "aHVudGVyMg", "c3dvcmRmaXNo"))
        data = kubectl("get", "secret", "s", "--namespace", namespace, "--output", "jsonpath={.data}")
        assert json.loads(data) == {"password": "aHVudGVyMg=="}
        assert apply({**secret, "stringData": {"password": "hunter2"}}) == {f"Secret {namespace}/s": "unchanged"}

    def test_a_conflict_names_field_and_manager(self, apply, namespace):
        apply(settings(colour="blue"))
        theirs = yaml.safe_dump(settings(colour="green"))
        options = ("--server-side", "--validate=false", "--field-manager=somebody", "--force-conflicts")
        kubectl("apply", *options, "--namespace", namespace, "--filename", "-", text=theirs)
        with pytest.raises(ManifestError, match=r"\.data\.colour \(conflict with \"somebody\""):
            apply([settings(colour="blue"), settings("new")])
        assert kubectl("get", "configmap", "new", "--namespace", namespace, "--ignore-not-found") == ""
        assert apply(settings(colour="blue"), force_conflicts=True) == {f"ConfigMap {namespace}/settings": "change"}

    def test_what_is_not_ours_stays(self, apply, delete, namespace):
        kubectl("create", "configmap", "settings", "--from-literal=colour=blue", "--namespace", namespace)
        with pytest.raises(ManifestError, match="it was made by something else"):
            apply(settings())
        assert delete(settings()) == {f"ConfigMap {namespace}/settings": "keep"}
        assert apply(settings(), adopt=True) == {f"ConfigMap {namespace}/settings": "change"}
        assert apply(settings()) == {f"ConfigMap {namespace}/settings": "unchanged"}
        with pytest.raises(ManifestError, match="it belongs to 'tests', and not to 'others'"):
            apply(settings(), cluster_name="others")
        assert delete(settings()) == {f"ConfigMap {namespace}/settings": "delete"}

    def test_all_that_the_server_has_against_it_is_told_before_the_first_write(self, apply, namespace):
        port = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 70000}]}}
        unknown = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"replica": 1}}
        with pytest.raises(ManifestError) as told:
            apply([settings(), settings("No_Name"), port, unknown, {**settings("x"), "kind": "ConfigMop"}])
        assert "ConfigMop" in str(told.value)
        with pytest.raises(ManifestError) as told:
            apply([settings(), settings("No_Name"), port, unknown])
        text = str(told.value)
        assert all(each in text for each in ("ConfigMap", "No_Name", "70000", "Deployment"))
        assert kubectl("get", "configmap", "settings", "--namespace", namespace, "--ignore-not-found") == ""


class TestWaiting:
    def test_an_image_that_is_not_there(self, apply):
        with pytest.raises(ManifestError, match=r"(?s)pod web-.*: container main waits: ErrImageNeverPull"):
            apply(deployment(pod_spec("registry.invalid/none:1")), timeout=15)

    def test_no_node_for_it(self, apply):
        spec = {**pod_spec("registry.invalid/none:1"), "nodeSelector": {"there-is": "none"}}
        with pytest.raises(ManifestError, match=r"(?s)not scheduled: .*event FailedScheduling of Pod web-"):
            apply(deployment(spec), timeout=15)

    def test_no_pods_are_allowed(self, apply, namespace):
        quota = {**settings("none"), "kind": "ResourceQuota", "spec": {"hard": {"pods": "0"}}}
        del quota["data"]
        apply(quota)
        used = ("get", "resourcequota", "none", "--namespace", namespace, "--output", "jsonpath={.status.used.pods}")
        eventually(lambda: kubectl(*used) == "0", what="the quota holds")
        with pytest.raises(ManifestError, match=r"(?s)event FailedCreate of ReplicaSet web-.*exceeded quota"):
            apply([quota, deployment(pod_spec("registry.invalid/none:1"))], timeout=15)

    def test_kubernetes_gives_it_up(self, apply):
        with pytest.raises(ManifestError, match=r"(?s)It has failed.*progress.*ErrImageNeverPull"):
            apply(deployment(pod_spec("registry.invalid/none:1"), progressDeadlineSeconds=3), timeout=60)

    def test_a_container_that_ends(self, apply, pause):
        crashing = pod_spec(pause, command=["/there/is/none"])
        with pytest.raises(ManifestError, match=r"(?s)container main waits: .*exit code [1-9]\d* \("):
            apply(deployment(crashing), timeout=45)

    def test_a_job_that_fails(self, apply, pause):
        template = {"spec": {**pod_spec(pause, command=["/there/is/none"]), "restartPolicy": "Never"}}
        job = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "j"},
            "spec": {"backoffLimit": 0, "activeDeadlineSeconds": 60, "template": template},
        }
        with pytest.raises(ManifestError, match=r"(?s)It has failed:.*(BackoffLimitExceeded|DeadlineExceeded)"):
            apply(job, timeout=100)

    def test_in_the_triggerer(self, make, pause, namespace):
        # It is not available at once.
        run, wanted = Run(), [settings(), deployment(pod_spec(pause), minReadySeconds=3)]
        with pytest.raises(TaskDeferred) as deferred:
            run.run(make(ApplyManifestsOperator, wanted, deferrable=True))
        event = run_trigger(deferred.value.trigger)
        summary = make(ApplyManifestsOperator, wanted).resume({"ti": run}, event, **deferred.value.kwargs)
        assert actions(summary)[f"Deployment {namespace}/web"] == "create"
        available = "jsonpath={.status.availableReplicas}"
        assert kubectl("get", "deployment", "web", "--namespace", namespace, "--output", available) == "1"

    def test_in_the_triggerer_until_all_is_gone(self, make, apply, pause, namespace):
        wanted = [settings(), deployment(pod_spec(pause))]
        # It does not go at once.
        wanted[0]["metadata"]["finalizers"] = ["example.com/wait"]
        apply(wanted)
        run, operator = Run(), make(DeleteManifestsOperator, wanted, deferrable=True)
        with pytest.raises(TaskDeferred) as deferred:
            run.run(operator)
        let_go(namespace)
        summary = operator.resume({"ti": run}, run_trigger(deferred.value.trigger), **deferred.value.kwargs)
        assert set(actions(summary).values()) == {"delete"}
        assert kubectl("get", "pods", "--namespace", namespace, "--selector", "app=web") == ""


PROGRAM = """
import itertools, json, os, signal, sys
from tests.aws.runs import Run
from airflow_eks_dask.operators import kubernetes

written = itertools.count()

def killed_at(event, args):
    if event == "http.client.send" and args[1].startswith((b"PATCH ", b"DELETE ")):
        if b"dryRun=" not in args[1] and next(written) == wanted["writes"]:
            os.kill(os.getpid(), signal.SIGKILL)

wanted = json.load(sys.stdin)
sys.addaudithook(killed_at)
Run().run(getattr(kubernetes, wanted["operator"])(task_id="t", **wanted["options"]))
"""


class TestKilled:
    MANY = 10
    WRITES = 4

    def killed(self, operator, kubernetes, namespace, manifests):
        """Run an operator in a process of its own, which is killed when it is about to write once more."""
        options = {"kubeconfig": str(kubernetes), "namespace": namespace, "cluster_name": "tests", "poll_interval": 0.3}
        wanted = {"operator": operator, "writes": self.WRITES, "options": {"manifests": manifests, **options}}
        process = subprocess.run([sys.executable, "-c", PROGRAM], input=json.dumps(wanted), text=True, timeout=120)
        assert process.returncode == -signal.SIGKILL

    def test_the_next_run_converges(self, api, apply, delete, kubernetes, namespace):
        core = client.CoreV1Api(api)

        def count():
            names = [each.metadata.name for each in core.list_namespaced_config_map(namespace).items]
            return sum(name.startswith("many-") for name in names)

        wanted = [settings(f"many-{number}") for number in range(self.MANY)]
        self.killed("ApplyManifestsOperator", kubernetes, namespace, wanted)
        assert count() == self.WRITES
        again = list(apply(wanted).values())
        assert (again.count("unchanged"), again.count("create")) == (self.WRITES, self.MANY - self.WRITES)
        before = versions(namespace, "configmap")
        assert set(apply(wanted).values()) == {"unchanged"}
        assert versions(namespace, "configmap") == before
        self.killed("DeleteManifestsOperator", kubernetes, namespace, wanted)
        left = self.MANY - self.WRITES
        eventually(lambda: count() == left, timeout=120, what="those that it deleted are gone")
        again = list(delete(wanted).values())
        assert (again.count("delete"), again.count("absent")) == (left, self.WRITES)
        assert set(delete(wanted).values()) == {"absent"}
        assert count() == 0

    def test_what_is_still_being_deleted_is_waited_for(self, apply, delete, namespace):
        waiting = settings()
        waiting["metadata"]["finalizers"] = ["example.com/wait"]
        apply(waiting)
        with pytest.raises(ManifestError, match=r"waits for example\.com/wait"):
            delete(waiting, timeout=1)
        with pytest.raises(ManifestError, match="not gone in time"):
            apply(waiting, timeout=1)
        let_go(namespace)
        assert apply(settings()) == {f"ConfigMap {namespace}/settings": "create"}
        assert delete(settings()) == {f"ConfigMap {namespace}/settings": "delete"}
