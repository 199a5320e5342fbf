"""Wrong values are refused, in words that say which and why."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.chart.rendering import API, CHART, IN_CLUSTER_API, TLS, USUAL, changed

pytestmark = pytest.mark.any_airflow

PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
SCHEMA = json.loads((CHART / "values.schema.json").read_text())


def workers(*groups):
    return {"workers": [{"name": "a", **group} for group in groups]}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"worker": []}, "additional properties 'worker' not allowed"),
        ({"image": {"tagg": "1"}}, "at '/image': additional properties 'tagg' not allowed"),
        (workers({"slot": 3}), "additional properties 'slot' not allowed"),
        (workers({"slots": 0}), "at '/workers/0/slots': minimum: got 0, want 1"),
        (workers({"slots": "four"}), "at '/workers/0/slots': got string, want integer"),
        (workers({"name": "Big One"}), "at '/workers/0/name': 'Big One' does not match"),
        ({"workers": [{"slots": 3}]}, "missing property 'name'"),
        ({"workers": []}, "at '/workers': minItems: got 0, want 1"),
        (workers({"queues": []}), "at '/workers/0/queues': minItems: got 0, want 1"),
        (workers({"queues": ["a,b"]}), "at '/workers/0/queues/0': 'a,b' does not match"),
        (workers({"env": {"A": 1}}), "at '/workers/0/env/A': got number, want string or object"),
        (workers({"env": {"A": {"secretKeyRef": {}}}}), "at '/workers/0/env/A': missing property 'valueFrom'"),
        ({"workerDefaults": {"drainTimeout": -1}}, "at '/workerDefaults/drainTimeout': minimum: got -1, want 1"),
        ({"service": {"type": "External"}}, "value must be one of 'LoadBalancer', 'ClusterIP', 'NodePort'"),
        ({"podDisruptionBudget": {"maxUnavailable": 0}}, "at '/podDisruptionBudget/maxUnavailable'"),
        ({"service": {"loadBalancerSourceRanges": ["10.0.0.1"]}}, "'10.0.0.1' does not match"),
        ({"executionApi": {"caCertificate": "/etc/ssl/ca.pem"}}, "'/etc/ssl/ca.pem' does not match"),
    ],
)
def test_values_of_a_wrong_form(chart, changes, words):
    assert words in chart.refusal(changed(USUAL, changes))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (API, "tls.secretName: name the Secret with ca.crt, tls.crt and tls.key"),
        (changed(USUAL, {"tls": {"enabled": False}}), "service.type is LoadBalancer and tls.enabled false"),
        (changed(USUAL, {"service": {"public": True}}), "service.public needs service.loadBalancerSourceRanges"),
        (
            changed(USUAL, {"service": {"public": True, "loadBalancerSourceRanges": ["0.0.0.0/0"]}}),
            "0.0.0.0/0 is everybody",
        ),
        (changed(USUAL, {"service": {"public": True, "type": "NodePort"}}), "service.public is for service.type="),
        (
            changed(
                USUAL,
                {
                    "service": {
                        "annotations": {"service.beta.kubernetes.io/aws-load-balancer-scheme": "internet-facing"}
                    }
                },
            ),
            "makes the load balancer public; set service.public instead",
        ),
        (TLS, "executionApi.url: say where workers reach Airflow's execution API"),
        (changed(USUAL, {"executionApi": {"url": "http://airflow:8080"}}), "http://airflow:8080 is not of the form"),
        (changed(USUAL, IN_CLUSTER_API), "executionApi.url is of no use with executionApi.enabled"),
        (
            changed(USUAL, {"executionApi": {"caCertificate": PEM, "tlsSecretName": "api-tls"}}),
            "executionApi.caCertificate: is for an executionApi.url that begins with https",
        ),
        ({**TLS, "executionApi": {"enabled": True}}, "executionApi.jwtSecretName: needed with executionApi.enabled"),
        (changed(USUAL, workers({}, {})), "two groups are called a"),
        (changed(USUAL, workers({"keda": {"enabled": True}})), "workers[a].keda.secretName: name the Secret"),
        (
            changed(USUAL, workers({"keda": {"enabled": True, "secretName": "s", "minReplicaCount": 99}})),
            "minReplicaCount 99 is more than maxReplicaCount",
        ),
        (changed(USUAL, workers({"daskResources": {"airflow": 3}})), "daskResources.airflow: set slots instead"),
        (changed(USUAL, {"config": {"core": {"fernet_key": "x"}}}), "config.core.fernet_key: looks like a secret"),
        (
            changed(USUAL, {"config": {"dask": {"queues": "x"}}}),
            "config.dask.queues: the chart sets it",
        ),
        (
            changed(USUAL, workers({"env": {"AIRFLOW_CONN_LAKE": "s3://key:hush@bucket"}})),
            "workers[a].env.AIRFLOW_CONN_LAKE: looks like a secret",
        ),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)
def test_values_that_cannot_work(chart, values, words):
    refusal = chart.refusal(values)
    assert words in refusal
    assert "hush" not in refusal


def test_all_that_is_wrong_is_said_at_once(chart):
    refusal = chart.refusal({"service": {"public": True}})
    assert "tls.secretName" in refusal
    assert "service.loadBalancerSourceRanges" in refusal
    assert "executionApi.url" in refusal


def test_a_class_of_load_balancers_is_refused_where_kubernetes_has_none(chart):
    values = changed(USUAL, {"service": {"loadBalancerClass": "eks.amazonaws.com/nlb"}})
    assert "service.loadBalancerClass needs Kubernetes 1.22; this is v1.20.2" in chart.refusal(values, "1.20.2")
    assert chart.render(values).one("Service", "pipeline-scheduler")["spec"]["loadBalancerClass"]


def test_kubernetes_may_be_too_old(chart):
    assert "requires kubeVersion: >=1.20.0-0" in chart.refusal(USUAL, "1.19.0")


def test_groups_may_differ_in_all_that_has_a_default():
    defaults = SCHEMA["properties"]["workerDefaults"]["properties"]
    group = SCHEMA["properties"]["workers"]["items"]["properties"]
    assert group.keys() == defaults.keys() | {"name"}


def test_the_schema_knows_all_values_and_no_others():
    def paths(values, prefix=""):
        for name, value in values.items():
            yield f"{prefix}{name}"
            if isinstance(value, dict) and "properties" in resolved(f"{prefix}{name}"):
                yield from paths(value, f"{prefix}{name}.")

    def resolved(path):
        schema = SCHEMA
        for name in path.split("."):
            schema = schema["properties"][name]
            if reference := schema.get("$ref"):
                schema = SCHEMA["$defs"][reference.rpartition("/")[2]]
        return schema

    def known(schema, prefix=""):
        for name in schema.get("properties", {}):
            yield f"{prefix}{name}"
            inner = resolved(f"{prefix}{name}")
            if not name.startswith("resources"):
                yield from known(inner, f"{prefix}{name}.")

    values = yaml.safe_load((CHART / "values.yaml").read_text())
    given = {path for path in paths(values) if ".resources." not in path}
    assert given == set(known(SCHEMA)) - {"global"}
