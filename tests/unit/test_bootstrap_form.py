"""The form of the DAG that builds a cluster: what it asks, and what it refuses."""

from __future__ import annotations

import pytest
from airflow.sdk.exceptions import ParamValidationError

from airflow_eks_dask.bootstrap.form import bootstrap_form, complete
from airflow_eks_dask.bootstrap.settings import Settings

ROLE = "arn:aws:iam::123456789012:role/admins"


@pytest.mark.parametrize("name", sorted(bootstrap_form()))
def test_every_field_is_explained_and_in_a_section(name):
    param = bootstrap_form()[name]
    assert param.schema["title"]
    assert param.schema["section"]
    assert param.description


def test_fields_of_a_section_stand_together():
    sections = [param.schema["section"] for param in bootstrap_form().values()]
    changes = [section for before, section in zip(["", *sections], sections, strict=False) if before != section]
    assert len(changes) == len(set(changes))


def test_the_defaults_are_valid():
    form = complete({}, bootstrap_form())
    assert form["cluster_name"] == "pipelines"
    assert form["plan_only"] is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cluster_name", ""),
        ("cluster_name", "Pipelines"),
        ("cluster_name", "1st"),
        ("cluster_name", "ends-"),
        ("cluster_name", "a" * 29),
        ("cluster_name", None),
        ("region_name", "Frankfurt"),
        ("aws_conn_id", ""),
        ("kubernetes_version", "1.x"),
        ("kubernetes_version", "newest"),
        ("public_access_cidrs", "0.0.0.0/0"),
        ("public_access_cidrs", ["everywhere"]),
        ("admins", ["ada"]),
        ("tags", {"team": 1}),
        ("vpc_id", "my-network"),
        ("private_subnet_ids", ["vpc-0123456789abcdef0"]),
        ("cidr", "10.20.0.0"),
        ("zones", 1),
        ("zones", "2"),
        ("nat_gateways", "none"),
        ("instance_types", []),
        ("instance_types", ["large"]),
        ("capacity_type", "spot"),
        ("min_nodes", 0),
        ("max_nodes", 451),
        ("disk_size", 8),
        ("workers", 0),
        ("slots", 0),
        ("threads", 0),
        ("worker_memory", "3 GB"),
        ("image_repository", "an image"),
        ("helm_values", ["tls"]),
        ("execution_api_url", "airflow.example.com"),
        ("execution_api_url", "https://airflow.example.com/"),
        ("execution_api_ca", "/etc/ssl/ca.pem"),
        ("dask_source_ranges", ["203.0.113.7"]),
        ("connection_id", "two words"),
        ("namespace", "Dask"),
        ("database", "mysql"),
        ("database_identifier", "Bad_Name"),
        ("database_class", "m7i.large"),
        ("database_storage", 5),
        ("multi_az", "yes"),
        ("plan_only", "true"),
    ],
)
def test_a_bad_value_is_refused_and_named(name, value):
    with pytest.raises(ParamValidationError, match=name):
        complete({name: value}, bootstrap_form())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("region_name", "us-gov-west-1"),
        ("region_name", None),
        ("admins", [ROLE, "arn:aws-cn:iam::123456789012:user/people/ada"]),
        ("admins", None),
        ("tags", None),
        ("kubernetes_version", "1.34"),
        ("execution_api_url", "http://10.0.0.5:8080/prefix/execution"),
        ("dask_source_ranges", ["203.0.113.7/32"]),
        ("image_repository", "123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/airflow"),
        ("instance_types", ["u-3tb1.56xlarge"]),
        ("helm_values", {"workers": [{"name": "large"}]}),
    ],
)
def test_a_good_value_is_taken(name, value):
    assert complete({name: value}, bootstrap_form())[name] == value


def test_settings_of_an_older_version_are_completed():
    given = {"account_id": "123456789012", "partition": "aws", "region_name": "eu-central-1", "workers": 7}
    settings = Settings.from_json(given)
    assert (settings.workers, settings.execution_api_ca, settings.namespace) == (7, "", "dask")


def test_a_field_that_is_not_there_is_named():
    with pytest.raises(ValueError, match="There are no fields colour"):
        complete({"colour": "blue"}, bootstrap_form())


def test_a_form_is_as_empty_as_the_last_time():
    complete({"cluster_name": "other"}, bootstrap_form())
    assert complete({}, bootstrap_form())["cluster_name"] == "pipelines"
