"""The operators for manifests: what they take, what they return and log, and how they wait."""

from __future__ import annotations

import json
import logging
import threading

import pytest
import yaml
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import TaskDeferred

from airflow_eks_dask.manifests.errors import ManifestError
from airflow_eks_dask.manifests.ownership import LABEL
from airflow_eks_dask.operators.kubernetes import ApplyManifestsOperator, DeleteManifestsOperator
from airflow_eks_dask.operators.plan import PlanSummaryOperator
from tests.aws.runs import Run
from tests.conftest import eventually
from tests.object_server import ObjectServer
from tests.triggers import run_trigger

pytestmark = pytest.mark.any_airflow

CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"colour": "blue"}}
SPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "space"}}
WEB = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}},
}
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "s"},
    "stringData": {"password": "{{ params.password }}"},
}
DONE = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}


@pytest.fixture
def server():
    with ObjectServer().serving() as started:
        yield started


@pytest.fixture
def make(server, tmp_path):
    def make(operator, manifests, **options):
        given = {"poll_interval": 0.01, "timeout": 10, "kubeconfig": server.kubeconfig(tmp_path), "task_id": "t"}
        return operator(manifests=manifests, **{**given, **options})

    return make


@pytest.fixture
def apply(make):
    return lambda manifests, **options: Run().run(make(ApplyManifestsOperator, manifests, **options))


@pytest.fixture
def delete(make):
    return lambda manifests, **options: Run().run(make(DeleteManifestsOperator, manifests, **options))


def told(object_, action):
    return {"object": object_, "action": action}


class TestApply:
    def test_it_returns_what_was_done(self, apply, server):
        assert apply([SPACE, CONFIG]) == [
            told("Namespace space", "create"),
            told("ConfigMap default/settings", "create"),
        ]
        assert apply([SPACE, CONFIG], namespace="space")[1] == told("ConfigMap space/settings", "create")
        assert apply(yaml.safe_dump(CONFIG)) == [told("ConfigMap default/settings", "unchanged")]

    @pytest.mark.parametrize(
        ("options", "owner"), [({}, "airflow"), ({"cluster_name": "pipelines"}, "pipelines")], ids=["default", "given"]
    )
    def test_whose_the_objects_are(self, apply, server, options, owner):
        apply(CONFIG, **options)
        assert server.get("ConfigMap", "settings")["metadata"]["labels"][LABEL] == owner

    def test_on_eks_they_are_the_clusters(self):
        operator = ApplyManifestsOperator(task_id="t", manifests=CONFIG, eks_cluster_name="pipelines")
        assert operator._owner == "pipelines"

    def test_files_are_beside_the_dag_and_left_as_they_are(self, make, server, tmp_path):
        text = yaml.safe_dump({**CONFIG, "data": {"rule": "{{ $labels.instance }}"}})
        (tmp_path / "settings.yaml").write_text(text)
        with DAG("manifests", schedule=None) as dag:
            operator = make(ApplyManifestsOperator, "settings.yaml")
        dag.fileloc = str(tmp_path / "dag.py")
        Run().run(operator)
        assert server.get("ConfigMap", "settings")["data"] == {"rule": "{{ $labels.instance }}"}

    def test_templates_are_rendered_when_it_runs_and_not_kept(self, make, server):
        operator = make(ApplyManifestsOperator, [SECRET])
        operator.execute({"ti": Run(), "params": {"password": "hunter2"}})
        assert server.get("Secret", "s")["data"] == {"password": "aHVudGVyMg=="}
        assert "hunter2" not in str({name: getattr(operator, name) for name in operator.template_fields})
        assert operator._manifests == [SECRET]

    def test_what_secrets_hold_is_masked(self, apply, monkeypatch):
        masked = []
        monkeypatch.setattr("airflow_eks_dask.operators._manifests.mask_secret", masked.append)
        apply({**SECRET, "data": {"token": "aHVudGVyMg=="}, "stringData": {"password": "swordfish"}})
        assert masked == ["aHVudGVyMg==", "hunter2", "swordfish", "c3dvcmRmaXNo"]

    def test_what_another_task_returns_comes_before_it(self, make):
        @task
        def manifests():
            return [CONFIG]

        with DAG("manifests", schedule=None):
            operator = make(ApplyManifestsOperator, manifests())
        assert operator.upstream_task_ids == {"manifests"}

    def test_all_that_is_wrong_with_the_parameters_is_told(self, apply):
        with pytest.raises(ManifestError) as error:
            apply(CONFIG, timeout=0, poll_interval=-1, field_manager="", kubernetes_conn_id="other")
        text = str(error.value)
        for each in ("timeout = 0", "poll_interval = -1", "field_manager = ''", "choose one"):
            assert each in text

    def test_what_was_there_is_taken_over_if_asked_for(self, apply, server):
        server.put(CONFIG)
        with pytest.raises(ManifestError, match="adopt=True"):
            apply(CONFIG)
        assert apply(CONFIG, adopt=True) == [told("ConfigMap default/settings", "change")]


