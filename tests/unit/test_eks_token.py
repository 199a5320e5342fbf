"""Tokens for EKS, and clients of a Kubernetes API behind TLS."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import tempfile
import threading
from datetime import datetime, timedelta, timezone
from urllib.parse import parse_qsl, quote, urlsplit

import kubernetes.client
import kubernetes_asyncio.client
import pytest
import urllib3
from botocore.exceptions import NoCredentialsError

from airflow_eks_dask import certificates
from airflow_eks_dask.hooks.aws import AwsClients
from airflow_eks_dask.hooks.eks import EksKubernetes, KubernetesError, kubernetes_errors
from airflow_eks_dask.hooks.eks_token import EksTokenSource
from tests.kubernetes_api import KubernetesApi

SECRET = "a-secret-key"


@pytest.fixture
def api(tmp_path, monkeypatch):
    with KubernetesApi(tmp_path / "tls").serving() as api:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", api.connection)
        yield api


@pytest.fixture
def aws(api):
    return AwsClients()


class Clock:
    def __init__(self):
        self.now = datetime(2026, 1, 1, tzinfo=timezone.utc)

    def __call__(self):
        return self.now.timestamp()


def signed_url(token):
    prefix, _, text = token.value.partition(".")
    assert prefix == "k8s-aws-v1"
    assert "=" not in text
    return urlsplit(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode())


def signature(url, cluster_name):
    """Sign once more, as the specification of Signature Version 4 has it."""
    query = dict(parse_qsl(url.query))
    _, day, region, service, last = query["X-Amz-Credential"].split("/")
    signed = sorted((name, value) for name, value in query.items() if name != "X-Amz-Signature")
    canonical = "\n".join(
        [
            "GET",
            "/",
            "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in signed),
            f"host:{url.netloc}",
            f"x-k8s-aws-id:{cluster_name}",
            "",
            "host;x-k8s-aws-id",
            hashlib.sha256(b"").hexdigest(),
        ]
    )
    scope = f"{day}/{region}/{service}/{last}"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"AWS4-HMAC-SHA256\n{query['X-Amz-Date']}\n{scope}\n{digest}"
    key = f"AWS4{SECRET}".encode()
    for part in (day, region, service, last):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def test_a_token_is_a_request_to_the_regional_sts_that_names_the_cluster(aws):
    url = signed_url(EksTokenSource(aws, "pipelines").get())
    query = dict(parse_qsl(url.query))
    assert (url.scheme, url.netloc, url.path) == ("https", "sts.eu-central-1.amazonaws.com", "/")
    assert (query["Action"], query["X-Amz-Expires"]) == ("GetCallerIdentity", "60")
    assert query["X-Amz-SignedHeaders"] == "host;x-k8s-aws-id"
    assert query["X-Amz-Credential"].startswith("AKIAEXAMPLE/")
    assert query["X-Amz-Signature"] == signature(url, "pipelines")
    assert query["X-Amz-Signature"] != signature(url, "another")


def test_a_token_goes_to_the_regional_sts_where_botocore_prefers_the_global_one(api, aws, monkeypatch):
    monkeypatch.setenv("AWS_STS_REGIONAL_ENDPOINTS", "legacy")
    connection = json.loads(api.connection) | {"extra": {"region_name": "us-west-2"}}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
    url = signed_url(EksTokenSource(aws, "pipelines").get())
    assert url.netloc == "sts.us-west-2.amazonaws.com"
    assert "/us-west-2/sts/" in dict(parse_qsl(url.query))["X-Amz-Credential"]


def test_a_token_is_renewed_well_before_it_expires(aws):
    clock = Clock()
    source = EksTokenSource(aws, "pipelines", clock)
    first = source.get()
    assert first.expires_at == clock.now + timedelta(minutes=15)
    clock.now += timedelta(minutes=9, seconds=59)
    assert source.get() is first
    clock.now += timedelta(seconds=1)
    second = source.get()
    assert second is not first
    assert second.expires_at == clock.now + timedelta(minutes=15)


def test_many_threads_share_a_token(aws):
    source = EksTokenSource(aws, "pipelines")
    start, tokens = threading.Barrier(8), []

    def ask():
        start.wait(10)
        tokens.append(source.get())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(tokens) == 8
    assert len(set(map(id, tokens))) == 1


def test_a_token_is_never_shown(aws, caplog):
    source = EksTokenSource(aws, "pipelines")
    with caplog.at_level("DEBUG"):
        token = source.get()
    for shown in (repr(token), str(token), repr(source), repr(vars(source)), caplog.text):
        assert token.value not in shown
        assert SECRET not in shown


def test_without_credentials_there_is_no_token(api, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", '{"conn_type": "aws", "extra": {"region_name": "eu-central-1"}}')
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(NoCredentialsError):
        EksTokenSource(AwsClients(), "pipelines").get()


@pytest.fixture
def renewed(monkeypatch):
    """Tokens are made for each call."""
    monkeypatch.setattr("airflow_eks_dask.hooks.eks_token.RENEW_AFTER", timedelta(0))
    counter = iter(range(100))
    monkeypatch.setattr(EksTokenSource, "_sign", lambda _: f"k8s-aws-v1.{next(counter)}")


def test_a_client_takes_a_good_token_for_each_call(api, aws, renewed):
    with EksKubernetes(aws, "pipelines").client() as client:
        version = kubernetes.client.VersionApi(client)
        assert version.get_code().git_version == "v1.35.0"
        version.get_code()
    assert api.tokens == ["k8s-aws-v1.0", "k8s-aws-v1.1"]


def test_an_asynchronous_client_takes_a_good_token_for_each_call(api, aws, renewed):
    async def ask():
        async with await EksKubernetes(aws, "pipelines").async_client() as client:
            version = kubernetes_asyncio.client.VersionApi(client)
            await version.get_code()
            return await version.get_code()

    assert asyncio.run(ask()).git_version == "v1.35.0"
    assert api.tokens == ["k8s-aws-v1.0", "k8s-aws-v1.1"]


def test_clients_leave_no_file(api, aws, tmp_path, monkeypatch):
    directory = tmp_path / "tmp"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))

    async def ask(cluster):
        async with await cluster.async_client() as client:
            assert not list(directory.iterdir())
            await kubernetes_asyncio.client.VersionApi(client).get_code()

    with EksKubernetes(aws, "pipelines").client() as client:
        kubernetes.client.VersionApi(client).get_code()
        assert not list(directory.iterdir())
    asyncio.run(ask(EksKubernetes(aws, "pipelines")))
    assert not list(directory.iterdir())


def test_a_server_of_another_authority_gets_no_token(api, aws):
    api.authority = certificates.make_authority(datetime.now(timezone.utc))  # what EKS tells from here on

    async def ask():
        async with await EksKubernetes(aws, "pipelines").async_client() as client:
            await kubernetes_asyncio.client.VersionApi(client).get_code()

    with (
        EksKubernetes(aws, "pipelines").client() as client,
        pytest.raises(KubernetesError, match=r"asking: the Kubernetes API was not reached.*CERTIFICATE_VERIFY_FAILED"),
        kubernetes_errors("asking"),
    ):
        kubernetes.client.VersionApi(client).get_code()
    with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
        asyncio.run(ask())
    assert api.tokens == []


def test_a_server_of_another_name_gets_no_token(api, aws):
    api.url = api.url.replace("127.0.0.1", "localhost")
    with (
        EksKubernetes(aws, "pipelines").client() as client,
        pytest.raises(urllib3.exceptions.MaxRetryError, match="Hostname mismatch"),
    ):
        kubernetes.client.VersionApi(client).get_code()
    assert api.tokens == []


def test_clients_wait_for_no_answer_without_end(api, aws):
    cluster = EksKubernetes(aws, "pipelines", timeout=(5, 0.2))

    async def ask():
        async with await cluster.async_client() as client:
            await kubernetes_asyncio.client.ApisApi(client).get_api_versions()

    with (
        cluster.client() as client,
        pytest.raises(KubernetesError, match="not reached"),
        kubernetes_errors("asking"),
    ):
        kubernetes.client.ApisApi(client).get_api_versions()
    with pytest.raises(asyncio.TimeoutError):
        asyncio.run(ask())


def test_a_refusal_is_told_in_the_words_of_kubernetes(api, aws):
    api.refusal = 403
    with (
        EksKubernetes(aws, "pipelines").client() as client,
        pytest.raises(KubernetesError, match=r"^asking: Kubernetes answered 403 Forbidden: not for you$"),
        kubernetes_errors("asking"),
    ):
        kubernetes.client.VersionApi(client).get_code()


def test_a_cluster_that_is_not_there_has_no_client(api, aws):
    with pytest.raises(KubernetesError, match="EKS cluster other in eu-central-1 is not there"):
        EksKubernetes(aws, "other").client()
