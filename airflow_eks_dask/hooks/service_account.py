"""Tokens of ServiceAccounts in Kubernetes: made when they are needed, good for a while, kept nowhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import kubernetes.client  # type: ignore[import-untyped]

from airflow_eks_dask.hooks.eks import kubernetes_errors

if TYPE_CHECKING:
    from collections.abc import Sequence

HOUR = 3600


@dataclass(frozen=True)
class ServiceAccountToken:
    """
    A token with which one is a ServiceAccount.

    :param value: The token itself, a secret.
    :param expires: When it is good no more.
    """

    value: str = field(repr=False)
    expires: datetime


def request_token(
    client: kubernetes.client.ApiClient,
    namespace: str,
    name: str,
    *,
    seconds: int = HOUR,
    audiences: Sequence[str] = (),
) -> ServiceAccountToken:
    """
    Ask Kubernetes for a token of a ServiceAccount; no Secret is made for it.

    :param client: Of the cluster.
    :param namespace: Where the account is.
    :param name: Of the account.
    :param seconds: How long the token is to be good: ten minutes at least, and a cluster may make it fewer than asked
        for. Source: https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-request-v1/.
    :param audiences: Whom it is for; none: the Kubernetes API.
    :raises KubernetesError: There is no such account, or Kubernetes refused or was not reached.
    """
    request = kubernetes.client.AuthenticationV1TokenRequest(
        spec=kubernetes.client.V1TokenRequestSpec(audiences=list(audiences), expiration_seconds=seconds)
    )
    with kubernetes_errors(f"asking for a token of ServiceAccount {namespace}/{name}"):
        made = kubernetes.client.CoreV1Api(client).create_namespaced_service_account_token(name, namespace, request)
    return ServiceAccountToken(str(made.status.token), made.status.expiration_timestamp.astimezone(timezone.utc))
