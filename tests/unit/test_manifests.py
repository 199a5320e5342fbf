"""Manifests applied to and deleted from an API server that keeps account of who manages what."""

from __future__ import annotations

import copy
import itertools

import pytest

from airflow_eks_dask.hooks.eks import KubernetesError
from airflow_eks_dask.manifests import api as object_api
from airflow_eks_dask.manifests.apply import apply
from airflow_eks_dask.manifests.delete import delete
from airflow_eks_dask.manifests.errors import ManifestError
from airflow_eks_dask.manifests.ownership import LABEL, MANAGED_BY, MANAGER
from tests.object_server import ObjectServer

pytestmark = pytest.mark.any_airflow

OWNER = "pipelines"


def manifest(kind, name, api_version="v1", namespace=None, **rest):
    metadata = {"name": name} | ({"namespace": namespace} if namespace else {})
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def config(name="settings", namespace=None, **data):
    return manifest("ConfigMap", name, namespace=namespace, data=data or {"colour": "blue"})


THING = manifest("Thing", "one", "example.com/v1", namespace="things", spec={"size": 3})
DEFINITION = manifest(
    "CustomResourceDefinition",
    "things.example.com",
    "apiextensions.k8s.io/v1",
    spec={
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"kind": "Thing", "plural": "things"},
        "versions": [{"name": "v1", "served": True, "storage": True}],
    },
)
ALL = [THING, config(namespace="things"), DEFINITION, manifest("Namespace", "things"), config()]
"""In the wrong order."""


@pytest.fixture
def server():
    with ObjectServer().serving() as started:
        yield started


@pytest.fixture
def client(server):
    with server.client() as made:
        yield made


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(object_api, "_PATIENCE", 0.5)


def applied(client, *documents, **options):
    return apply(client, documents, **{"owner": OWNER, "poll_interval": 0.01, "timeout": 5, **options})


def deleted(client, *documents, **options):
    return delete(client, documents, **{"owner": OWNER, "poll_interval": 0.01, "timeout": 5, **options})


def actions(changes):
    return {str(change.reference): change.action.value for change in changes}


def versions(server):
    return {key: each["metadata"]["resourceVersion"] for key, each in server.objects.items()}


