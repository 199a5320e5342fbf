"""What is new about a release, and what is shown of it."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from airflow_eks_dask.helm.changes import Wanted, changes, chart_name
from airflow_eks_dask.helm.difference import Rendered
from airflow_eks_dask.helm.releases import Revision

MANIFEST = """---
# Source: app/templates/config.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: app
data:
  colour: {colour}
---
apiVersion: v1
kind: Secret
metadata:
  name: app
data:
  password: {password}
  user: YWRh
"""


def rendered(colour="blue", password="b2xkLXNlY3JldA==", config=None, hooks=()):
    manifest = MANIFEST.format(colour=colour, password=password)
    return Rendered.from_json(
        {"config": config, "manifest": manifest, "hooks": [{"manifest": each} for each in hooks], "info": {}}
    )


def revision(status="deployed", chart="app-1.0.0"):
    return Revision(3, status, datetime.now(timezone.utc), chart)


def test_nothing_is_new():
    new = changes(revision(), rendered(), Wanted("app-1.0.0", rendered()))
    assert new.reasons == ()
    assert new.manifests == ()


def test_all_that_is_new_is_told():
    after = rendered(colour="red", config={"a": {"b": 2, "c": None}, "d": 1})
    new = changes(revision(), rendered(config={"a": {"b": 1}}), Wanted("app-1.1.0", after))
    assert new.reasons == (
        "chart app-1.0.0 becomes app-1.1.0",
        "values differ: a.b, a.c, d",
        "manifests differ: ConfigMap/app",
    )
    assert "-  colour: blue" in new.manifests
    assert "+  colour: red" in new.manifests


def test_a_secret_differs_and_is_not_shown():
    new = changes(revision(), rendered(), Wanted("app-1.0.0", rendered(password="bmV3LXNlY3JldA==")))
    assert new.reasons == ("manifests differ: Secret/app",)
    shown = "\n".join(new.manifests)
    assert "+  password: <hidden, and changed>" in new.manifests
    assert "   user: <hidden>" in new.manifests
    assert "b2xkLXNlY3JldA" not in shown
    assert "bmV3LXNlY3JldA" not in shown


def test_of_a_first_install_all_is_new_and_no_secret_shown():
    new = changes(None, None, Wanted("app-1.0.0", rendered(config={"a": 1})))
    assert new.reasons == ("it is not there yet", "manifests differ: ConfigMap/app, Secret/app")
    assert "+  password: <hidden>" in new.manifests


def test_hooks_count():
    hook = "kind: Job\nmetadata: {name: migrate}\nspec: {image: a}"
    new = changes(revision(), rendered(hooks=[hook]), Wanted("app-1.0.0", rendered(hooks=[hook.replace("a}", "b}")])))
    assert new.reasons == ("manifests differ: Job/migrate",)


@pytest.mark.parametrize("status", ["failed", "superseded"])
def test_a_revision_that_is_not_deployed_is_made_anew(status):
    new = changes(revision(status), rendered(), Wanted("app-1.0.0", rendered()))
    assert new.reasons == (f"its last revision, 3, is {status}",)


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("pipeline-0.1.0", "pipeline"),
        ("kube-prometheus-stack-75.1.0", "kube-prometheus-stack"),
        ("metrics-server-3.12.2-rc.1", "metrics-server"),
    ],
)
def test_name_of_a_chart(label, name):
    assert chart_name(label) == name
