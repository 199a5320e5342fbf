"""How far objects have come, and what holds up their pods: judged by what Kubernetes says."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from kubernetes.client import ApiClient

from airflow_eks_dask.hooks.kubernetes import KubernetesCluster
from airflow_eks_dask.manifests.objects import Goal, Reference
from airflow_eks_dask.manifests.pods import as_text, held_up
from airflow_eks_dask.manifests.rollout import is_waited_for, judged
from airflow_eks_dask.manifests.watch import Watch
from airflow_eks_dask.resources.base import State
from tests.object_server import ObjectServer

pytestmark = pytest.mark.any_airflow

GROUPS = {"Job": "batch/v1", "Pod": "v1", "APIService": "apiregistration.k8s.io/v1"}


def condition(kind, status="True", **rest):
    return {"type": kind, "status": status, **rest}


def judge(kind, status, spec=None, generation=2):
    found = {"spec": spec or {}, "status": status, "metadata": {"generation": generation}}
    return judged(Reference(GROUPS.get(kind, "apps/v1"), kind, "default", "x"), found)


def deployed(**changes):
    return {"observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3, **changes}


class TestDeployment:
    def test_done(self):
        assert judge("Deployment", deployed(), {"replicas": 3}).state is State.READY

    def test_scaled_to_nothing(self):
        assert judge("Deployment", {"observedGeneration": 2}, {"replicas": 0}).state is State.READY

    @pytest.mark.parametrize(
        ("status", "said"),
        [
            ({}, "not looked at yet"),
            (deployed(observedGeneration=1), "not looked at yet"),
            (deployed(updatedReplicas=1), "1 of 3 pods are made anew"),
            (deployed(replicas=4), "1 pods of before are still there"),
            (deployed(availableReplicas=None), "0 of 3 pods are available"),
        ],
    )
    def test_pending(self, status, said):
        progress = judge("Deployment", status, {"replicas": 3})
        assert (progress.state, progress.detail) == (State.PENDING, (said,))

    def test_given_up(self):
        late = condition("Progressing", "False", reason="ProgressDeadlineExceeded", message="has timed out")
        progress = judge("Deployment", deployed(conditions=[late]), {"replicas": 3})
        assert (progress.state, progress.detail) == (State.FAILED, ("has timed out",))

    def test_what_is_said_of_a_former_generation_does_not_count(self):
        late = condition("Progressing", "False", reason="ProgressDeadlineExceeded")
        status = deployed(conditions=[late], observedGeneration=1)
        assert judge("Deployment", status, {"replicas": 3}).state is State.PENDING


class TestStatefulSet:
    def status(self, **changes):
        return {
            "observedGeneration": 2,
            "readyReplicas": 3,
            "updatedReplicas": 3,
            "currentRevision": "b",
            "updateRevision": "b",
            **changes,
        }

    def test_done(self):
        assert judge("StatefulSet", self.status(), {"replicas": 3}).state is State.READY

    def test_pods_of_before_are_left(self):
        status = self.status(updatedReplicas=2, currentRevision="a")
        assert judge("StatefulSet", status, {"replicas": 3}).detail == ("2 of 3 pods are made anew",)

    def test_no_pods_of_before_are_counted_once_all_are_one(self):
        assert judge("StatefulSet", self.status(updatedReplicas=0), {"replicas": 3}).state is State.READY

    def test_a_partition_is_to_stay(self):
        status = self.status(updatedReplicas=1, currentRevision="a")
        spec = {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}}
        assert judge("StatefulSet", status, spec).state is State.READY

    def test_pods_are_replaced_by_hand(self):
        status = self.status(updatedReplicas=0, currentRevision="a")
        spec = {"replicas": 3, "updateStrategy": {"type": "OnDelete"}}
        assert judge("StatefulSet", status, spec).state is State.READY

    def test_not_ready(self):
        assert judge("StatefulSet", self.status(readyReplicas=1), {"replicas": 3}).detail == ("1 of 3 pods are ready",)


class TestDaemonSet:
    def status(self, **changes):
        counts = {"desiredNumberScheduled": 2, "updatedNumberScheduled": 2, "numberAvailable": 2}
        return {"observedGeneration": 2, **counts, **changes}

    def test_done(self):
        assert judge("DaemonSet", self.status()).state is State.READY

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"observedGeneration": 1}, "not looked at yet"),
            ({"updatedNumberScheduled": 1}, "1 of 2 pods are made anew"),
            ({"numberAvailable": 0}, "0 of 2 pods are available"),
        ],
    )
    def test_pending(self, changes, said):
        assert judge("DaemonSet", self.status(**changes)).detail == (said,)


class TestOthers:
    @pytest.mark.parametrize(
        ("kind", "status", "state"),
        [
            ("Job", {"conditions": [condition("Complete")]}, State.READY),
            ("Job", {"conditions": [condition("Failed", reason="BackoffLimitExceeded")]}, State.FAILED),
            ("Job", {"conditions": [condition("Failed", "False")], "active": 1}, State.PENDING),
            ("Job", {}, State.PENDING),
            ("Pod", {}, State.PENDING),
            ("Pod", {"phase": "Running", "conditions": [condition("Ready", "False")]}, State.PENDING),
            ("Pod", {"phase": "Running", "conditions": [condition("Ready")]}, State.READY),
            ("Pod", {"phase": "Succeeded"}, State.READY),
            ("Pod", {"phase": "Failed"}, State.FAILED),
            ("APIService", {"conditions": [condition("Available", "False", message="no endpoints")]}, State.PENDING),
            ("APIService", {"conditions": [condition("Available")]}, State.READY),
        ],
    )
    def test_each(self, kind, status, state):
        assert judge(kind, status).state is state

    def test_a_suspended_job_is_as_it_should_be(self):
        assert judge("Job", {}, {"suspend": True}).state is State.READY

    def test_others_just_are(self):
        assert not is_waited_for(Reference("v1", "ConfigMap", "default", "x"))
        assert not is_waited_for(Reference("example.com/v1", "Deployment", "default", "x"))


def pods(*statuses):
    """Pods as the client makes them of what the server answers."""
    items = [{"metadata": {"name": f"p{number}"}, "status": status} for number, status in enumerate(statuses)]
    answer = SimpleNamespace(data=json.dumps({"items": items}))
    return ApiClient().deserialize(answer, "V1PodList").items


def container(name="main", ready=False, last=None, **state):
    return {
        "name": name,
        "ready": ready,
        "restartCount": 0,
        "image": "i",
        "imageID": "",
        "state": state,
        "lastState": {"terminated": last} if last else {},
    }


class TestPods:
    @pytest.mark.parametrize(
        ("status", "said"),
        [
            (
                {"conditions": [condition("PodScheduled", "False", message="0/1 nodes are available")]},
                ["pod p0: not scheduled: 0/1 nodes are available"],
            ),
            (
                {"containerStatuses": [container(waiting={"reason": "ImagePullBackOff", "message": "no such image"})]},
                ["pod p0: container main waits: ImagePullBackOff: no such image"],
            ),
            (
                {
                    "containerStatuses": [
                        container(waiting={"reason": "CrashLoopBackOff"}, last={"exitCode": 3, "reason": "Error"})
                    ]
                },
                ["pod p0: container main waits: CrashLoopBackOff, after exit code 3 (Error)"],
            ),
            (
                {"initContainerStatuses": [container("init", terminated={"exitCode": 137, "reason": "OOMKilled"})]},
                ["pod p0: container init ended with exit code 137 (OOMKilled)"],
            ),
            (
                {"containerStatuses": [container(running={}, last={"exitCode": 1})]},
                ["pod p0: container main runs, and is not ready, after exit code 1 (no reason given)"],
            ),
            ({"phase": "Failed", "reason": "Evicted", "message": "disk"}, ["pod p0: failed: Evicted: disk"]),
            ({"containerStatuses": [container(terminated={"exitCode": 0})]}, []),
            ({"containerStatuses": [container(ready=True, running={}, last={"exitCode": 1})]}, []),
            ({}, []),
        ],
    )
    def test_what_holds_them_up(self, status, said):
        assert held_up(pods(status)) == said

    def test_selectors(self):
        expressions = [
            {"key": "tier", "operator": "In", "values": ["a", "b"]},
            {"key": "old", "operator": "DoesNotExist"},
            {"key": "new", "operator": "Exists"},
            {"key": "zone", "operator": "NotIn", "values": ["c"]},
        ]
        selector = {"matchLabels": {"app": "x"}, "matchExpressions": expressions}
        assert as_text(selector) == "app=x,tier in (a,b),!old,new,zone notin (c)"


class Lines(list):
    """A log."""

    def info(self, message, *args):
        self.append(message % args)


@pytest.fixture
def server():
    with ObjectServer().serving() as started:
        yield started


LABELS = {"app": "web"}


class TestWatch:
    def deployment(self, server):
        made = server.put(
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": {"name": "web"},
                "spec": {"replicas": 1, "selector": {"matchLabels": LABELS}},
            }
        )
        owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": made["metadata"]["uid"]}
        replicas = server.put(
            {
                "apiVersion": "apps/v1",
                "kind": "ReplicaSet",
                "metadata": {"name": "web-1", "labels": LABELS, "ownerReferences": [owner]},
                "spec": {"replicas": 1, "selector": {"matchLabels": LABELS}},
            }
        )
        pod = server.put(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "web-1-a", "labels": LABELS},
                "status": {"containerStatuses": [container(waiting={"reason": "ErrImagePull"})]},
            }
        )
        return made, replicas, pod

    def event(self, server, about, reason, second, message="so it is", kind="Warning"):
        server.put(
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": f"{reason.lower()}-{second}", "namespace": "default"},
                "involvedObject": {"kind": about["kind"], **{key: about["metadata"][key] for key in ("name", "uid")}},
                "reason": reason,
                "message": message,
                "type": kind,
                "lastTimestamp": f"2026-11-01T00:00:{second:02d}Z",
            }
        )

    def watch(self, server, tmp_path, log, goal=Goal.READY, name="web"):
        cluster = KubernetesCluster(kubeconfig=server.kubeconfig(tmp_path))
        return Watch(cluster, [Reference("apps/v1", "Deployment", "default", name)], goal, log)

    def test_why_it_hangs_is_told_once(self, server, tmp_path):
        _, replicas, pod = self.deployment(server)
        stranger = server.put({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "other"}})
        self.event(server, pod, "Failed", 2, "no such image\n  at all")
        self.event(server, replicas, "FailedCreate", 1)
        self.event(server, stranger, "Unrelated", 3)
        self.event(server, pod, "Pulling", 4, kind="Normal")
        log = Lines()
        with self.watch(server, tmp_path, log) as watch:
            assert watch.look().state is State.PENDING
            server.set_status("Deployment", "web", {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1})
            progress = watch.look()
        assert progress.detail == (
            "Deployment default/web: 0 of 1 pods are available",
            "Deployment default/web: pod web-1-a: container main waits: ErrImagePull",
            "Deployment default/web: event FailedCreate of ReplicaSet web-1: so it is",
            "Deployment default/web: event Failed of Pod web-1-a: no such image at all",
        )
        assert log == [
            "Deployment default/web: not looked at yet",
            progress.detail[1],
            *progress.detail[2:],
            progress.detail[0],
        ]

    def test_ready(self, server, tmp_path):
        self.deployment(server)
        server.set_status("Deployment", "web", deployed(observedGeneration=1))
        with self.watch(server, tmp_path, Lines()) as watch:
            assert (watch.look().state, watch.look().detail) == (State.READY, ())

    def test_one_that_is_gone_never_comes_about(self, server, tmp_path):
        with self.watch(server, tmp_path, Lines(), name="nowhere") as watch:
            assert watch.look().detail == ("Deployment default/nowhere: somebody has deleted it",)
            assert watch.look().state is State.FAILED

    def test_gone(self, server, tmp_path):
        with self.watch(server, tmp_path, Lines(), Goal.GONE, "nowhere") as watch:
            assert watch.look().state is State.READY

    def test_a_server_that_does_not_answer_is_asked_again_but_not_without_end(self, server, tmp_path, monkeypatch):
        from airflow_eks_dask.hooks.eks import KubernetesError
        from airflow_eks_dask.manifests import watch as module

        self.deployment(server)

        def refuse(*args):
            raise KubernetesError("reading: it was not reached")

        log = Lines()
        with self.watch(server, tmp_path, log) as watch:
            monkeypatch.setattr(module, "_seen", refuse)
            for _ in range(module._MOST_FAILURES):
                assert watch.look().state is State.PENDING
            monkeypatch.undo()
            server.set_status("Deployment", "web", deployed(observedGeneration=1))
            assert watch.look().state is State.READY
            monkeypatch.setattr(module, "_seen", refuse)
            for _ in range(module._MOST_FAILURES):
                watch.look()
            with pytest.raises(KubernetesError, match="not reached"):
                watch.look()
        assert log == ["reading: it was not reached. It will be asked again"]