class TestApply:
    def test_everything_is_made_in_the_order_that_works(self, server, client):
        server.looks_until_established = 3
        changes = applied(client, *ALL)
        assert [str(change.reference) for change in changes] == [
            "Namespace things",
            "CustomResourceDefinition things.example.com",
            "ConfigMap things/settings",
            "ConfigMap default/settings",
            "Thing things/one",
        ]
        assert set(actions(changes).values()) == {"create"}
        assert server.get("Thing", "one", "things")["spec"] == {"size": 3}

    def test_objects_tell_whose_they_are(self, server, client):
        document = config()
        document["metadata"]["labels"] = {"app": "x"}
        given = copy.deepcopy(document)
        applied(client, document)
        labels = server.get("ConfigMap", "settings")["metadata"]["labels"]
        assert labels == {"app": "x", LABEL: OWNER, MANAGED_BY: MANAGER}
        assert document == given

    def test_again_nothing_is_written(self, server, client):
        applied(client, *ALL)
        before, writes = versions(server), len(server.writes)
        assert set(actions(applied(client, *ALL)).values()) == {"unchanged"}
        assert versions(server) == before
        assert len(server.writes) == writes

    def test_a_change_takes_away_what_is_said_no_more_and_leaves_what_others_said(self, server, client):
        applied(client, config(colour="blue", size="3"), config("other"))
        theirs = server.get("ConfigMap", "settings")
        theirs["data"]["theirs"] = "x"
        server.put(theirs, fields={("data", "theirs")})
        (change, same) = applied(client, config(colour="red"), config("other"))
        assert (change.action.value, same.action.value) == ("change", "unchanged")
        assert "-  colour: blue" in change.difference
        assert "+  colour: red" in change.difference
        assert "-  size: '3'" in change.difference
        assert server.get("ConfigMap", "settings")["data"] == {"colour": "red", "theirs": "x"}

    def test_what_a_secret_holds_no_more_is_taken_away(self, server, client):
        applied(client, manifest("Secret", "s", data={"old": "b2xk"}, stringData={"user": "clara", "password": "x"}))
        assert server.get("Secret", "s")["data"] == {"old": "b2xk", "user": "Y2xhcmE=", "password": "eA=="}
        applied(client, manifest("Secret", "s", stringData={"user": "clara"}))
        assert server.get("Secret", "s")["data"] == {"user": "Y2xhcmE="}

    def test_status_and_what_the_server_counts_are_no_change(self, server, client):
        applied(client, manifest("Deployment", "d", "apps/v1", spec={"replicas": 1}))
        server.set_status("Deployment", "d", {"replicas": 1})
        again = applied(client, manifest("Deployment", "d", "apps/v1", spec={"replicas": 1}))
        assert actions(again) == {"Deployment default/d": "unchanged"}

    def test_what_is_there_and_not_ours_is_refused(self, server, client):
        server.put(config(colour="green"))
        foreign = config("foreign")
        foreign["metadata"]["labels"] = {LABEL: "another", MANAGED_BY: MANAGER}
        server.put(foreign)
        helm = config("helm")
        helm["metadata"]["labels"] = {MANAGED_BY: "Helm"}
        server.put(helm)
        with pytest.raises(ManifestError) as told:
            applied(client, config("new"), config(), config("foreign"), config("helm"))
        text = str(told.value)
        assert f"ConfigMap default/settings exists, and it was made by something else: it has no label {LABEL}" in text
        assert "ConfigMap default/foreign exists, and it belongs to 'another', and not to 'pipelines'" in text
        assert "but is managed by Helm" in text
        assert "adopt=True" in text
        assert server.writes == []

    def test_adopted(self, server, client):
        server.put(config(colour="green"))
        assert actions(applied(client, config(colour="green"), adopt=True)) == {"ConfigMap default/settings": "change"}
        assert server.get("ConfigMap", "settings")["metadata"]["labels"][LABEL] == OWNER
        assert actions(applied(client, config(colour="green"))) == {"ConfigMap default/settings": "unchanged"}

    def test_conflicts_name_fields_and_managers(self, server, client):
        applied(client, config(colour="blue", size="3"))
        ours = server.get("ConfigMap", "settings")
        server.put({**ours, "data": {"colour": "green", "size": "3"}}, "kubectl", fields={("data", "colour")})
        with pytest.raises(ManifestError) as told:
            applied(client, config(colour="blue", size="3"), config("new"))
        text = str(told.value)
        assert '.data.colour (conflict with "kubectl" using v1)' in text
        assert "force_conflicts=True" in text
        assert server.get("ConfigMap", "new") is None
        applied(client, config(colour="blue", size="3"), force_conflicts=True)
        assert server.get("ConfigMap", "settings")["data"]["colour"] == "blue"

    def test_same_values_of_another_manager_are_taken_over_without_a_difference(self, server, client):
        applied(client, config())
        applied(client, config(), field_manager="other")
        (change,) = applied(client, config(), field_manager="third")
        assert (change.action.value, change.difference) == ("change", ())
        assert "third comes to manage" in change.reason


