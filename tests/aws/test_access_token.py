"""Tokens for EKS, taken to STS as a cluster does."""

from __future__ import annotations

import base64
import json
import re
import urllib.request
from urllib.parse import parse_qsl, urlsplit

import pytest

from airflow_eks_dask.hooks.aws import AwsClients
from airflow_eks_dask.hooks.eks_token import EksTokenSource

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
    text = token.value.removeprefix("k8s-aws-v1.")
    url = urlsplit(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode())
    query = dict(parse_qsl(url.query))
    # The simulation knows whose a request is by its headers only.
    headers = {
        "Authorization": f"{query['X-Amz-Algorithm']} Credential={query['X-Amz-Credential']}, "
        f"SignedHeaders={query['X-Amz-SignedHeaders']}, Signature={query['X-Amz-Signature']}",
        "X-Amz-Date": query["X-Amz-Date"],
        "x-k8s-aws-id": "pipelines",
    }
    request = urllib.request.Request(simulation.url, data=url.query.encode(), headers=headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return re.search("<Arn>(.*)</Arn>", answer.read().decode())[1]


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
