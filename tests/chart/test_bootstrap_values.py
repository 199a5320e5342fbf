"""What the form of a cluster means for the chart."""

from __future__ import annotations

import json
from configparser import ConfigParser
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.configuration import conf

from airflow_eks_dask.bootstrap.form import bootstrap_form, complete
from airflow_eks_dask.bootstrap.parts import WORKER_ACCOUNT
from airflow_eks_dask.bootstrap.settings import Settings
from airflow_eks_dask.bootstrap.values import CERTIFICATES_ANNOTATION, chart_values, restarted_with
from airflow_eks_dask.certificates import make_authority
from tests.chart.rendering import changed, environment

AWS = SimpleNamespace(account_id="123456789012", partition="aws", region="eu-central-1")


def settings(**form):
    form = {"execution_api_url": "https://airflow.example.com/execution/", **form}
    return Settings.read(complete(form, bootstrap_form()), AWS)


@pytest.fixture
def render(chart):
    def render(**form):
        chosen = settings(**form)
        values = changed(chart_values(chosen), restarted_with("0123abc"))
        return chart.render(changed(values, chosen.helm_values))

    return render


def test_the_defaults_make_a_release(render):
    manifests = render()
    worker = manifests.container("pipeline-worker-default")
    image = "123456789012.dkr.ecr.eu-central-1.amazonaws.com/airflow-eks-dask:"
    assert worker["image"].startswith(image)
    assert worker["resources"]["limits"]["memory"] == "3Gi"
    assert manifests.one("Deployment", "pipeline-worker-default")["spec"]["replicas"] == 2
    config = ConfigParser(interpolation=None)
    config.read_string(manifests.one("ConfigMap", "pipeline-airflow")["data"]["airflow.cfg"])
    assert config["core"]["execution_api_server_url"] == "https://airflow.example.com/execution/"
    bundles = json.loads(config["dag_processor"]["dag_bundle_config_list"])
    assert bundles == conf.getjson("dag_processor", "dag_bundle_config_list")


def test_workers_know_the_execution_api_by_the_authority_that_the_form_has(render):
    authority = make_authority(datetime.now(timezone.utc)).certificate_pem().decode()
    manifests = render(execution_api_ca=authority)
    assert manifests.one("ConfigMap", "pipeline-airflow")["data"]["execution-api-ca.crt"] == authority
    worker = manifests.container("pipeline-worker-default")
    assert {"name": "config", "mountPath": "/etc/airflow", "readOnly": True} in worker["volumeMounts"]
    assert environment(worker)["AIRFLOW__API__SSL_CERT"] == "/etc/airflow/execution-api-ca.crt"
    before, after = (worker_checksum(each) for each in (render(), manifests))
    assert before != after, "nothing restarts the workers"


def worker_checksum(manifests):
    pod = manifests.one("Deployment", "pipeline-worker-default")["spec"]["template"]
    return pod["metadata"]["annotations"]["checksum/config"]


def test_workers_have_the_account_that_gets_the_role(render):
    pod = render().one("Deployment", "pipeline-worker-default")["spec"]["template"]
    assert pod["spec"]["serviceAccountName"] == WORKER_ACCOUNT


def test_pods_are_restarted_when_certificates_are_new(render):
    manifests = render()
    for name in ("pipeline-scheduler", "pipeline-worker-default"):
        annotations = manifests.one("Deployment", name)["spec"]["template"]["metadata"]["annotations"]
        assert annotations[CERTIFICATES_ANNOTATION] == "0123abc"


def test_the_scheduler_has_a_public_address_for_those_only_who_are_named(render):
    inside = render().one("Service", "pipeline-scheduler")
    assert inside["metadata"]["annotations"]["service.beta.kubernetes.io/aws-load-balancer-scheme"] == "internal"
    outside = render(dask_source_ranges=["203.0.113.7/32"]).one("Service", "pipeline-scheduler")
    scheme = outside["metadata"]["annotations"]["service.beta.kubernetes.io/aws-load-balancer-scheme"]
    assert scheme == "internet-facing"
    assert outside["spec"]["loadBalancerSourceRanges"] == ["203.0.113.7/32"]


def test_further_values_go_before_the_form(render):
    groups = [{"name": "default"}, {"name": "large", "queues": ["large"], "slots": 1}]
    manifests = render(workers=3, helm_values={"workers": groups, "workerDefaults": {"replicas": 1}})
    assert manifests.one("Deployment", "pipeline-worker-default")["spec"]["replicas"] == 1
    assert manifests.one("Deployment", "pipeline-worker-large")


def test_what_the_image_is_called_without_a_name(monkeypatch):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com")
    china = SimpleNamespace(account_id="1" * 12, partition="aws-cn", region="cn-north-1")
    chosen = Settings.read(complete({"image_tag": "blue"}, bootstrap_form()), china)
    assert chosen.image == "111111111111.dkr.ecr.cn-north-1.amazonaws.com.cn/airflow-eks-dask:blue"
    assert chosen.execution_api_url == "https://airflow.example.com/execution/"


def test_the_chart_is_where_tasks_look_for_it():
    from airflow_eks_dask.bootstrap.dag import bootstrap_dag

    task = bootstrap_dag(None).get_task("pipeline.release")
    assert (Path(task.chart) / "Chart.yaml").is_file()