class TestDryRun:
    def test_it_logs_the_difference_and_leaves_a_plan(self, apply, make, server, capsys):
        apply(CONFIG)
        writes = len(server.writes)
        run = Run()
        operator = make(ApplyManifestsOperator, [SPACE, {**CONFIG, "data": {"colour": "red"}}], dry_run="true")
        summary = run.run(operator)
        assert summary == [told("Namespace space", "create"), told("ConfigMap default/settings", "change")]
        assert len(server.writes) == writes
        logged = capsys.readouterr().out
        assert "-  colour: blue" in logged
        assert "+  colour: red" in logged
        plans = run.run(PlanSummaryOperator(task_id="plan", task_ids=["t"]))
        (plan,) = plans["plans"]
        assert (plan["action"], plan["monthly_cost"]) == ("create", 0.0)
        assert plan["reasons"] == ["Namespace space: create", "ConfigMap default/settings: change"]

    def test_secrets_are_not_logged(self, apply, capsys, caplog):
        secret = {**SECRET, "stringData": {"password": "swordfish"}}
        with caplog.at_level(logging.DEBUG):
            apply(secret, dry_run=True)
            apply(secret)
        logged = capsys.readouterr().out
        assert "+  password: <hidden>" in logged
        assert "swordfish" not in logged + caplog.text

    def test_nothing_is_waited_for(self, apply):
        assert apply(WEB, dry_run=True) == [told("Deployment default/web", "create")]


def becomes(server, status, kind="Deployment", name="web"):
    """Have an object get a status once it is there."""

    def wait():
        eventually(lambda: server.get(kind, name))
        server.set_status(kind, name, status)

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