class TestBadInput:
    def test_all_of_it_is_told_and_nothing_written(self, server, client):
        wrong = [
            manifest("Cluster", "kept"),
            manifest("Deployment", "web"),
            config("twice"),
            config("twice", namespace="default"),
            manifest("Namespace", "n", namespace="default"),
        ]
        labelled = config("labelled")
        labelled["metadata"]["labels"] = {LABEL: "another"}
        with pytest.raises(ManifestError) as told:
            applied(client, config("good"), *wrong, labelled)
        text = str(told.value)
        assert "Cluster kept: the cluster knows no Cluster of v1" in text
        # It is of apps/v1.
        assert "Deployment web: the cluster knows no Deployment of v1" in text
        assert "ConfigMap default/twice is described 2 times" in text
        assert "Namespace n: its kind has no namespaces, and it names 'default'" in text
        assert f"ConfigMap default/labelled: its label {LABEL} is 'another', and not 'pipelines'" in text
        assert server.writes == []

    def test_what_the_server_has_against_any_is_told_before_the_first_write(self, server, client):
        server.refusals = {"a": (422, "ConfigMap is invalid: data: Too long"), "b": (403, "you may not")}
        with pytest.raises(ManifestError) as told:
            applied(client, config("good"), config("a"), config("b"), config("c", namespace="nowhere"))
        text = str(told.value)
        assert (
            "ConfigMap default/a: Kubernetes answered 422 Unprocessable Entity: ConfigMap is invalid: data: Too long"
            in text
        )
        assert "ConfigMap default/b: Kubernetes answered 403 Forbidden: you may not" in text
        assert 'namespaces "nowhere" not found' in text
        assert server.writes == []

    def test_what_an_old_server_can_make_no_sense_of_is_not_tried_again(self, server, client):
        server.refusals = {
            "a": (500, "failed to create typed patch object: .spec.replica: field not declared in schema")
        }
        with pytest.raises(ManifestError, match=r"\.spec\.replica: field not declared"):
            applied(client, config("a"))
        assert sum(request.startswith("PATCH") for request in server.requests) == 1

    def test_no_manifests_and_no_names(self, client):
        with pytest.raises(ManifestError) as told:
            applied(client, owner="not one", namespace="Not")
        text = str(told.value)
        assert all(each in text for each in ("there is no manifest", "owner 'not one'", "namespace 'Not'"))

    def test_a_server_that_is_not_there(self, server):
        from kubernetes.client import ApiClient, Configuration

        nobody = Configuration(host="http://127.0.0.1:9")
        nobody.retries = False
        with ApiClient(nobody) as client, pytest.raises(KubernetesError, match="was not reached"):
            applied(client, config())

    def test_what_could_not_be_tried_before_is_tried_before_the_rest_is_written(self, server, client):
        server.refusals = {"one": (422, "Thing is invalid: spec.size: must be even"), "bad": (422, "no")}
        with pytest.raises(ManifestError) as told:
            applied(client, *ALL, config("bad", namespace="things"))
        assert "spec.size: must be even" in str(told.value)
        assert "ConfigMap things/bad" in str(told.value)
        assert server.get("Namespace", "things")
        assert server.get("ConfigMap", "settings") is None

    def test_a_kind_that_is_never_served(self, server, client):
        server.looks_until_established = 10**6
        with pytest.raises(ManifestError, match="not established in time"):
            applied(client, *ALL, timeout=0.2)
        server.looks_until_established = 1
        assert actions(applied(client, *ALL))["Thing things/one"] == "create"


class TestDryRun:
    def test_nothing_is_written_and_all_is_told(self, server, client):
        before = versions(server)
        changes = applied(client, *ALL, dry_run=True)
        assert set(actions(changes).values()) == {"create"}
        assert all(change.difference for change in changes)
        assert (server.writes, versions(server)) == ([], before)

    def test_what_comes_of_it_is_what_the_server_says(self, server, client):
        applied(client, config(colour="blue"))
        (change,) = applied(client, config(colour="red"), dry_run=True)
        assert change.to_json() == {"object": "ConfigMap default/settings", "action": "change"}
        assert server.get("ConfigMap", "settings")["data"] == {"colour": "blue"}

    def test_secrets_are_hidden(self, client):
        secret = manifest("Secret", "s", data={"password": "aHVudGVyMg=="}, stringData={"user": "clara"})
        applied(client, secret)
        changed = manifest("Secret", "s", data={"password": "bmV3"}, stringData={"user": "clara"})
        (change,) = applied(client, changed, dry_run=True)
        text = "\n".join(change.difference)
        assert "+  password: <hidden, and changed>" in text
        assert not any(each in text for each in ("aHVudGVyMg", "bmV3", "clara"))
        assert "bmV3" not in repr(change)

    def test_a_webhook_that_cannot_be_tried_is_no_error(self, server, client):
        server.refusals = {"settings": (400, "admission webhook w does not support dry run")}
        (change,) = applied(client, config(), dry_run=True)
        assert change.action.value == "create"
        assert "webhook" in change.reason


class Killed(BaseException):
    """Stands for the end of the process."""


