"""Tokens of ServiceAccounts: what is asked for, and what is made of the answer."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import kubernetes.client
import pytest

from airflow_eks_dask.hooks.eks import KubernetesError
from airflow_eks_dask.hooks.service_account import request_token
from tests.http_server import kubernetes_objects

pytestmark = pytest.mark.any_airflow

PATH = "/api/v1/namespaces/kube-system/serviceaccounts/eks-admin/token"


@pytest.fixture
def api():
    with (
        kubernetes_objects() as (url, objects),
        kubernetes.client.ApiClient(kubernetes.client.Configuration(host=url)) as client,
    ):
        yield client, objects


def test_a_token_for_a_while(api):
    client, objects = api
    asked = []

    def answer(request):
        asked.append(request["spec"])
        made = {"token": "ey-a-secret", "expirationTimestamp": "2026-01-01T02:00:00+02:00"}
        return {"kind": "TokenRequest", "spec": request["spec"], "status": made}

    objects[PATH] = answer
    token = request_token(client, "kube-system", "eks-admin", seconds=900, audiences=["vault"])
    assert asked == [{"audiences": ["vault"], "expirationSeconds": 900}]
    assert token.value == "ey-a-secret"
    assert token.expires == datetime(2026, 1, 1, tzinfo=timezone.utc)
    assert token.expires.utcoffset() == timedelta(0)
    assert "ey-a-secret" not in repr(token)
    request_token(client, "kube-system", "eks-admin")
    assert asked[1] == {"audiences": [], "expirationSeconds": 3600}


@pytest.mark.parametrize("status", [404, 403])
def test_no_such_account_or_no_leave(api, status):
    client, objects = api
    objects[PATH] = status
    words = f"asking for a token of ServiceAccount kube-system/eks-admin: Kubernetes answered {status}"
    with pytest.raises(KubernetesError, match=words):
        request_token(client, "kube-system", "eks-admin")