class TestWaiting:
    def test_until_it_has_come_about(self, apply, server):
        thread = becomes(server, DONE)
        assert apply([CONFIG, WEB])[1] == told("Deployment default/web", "create")
        thread.join()

    def test_not_at_all(self, apply):
        assert apply(WEB, wait=False) == [told("Deployment default/web", "create")]

    def test_why_it_hangs(self, apply, server):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1", "labels": {"app": "web"}}}
        waits = {"name": "main", "ready": False, "restartCount": 1, "image": "i", "imageID": ""}
        waits |= {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 7}}}
        server.put({**pod, "status": {"containerStatuses": [waits]}})
        with pytest.raises(ManifestError, match=r"(?s)Not done after 1 s.*CrashLoopBackOff, after exit code 7"):
            apply(WEB, timeout=1)

    def test_one_that_fails(self, apply, server):
        late = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "too slow"}
        thread = becomes(server, {"observedGeneration": 1, "conditions": [late]})
        with pytest.raises(ManifestError, match=r"It has failed:\n- Deployment default/web: too slow"):
            apply(WEB)
        thread.join()

    def test_without_a_slot(self, make, server):
        run = Run()
        operator = make(ApplyManifestsOperator, [CONFIG, WEB], deferrable=True)
        with pytest.raises(TaskDeferred) as deferred:
            run.run(operator)
        deferral = deferred.value
        server.set_status("Deployment", "web", DONE)
        event = run_trigger(deferral.trigger)
        again = make(ApplyManifestsOperator, [CONFIG, WEB], deferrable=True)
        summary = getattr(again, deferral.method_name)({"ti": run}, event, **json.loads(json.dumps(deferral.kwargs)))
        assert summary == [told("ConfigMap default/settings", "create"), told("Deployment default/web", "create")]

    def test_why_it_hangs_without_a_slot(self, make):
        operator = make(ApplyManifestsOperator, WEB, deferrable=True, timeout=0.5)
        with pytest.raises(TaskDeferred) as deferred:
            Run().run(operator)
        event = run_trigger(deferred.value.trigger)
        assert event == {"state": "pending", "detail": ["Deployment default/web: not looked at yet"]}
        with pytest.raises(ManifestError, match="not looked at yet"):
            operator.resume({}, event, **deferred.value.kwargs)

    def test_a_server_that_has_gone(self, make, server, monkeypatch):
        operator = make(ApplyManifestsOperator, WEB, deferrable=True)
        with pytest.raises(TaskDeferred) as deferred:
            Run().run(operator)
        monkeypatch.setattr("airflow_eks_dask.manifests.watch._MOST_FAILURES", 0)
        monkeypatch.setattr("airflow_eks_dask.manifests.api._PATIENCE", 0)
        monkeypatch.setattr(server, "answer", lambda *args: (403, {"kind": "Status", "message": "not for you"}))
        event = run_trigger(deferred.value.trigger)
        with pytest.raises(ManifestError, match="403 Forbidden: not for you"):
            operator.resume({}, event, **deferred.value.kwargs)

    def test_nothing_secret_is_kept(self, make):
        manifests = [WEB, {**SECRET, "stringData": {"password": "swordfish"}}]
        with pytest.raises(TaskDeferred) as deferred:
            Run().run(make(ApplyManifestsOperator, manifests, deferrable=True))
        assert "swordfish" not in json.dumps([deferred.value.trigger.serialize(), deferred.value.kwargs])


class TestDelete:
    def test_only_what_is_ours(self, apply, delete, server):
        apply([SPACE, CONFIG])
        server.put({**CONFIG, "metadata": {"name": "theirs"}})
        theirs = {**CONFIG, "metadata": {"name": "theirs"}}
        expected = [
            told("ConfigMap default/theirs", "keep"),
            told("ConfigMap default/settings", "delete"),
            told("Namespace space", "delete"),
        ]
        assert delete([SPACE, CONFIG, theirs], dry_run=True) == expected
        assert server.get("Namespace", "space")
        assert delete([SPACE, CONFIG, theirs]) == expected
        assert {each["action"] for each in delete([SPACE, CONFIG])} == {"absent"}

    def test_a_way_that_there_is_not(self, delete):
        with pytest.raises(ManifestError, match="propagation = 'Cascade'"):
            delete(CONFIG, propagation="Cascade")

    def test_without_a_slot_one_stage_after_the_other(self, make, apply, server):
        waiting = {**CONFIG, "metadata": {"name": "settings", "finalizers": ["example.com/wait"]}}
        apply([SPACE, waiting])
        run = Run()
        operator = make(DeleteManifestsOperator, [SPACE, waiting], deferrable=True)
        with pytest.raises(TaskDeferred) as deferred:
            run.run(operator)
        deferral = deferred.value
        assert server.get("Namespace", "space")
        server.release("ConfigMap", "settings")
        event = run_trigger(deferral.trigger)
        again = make(DeleteManifestsOperator, [SPACE, waiting], deferrable=True)
        summary = getattr(again, deferral.method_name)({"ti": run}, event, **json.loads(json.dumps(deferral.kwargs)))
        assert [each["action"] for each in summary] == ["delete", "delete"]
        assert server.get("Namespace", "space") is None

    def test_what_does_not_go(self, apply, delete):
        waiting = {**CONFIG, "metadata": {"name": "settings", "finalizers": ["example.com/wait"]}}
        apply(waiting)
        with pytest.raises(ManifestError, match=r"Not done after 0\.2 s:\n- ConfigMap .* waits for example\.com/wait"):
            delete(waiting, timeout=0.2)
