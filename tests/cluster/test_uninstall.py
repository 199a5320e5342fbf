"""After an uninstall the cluster is as it was before the install."""

from __future__ import annotations

import pytest

from tests.cluster import inside
from tests.cluster.conftest import kubectl
from tests.conftest import eventually

pytestmark = [pytest.mark.any_airflow, pytest.mark.timeout(1200)]

EACH = '{range .items[*]}{.apiVersion} {.kind} {.metadata.namespace}/{.metadata.name}{"\\n"}{end}'
# What the cluster itself notes about those who come and go, and forgets by itself.
NOTES = {"events", "events.events.k8s.io", "leases.coordination.k8s.io", "componentstatuses"}


def everything() -> set[str]:
    """Return all objects of the cluster, of all types that it knows."""
    kinds = set(kubectl("api-resources", "--verbs=list", "--output=name").split()) - NOTES
    listed = kubectl("get", ",".join(sorted(kinds)), "--all-namespaces", "--output", f"jsonpath={EACH}")
    return set(listed.splitlines())


def test_nothing_of_ours_is_left(pipelines):
    with inside.prepared(pipelines) as installation:
        eventually(
            lambda: (
                f"v1 ConfigMap {installation.namespace}/kube-root-ca.crt" in everything()
                or "v1 ConfigMap kube-system/kube-root-ca.crt" not in everything()
            ),
            what="the cluster has put into the namespace what it puts into each",
        )
        before = everything()
        installation.ensure()
        there = {line.split()[1] for line in everything() - before}
        assert there >= {
            *("Deployment", "ReplicaSet", "Pod", "Service", "Endpoints", "ConfigMap", "Secret", "ServiceAccount"),
            *("NetworkPolicy", "PodDisruptionBudget"),
        }
        installation.uninstall()
        # What belonged to an object goes after it, by garbage collection.
        eventually(lambda: everything() <= before, timeout=120, what="all is gone")
        assert before <= everything()
