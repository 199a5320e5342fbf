"""An old Tiller removed from a real cluster: all of it, nothing else, and harmlessly where there is none."""

from __future__ import annotations

import pytest
from kubernetes import client, config, utils

from airflow_eks_dask.helm.tiller import TillerRemoval
from airflow_eks_dask.operators.tiller import RemoveTillerOperator
from tests.conftest import eventually

pytestmark = pytest.mark.any_airflow

LABELS = {"app": "helm", "name": "tiller"}


def account(name):
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}


def binding(name, *subjects):
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": each, "namespace": namespace} for namespace, each in subjects],
    }


def deployment(name, labels, service_account="default"):
    """A Deployment whose pods no node takes: they wait, and end at once."""
    container = {"name": "tiller", "image": "registry.invalid/tiller:v2.16.1"}
    pod = {"serviceAccountName": service_account, "containers": [container], "nodeSelector": {"there-is": "none"}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def helm_init():
    """What `helm init --service-account tiller` made, and two releases."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "tiller-deploy", "labels": LABELS},
        "spec": {"ports": [{"name": "tiller", "port": 44134}], "selector": LABELS},
    }
    records = [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{name}.v{n}", "labels": {"OWNER": "TILLER", "NAME": name, "VERSION": str(n)}},
        }
        for name, n in (("pipeline", 1), ("pipeline", 2), ("dashboard", 1))
    ]
    return [account("tiller"), deployment("tiller-deploy", LABELS, "tiller"), service, *records]


@pytest.fixture
def api(kubernetes):
    with config.new_client_from_config(str(kubernetes)) as made:
        yield made


@pytest.fixture
def bindings(api, namespace):
    """Names of two ClusterRoleBindings of the test's own."""
    names = [f"{namespace}-tiller", f"{namespace}-shared"]
    yield names
    rbac = client.RbacAuthorizationV1Api(api)
    for name in names:
        try:
            rbac.delete_cluster_role_binding(name)
        except client.ApiException as error:
            if error.status != 404:
                raise


def create(api, namespace, *objects):
    for each in objects:
        utils.create_from_dict(api, each, namespace=namespace)


def remove(kubernetes, namespace, **changes):
    return RemoveTillerOperator(
        task_id="t", kubeconfig=str(kubernetes), namespace=namespace, poll_interval=0.2, **changes
    ).execute({})


def names(listed):
    return sorted(each.metadata.name for each in listed.items)


def test_all_of_it_goes_and_nothing_else(api, kubernetes, namespace, bindings):
    own, _ = bindings
    create(api, namespace, *helm_init(), binding(own, (namespace, "tiller")))
    other = {"app": "helm", "name": "other"}
    create(api, namespace, deployment("tiller-look-alike", other), account("other"))
    all_of_it = [
        "Deployment tiller-deploy",
        "Service tiller-deploy",
        f"ClusterRoleBinding {own}",
        "ServiceAccount tiller",
    ]
    assert remove(kubernetes, namespace, dry_run=True) == {"removed": all_of_it, "kept": []}
    assert remove(kubernetes, namespace) == {"removed": all_of_it, "kept": []}
    core, apps = client.CoreV1Api(api), client.AppsV1Api(api)
    assert names(apps.list_namespaced_deployment(namespace)) == ["tiller-look-alike"]
    assert names(core.list_namespaced_service(namespace)) == []
    assert names(core.list_namespaced_service_account(namespace)) == ["default", "other"]
    records = core.list_namespaced_config_map(namespace, label_selector="OWNER=TILLER")
    assert names(records) == ["dashboard.v1", "pipeline.v1", "pipeline.v2"]
    assert remove(kubernetes, namespace) == {"removed": [], "kept": []}


def test_where_there_is_none(kubernetes, namespace):
    assert remove(kubernetes, namespace) == {"removed": [], "kept": []}
    assert remove(kubernetes, f"{namespace}-nowhere") == {"removed": [], "kept": []}


def test_what_others_use_stays(api, kubernetes, namespace, bindings):
    own, shared = bindings
    create(api, namespace, *helm_init(), binding(own, (namespace, "tiller")))
    create(api, namespace, binding(shared, (namespace, "tiller"), (namespace, "other")))
    assert remove(kubernetes, namespace, dry_run=True)["kept"] == [
        f"ClusterRoleBinding {shared}: binds others beside tiller"
    ]
    lodger = {"app": "lodger"}
    create(api, namespace, deployment("lodger", lodger, "tiller"))
    eventually_pods(api, namespace, "app=lodger")
    found = remove(kubernetes, namespace)
    assert found["removed"] == ["Deployment tiller-deploy", "Service tiller-deploy"]
    (kept,) = found["kept"]
    assert kept.startswith("ServiceAccount tiller and its bindings: used by pod lodger-")
    core = client.CoreV1Api(api)
    assert "tiller" in names(core.list_namespaced_service_account(namespace))


def eventually_pods(api, namespace, selector):
    core = client.CoreV1Api(api)
    eventually(lambda: core.list_namespaced_pod(namespace, label_selector=selector).items, what="the pod is there")


@pytest.mark.parametrize("deletions", [1, 2, 3])
def test_what_was_cut_short_is_finished_by_the_next_run(api, kubernetes, namespace, bindings, deletions):
    own, _ = bindings
    create(api, namespace, *helm_init(), binding(own, (namespace, "tiller")))
    removal = TillerRemoval(api, namespace)
    for kind, name in removal.find().remove[:deletions]:
        removal.delete(kind, name)
    removal.wait_until_gone(30, 0.2, print)
    assert len(remove(kubernetes, namespace)["removed"]) == 4 - deletions
    assert removal.find().remove == []
