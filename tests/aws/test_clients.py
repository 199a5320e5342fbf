"""Clients of AWS: one session for all, with whatever credentials the Airflow connection names."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_eks_dask.hooks.aws import AwsClients

SERVICES = ("eks", "ec2", "iam", "rds")
ROLE = "arn:aws:iam::123456789012:role/airflow"


@pytest.fixture
def connected(simulation, monkeypatch):
    """Return clients for a connection with more in its extra."""

    def connect(*, login="test", **extra):
        connection = {"conn_type": "aws", "login": login, "password": login}
        everything = {"region_name": "eu-central-1", "endpoint_url": simulation.url, **extra}
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps({**connection, "extra": everything}))
        return AwsClients()

    return connect


def roles_taken(simulation):
    return [str(call) for call in simulation.calls()].count("sts:AssumeRole")


def list_clusters(aws):
    return aws.client("eks").list_clusters()["clusters"]


def test_a_role_is_taken_once_for_all_services(connected, simulation):
    aws = connected(role_arn=ROLE)
    for service in SERVICES:
        aws.client(service)
    assert list_clusters(aws) == []
    assert aws.client("sts").get_caller_identity()["Arn"].startswith("arn:aws:sts::123456789012:assumed-role/airflow/")
    assert aws.session.get_credentials().method == "sts-assume-role"
    assert roles_taken(simulation) == 1


def test_a_role_is_taken_again_before_it_ends(connected, simulation):
    # botocore renews what ends within a quarter of an hour.
    aws = connected(role_arn=ROLE, assume_role_kwargs={"DurationSeconds": 900})
    list_clusters(aws)
    before = roles_taken(simulation)
    aws.client("rds").describe_db_instances()
    assert roles_taken(simulation) > before


def test_threads_share_clients(connected, simulation):
    aws = connected(role_arn=ROLE)
    with ThreadPoolExecutor(8) as pool:
        clients = set(pool.map(aws.client, SERVICES * 8))
    assert len(clients) == len(SERVICES)
    assert roles_taken(simulation) == 1


def test_a_web_identity_is_taken(connected, tmp_path):
    token = tmp_path / "token"
    token.write_text("an-identity-of-somebody")
    aws = connected(
        role_arn=ROLE,
        assume_role_method="assume_role_with_web_identity",
        assume_role_with_web_identity_federation="file",
        assume_role_with_web_identity_token_file=str(token),
    )
    assert list_clusters(aws) == []
    assert aws.session.get_credentials().method == "assume-role-with-web-identity"


def test_a_profile_is_taken(connected, tmp_path, monkeypatch):
    profiles = tmp_path / "credentials"
    profiles.write_text("[data]\naws_access_key_id = of-the-profile\naws_secret_access_key = only-in-a-test\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(profiles))
    aws = connected(login="", profile_name="data")
    assert list_clusters(aws) == []
    assert aws.session.get_credentials().access_key == "of-the-profile"


def test_another_region_has_its_own_clients(connected):
    aws = connected()
    here, there = aws.client("ec2"), aws.client("ec2", "us-east-1")
    assert (here.meta.region_name, there.meta.region_name) == ("eu-central-1", "us-east-1")
    assert aws.client("ec2") is here
    assert aws.region == "eu-central-1"


def test_calls_end_and_say_whose_they_are(connected):
    config = connected().client("eks").meta.config
    assert (config.connect_timeout, config.read_timeout) == (10, 60)
    assert "Airflow/" in config.user_agent_extra