class TestKilled:
    @pytest.mark.parametrize("writes", range(len(ALL)))
    def test_the_next_run_finishes_what_was_cut_short(self, server, client, writes, monkeypatch):
        kill_after(monkeypatch, "apply", writes)
        with pytest.raises(Killed):
            applied(client, *ALL)
        monkeypatch.undo()
        found = actions(applied(client, *ALL))
        assert sorted(found.values()) == ["create"] * (len(ALL) - writes) + ["unchanged"] * writes
        assert set(actions(applied(client, *ALL)).values()) == {"unchanged"}

    @pytest.mark.parametrize("writes", range(len(ALL)))
    def test_deletion_too(self, server, client, writes, monkeypatch):
        applied(client, *ALL)
        kill_after(monkeypatch, "delete", writes)
        with pytest.raises(Killed):
            deleted(client, *ALL)
        monkeypatch.undo()
        found = actions(deleted(client, *ALL))
        assert sorted(found.values()) == ["absent"] * writes + ["delete"] * (len(ALL) - writes)
        assert set(actions(deleted(client, *ALL)).values()) == {"absent"}

    def test_what_is_still_being_deleted_is_waited_for_and_made_again(self, server, client):
        ending = config()
        ending["metadata"] |= {"finalizers": ["example.com/wait"]}
        applied(client, ending)
        with pytest.raises(ManifestError, match=r"settings: deleted since .*; it waits for example.com/wait"):
            deleted(client, ending, timeout=0.1)
        with pytest.raises(ManifestError, match="not gone in time"):
            applied(client, ending, timeout=0.1)
        (change,) = applied(client, ending, dry_run=True)
        assert (change.action.value, change.reason) == ("create", "the one that is there is being deleted")
        former = server.get("ConfigMap", "settings")["metadata"]["uid"]
        server.release("ConfigMap", "settings")
        assert actions(applied(client, ending)) == {"ConfigMap default/settings": "create"}
        assert server.get("ConfigMap", "settings")["metadata"]["uid"] != former


def kill_after(monkeypatch, method, writes):
    """Have the process end at a write, when so many are done."""
    original, done = getattr(object_api.ObjectApi, method), itertools.count()

    def mortal(self, *args, **kwargs):
        if not kwargs.get("dry_run") and next(done) == writes:
            raise Killed
        return original(self, *args, **kwargs)

    monkeypatch.setattr(object_api.ObjectApi, method, mortal)


class TestServerWithTooMuchToDo:
    def test_it_is_asked_again(self, server, client, monkeypatch):
        monkeypatch.setattr(object_api, "_PATIENCE", 30)
        monkeypatch.setattr(object_api, "_LONGEST_PAUSE", 0.01)
        server.failures = [503, 429, 500]
        assert actions(applied(client, config())) == {"ConfigMap default/settings": "create"}
        assert server.failures == []

    def test_not_without_end(self, server, client):
        applied(client, config())
        server.failures = [503] * 10**4
        with pytest.raises(KubernetesError, match="503 Service Unavailable: try again"):
            deleted(client, config())


class TestDelete:
    def test_only_what_is_ours_and_in_reverse(self, server, client):
        applied(client, *ALL)
        server.put(config("theirs", namespace="default"))
        changes = deleted(client, *ALL, config("theirs"), config("nowhere", namespace="gone"))
        assert [str(change.reference) for change in changes] == [
            "Thing things/one",
            "ConfigMap gone/nowhere",
            "ConfigMap default/theirs",
            "ConfigMap default/settings",
            "ConfigMap things/settings",
            "CustomResourceDefinition things.example.com",
            "Namespace things",
        ]
        assert actions(changes)["ConfigMap default/theirs"] == "keep"
        assert actions(changes)["ConfigMap gone/nowhere"] == "absent"
        assert server.get("ConfigMap", "theirs") is not None
        assert server.get("Namespace", "things") is None

    def test_where_nothing_is_nothing_happens(self, server, client):
        assert set(actions(deleted(client, *ALL)).values()) == {"absent"}
        assert server.writes == []

    def test_dry_run(self, server, client):
        applied(client, *ALL)
        writes = len(server.writes)
        assert set(actions(deleted(client, *ALL, dry_run=True)).values()) == {"delete"}
        assert len(server.writes) == writes

    def test_custom_resources_are_gone_before_the_rest_is_deleted(self, server, client):
        thing = copy.deepcopy(THING)
        thing["metadata"]["finalizers"] = ["example.com/wait"]
        everything = [thing, *ALL[1:]]
        applied(client, *everything)
        with pytest.raises(ManifestError, match="Thing things/one"):
            deleted(client, *everything, timeout=0.1)
        assert server.get("ConfigMap", "settings") is not None
        server.release("Thing", "one", "things")
        deleted(client, *everything)
        assert server.get("ConfigMap", "settings") is None

    def test_how_it_is_passed_on_is_chosen(self, server, client):
        applied(client, config())
        uid = server.get("ConfigMap", "settings")["metadata"]["uid"]
        deleted(client, config(), propagation="Orphan")
        (options,) = server.deletions
        assert options["propagationPolicy"] == "Orphan"
        assert options["preconditions"] == {"uid": uid}
