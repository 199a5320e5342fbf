"""Manifests as people write them: read from anywhere, and all that is wrong with them told at once."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from airflow_eks_dask.manifests import ownership
from airflow_eks_dask.manifests.difference import difference
from airflow_eks_dask.manifests.documents import flattened, namespace_problems, problems, secret_values
from airflow_eks_dask.manifests.errors import ManifestError
from airflow_eks_dask.manifests.objects import Reference
from airflow_eks_dask.manifests.order import deletion_stages, sorted_for_apply
from airflow_eks_dask.manifests.sources import read_manifests

pytestmark = pytest.mark.any_airflow

ONE = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}}
TWO = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "two"}}
TEXT = """
apiVersion: v1
kind: ConfigMap
metadata: {name: one}
---
# nothing
---
{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "two"}}
"""


class TestSources:
    def test_text(self):
        assert read_manifests(TEXT) == [ONE, TWO]

    def test_a_line_of_text(self):
        assert read_manifests("apiVersion: v1") == [{"apiVersion": "v1"}]

    def test_mappings_and_texts_together(self):
        assert read_manifests([ONE, '{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "two"}}']) == [
            ONE,
            TWO,
        ]
        assert read_manifests(ONE) == [ONE]

    def test_a_file_beside_the_dag(self, tmp_path):
        (tmp_path / "all.yaml").write_text(TEXT)
        assert read_manifests("all.yaml", [tmp_path]) == [ONE, TWO]
        assert read_manifests(Path("all.yaml"), [tmp_path]) == [ONE, TWO]
        assert read_manifests(str(tmp_path / "all.yaml")) == [ONE, TWO]

    def test_a_folder_in_the_order_of_names(self, tmp_path):
        folder = tmp_path / "manifests"
        folder.mkdir()
        (folder / "2.yml").write_text("{apiVersion: v1, kind: ConfigMap, metadata: {name: two}}")
        (folder / "1.json").write_text('{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "one"}}')
        (folder / "README.md").write_text("no: [manifest")
        assert read_manifests("manifests", [tmp_path]) == [ONE, TWO]

    def test_a_file_of_the_package(self):
        assert [each["kind"] for each in read_manifests("eks-admin.yaml")] == ["ServiceAccount", "ClusterRoleBinding"]

    def test_all_that_cannot_be_read_is_told_and_no_content(self, tmp_path):
        (tmp_path / "broken.yaml").write_text("password: hunter2\nx: [hunter2")
        (tmp_path / "empty").mkdir()
        with pytest.raises(ManifestError) as told:
            read_manifests(["nowhere.yaml", "broken.yaml", "empty/", 7, "a: b: c"], [tmp_path])
        text = str(told.value)
        assert "nowhere.yaml: there is no such file" in text
        assert "broken.yaml is no YAML, line 2" in text
        assert "empty: there is no .yaml" in text
        assert "not int" in text
        assert "the text of the manifests is no YAML, line 1" in text
        assert "hunter2" not in text

    def test_a_date_stays_text(self):
        assert read_manifests("on: 2026-11-01\n") == [{True: "2026-11-01"}]


class TestProblems:
    def test_none(self):
        assert problems([ONE, TWO]) == []

    @pytest.mark.parametrize(
        ("document", "problem"),
        [
            ("text", "document 1: it is no mapping, but a str"),
            ({"kind": "ConfigMap", "metadata": {"name": "x"}}, "document 1 (ConfigMap x): it has no apiVersion"),
            ({**ONE, "apiVersion": "../v1"}, "document 1 (ConfigMap one): apiVersion '../v1' is none"),
            ({"apiVersion": "v1", "metadata": {"name": "x"}}, "document 1 (x): it has no kind"),
            ({**ONE, "kind": 3}, "document 1 (one): kind 3 is none"),
            ({"apiVersion": "v1", "kind": "ConfigMap"}, "document 1 (ConfigMap): it has no metadata.name"),
            ({**ONE, "metadata": []}, "document 1 (ConfigMap): its metadata is no mapping"),
            (
                {**ONE, "metadata": {"generateName": "x-"}},
                "document 1 (ConfigMap): it has no metadata.name (generateName makes another object with each run)",
            ),
            ({**ONE, "metadata": {"name": "a/b"}}, "document 1 (ConfigMap a/b): metadata.name 'a/b' is no name"),
            (
                {**ONE, "metadata": {"name": "x", "namespace": "A"}},
                f"document 1 (ConfigMap x): {namespace_problems('A')[0]}",
            ),
            (
                {**ONE, "metadata": {"name": "x", "labels": {"a": 1}}},
                "document 1 (ConfigMap x): its labels are no mapping of texts to texts: quote numbers and truth values",
            ),
        ],
    )
    def test_each(self, document, problem):
        assert problems([document]) == [problem]

    def test_what_a_secret_holds_is_not_told(self):
        data = {"good": "YWJj", "number": 8675309, "clear": "hunter2!"}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": data, "stringData": 7}
        told = problems([secret])
        assert told == [
            "document 1 (Secret s): data[number] is no text, but a int: quote it",
            "document 1 (Secret s): data[clear] is not in base64: stringData takes it as it is",
            "document 1 (Secret s): its stringData is no mapping",
        ]

    def test_lists_are_taken_apart(self):
        nested = {"apiVersion": "v1", "kind": "List", "items": [ONE, {"kind": "ConfigMapList", "items": [TWO]}]}
        assert list(flattened([nested, ONE])) == [ONE, TWO, ONE]

    def test_what_secrets_hold(self):
        secret = {"kind": "Secret", "data": {"a": base64.b64encode(b"hunter2").decode()}, "stringData": {"b": "clear"}}
        assert list(secret_values([secret, ONE, "text"])) == ["aHVudGVyMg==", "hunter2", "clear", "Y2xlYXI="]

    @pytest.mark.parametrize("owner", ["", "-a", "a" * 64, None, "a b"])
    def test_owners_that_can_be_no_label(self, owner):
        assert ownership.problems(owner)

    def test_owners(self):
        assert ownership.problems("pipelines_1.a-b") == []


def reference(kind, name="x", api_version="v1"):
    return Reference(api_version, kind, "default", name)


class TestOrder:
    def test_what_is_needed_goes_first(self):
        given = [
            reference("Thing", api_version="example.com/v1"),
            reference("ValidatingWebhookConfiguration", api_version="admissionregistration.k8s.io/v1"),
            reference("Deployment", "b", "apps/v1"),
            reference("Deployment", "a", "apps/v1"),
            reference("ConfigMap"),
            reference("CustomResourceDefinition", api_version="apiextensions.k8s.io/v1"),
            reference("Namespace"),
        ]
        kinds = [(each.kind, each.name) for each in sorted_for_apply(given)]
        assert kinds == [
            ("Namespace", "x"),
            ("CustomResourceDefinition", "x"),
            ("ConfigMap", "x"),
            ("Deployment", "b"),
            ("Deployment", "a"),
            ("Thing", "x"),
            ("ValidatingWebhookConfiguration", "x"),
        ]

    def test_custom_resources_are_deleted_before_what_looks_after_them(self):
        thing = reference("Thing", api_version="example.com/v1")
        deployment, config, space = (
            reference("Deployment", api_version="apps/v1"),
            reference("ConfigMap"),
            reference("Namespace"),
        )
        assert deletion_stages([space, config, deployment, thing]) == [[thing], [deployment, config], [space]]


class TestDifference:
    def test_secrets_stay_hidden_and_so_does_what_kubectl_keeps_of_them(self):
        kept = {"kubectl.kubernetes.io/last-applied-configuration": '{"data":{"a":"b2xk"}}', "note": "1"}
        before = {"kind": "Secret", "metadata": {"annotations": kept}, "data": {"a": "b2xk", "b": "c2FtZQ=="}}
        after = {
            "kind": "Secret",
            "metadata": {"annotations": {**kept, "note": "2"}},
            "data": {"a": "bmV3", "b": "c2FtZQ=="},
        }
        lines = difference("Secret s", before, after)
        assert "-  a: <hidden>" in lines
        assert "+  a: <hidden, and changed>" in lines
        assert "   b: <hidden>" in lines
        text = "\n".join(lines)
        assert not any(secret in text for secret in ("b2xk", "bmV3", "c2FtZQ"))

    def test_of_what_is_new(self):
        lines = difference("Secret s", None, {"kind": "Secret", "data": {"a": "bmV3"}})
        assert "+  a: <hidden>" in lines

    def test_nothing(self):
        assert difference("ConfigMap one", ONE, dict(ONE)) == []
