"""Tokens for EKS, taken to STS as a cluster does."""

from __future__ import annotations

import json

import pytest

from airflow_eks_dask.hooks.aws import AwsClients
from airflow_eks_dask.hooks.eks_token import EksTokenSource
from tests.aws.authenticator import caller_arn, decoded

ACCOUNT = "123456789012"


@pytest.fixture
def connect(simulation, monkeypatch):
    def connect(**extra):
        connection = json.loads(simulation.environment["AIRFLOW_CONN_AWS_DEFAULT"])
        connection["extra"] |= extra
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        return AwsClients()

    return connect


def identity(simulation, token):
    """Return the ARN of who made a token."""
    return caller_arn(simulation, decoded(token.value), "pipelines")


def test_sts_knows_who_made_a_token(simulation, connect):
    token = EksTokenSource(connect(), "pipelines").get()
    assert identity(simulation, token) == f"arn:aws:sts::{ACCOUNT}:user/moto"


def test_a_token_is_that_of_the_role_that_the_connection_assumes(simulation, connect):
    role = f"arn:aws:iam::{ACCOUNT}:role/deployer"
    aws = connect(role_arn=role, service_config={"sts": {"endpoint_url": simulation.url}})
    source = EksTokenSource(aws, "pipelines")
    assert identity(simulation, source.get()).startswith(f"arn:aws:sts::{ACCOUNT}:assumed-role/deployer/")


def test_making_a_token_asks_aws_nothing(simulation, connect):
    source = EksTokenSource(connect(), "pipelines")
    source.get()
    assert simulation.calls() == []
