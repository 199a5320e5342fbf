"""Tokens for the Kubernetes API of an EKS cluster, made in memory."""

from __future__ import annotations

import base64
import threading
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import TYPE_CHECKING, Any

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import NoCredentialsError

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.credentials import Credentials

    from airflow_eks_dask.hooks.aws import AwsClients

LIFETIME = timedelta(minutes=15)
"""For how long a cluster takes a token, counted from its signature."""

RENEW_AFTER = timedelta(minutes=10)
"""How long a token is handed out. botocore renews the keys of a role at the latest when they last as long as that."""

EXEC_API_VERSION = "client.authentication.k8s.io/v1beta1"
"""Of credential plugins; what ``aws eks get-token`` speaks as well, in all its versions."""

_MARGIN = timedelta(minutes=1)
_PREFIX = "k8s-aws-v1."
_URL_SECONDS = 60
_GLOBAL_ENDPOINT = "https://sts.amazonaws.com"


@dataclass(frozen=True)
class EksToken:
    """
    A token.

    :param value: What is sent to Kubernetes as bearer token. Never shown.
    :param expires_at: When Kubernetes refuses it, in UTC.
    """

    value: str = field(repr=False)
    expires_at: datetime

    def exec_credential(self) -> dict[str, Any]:
        """Return it as ``kubectl``, Helm and other clients in Go want it from a credential plugin."""
        return {
            "apiVersion": EXEC_API_VERSION,
            "kind": "ExecCredential",
            "spec": {},
            "status": {"expirationTimestamp": f"{self.expires_at - _MARGIN:%Y-%m-%dT%H:%M:%SZ}", "token": self.value},
        }


class EksTokenSource:
    """
    Gives a token that is good for minutes, whenever asked, to any number of threads.

    A token is a signed, but unsent, request to STS that says who the caller is. It is made without a call to AWS,
    except where the connection's role has to be assumed anew. The provider writes keys and a kubeconfig to files and
    starts a process for each token.
    Source: https://docs.aws.amazon.com/eks/latest/userguide/cluster-auth.html.

    :param aws: Whose credentials are used: all that an Airflow connection of type AWS supports.
    :param cluster_name: The cluster that takes the token; no other does.
    :param clock: Returns the seconds since the epoch.
    """

    def __init__(self, aws: AwsClients, cluster_name: str, clock: Callable[[], float] = time.time) -> None:
        self._aws = aws
        self._cluster_name = cluster_name
        self._clock = clock
        self._lock = threading.Lock()
        self._token: EksToken | None = None
        self._renew_at = 0.0

    def get(self) -> EksToken:
        """
        Return a token.

        :raises NoCredentialsError: The connection gives no credentials, nor does boto3 find any.
        """
        with self._lock:
            now = self._clock()
            if self._token is None or now >= self._renew_at:
                self._token = EksToken(self._sign(), datetime.fromtimestamp(now, timezone.utc) + LIFETIME)
                self._renew_at = now + RENEW_AFTER.total_seconds()
            return self._token

    @cached_property
    def _credentials(self) -> Credentials:
        """Credentials that renew themselves."""
        credentials: Credentials | None = self._aws.session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        return credentials

    @cached_property
    def _endpoint(self) -> str:
        endpoint = str(self._aws.client("sts").meta.endpoint_url).rstrip("/")
        # Clusters take the signature of their region's STS only; old settings of botocore lead to the global one.
        return f"https://sts.{self._aws.region}.amazonaws.com" if endpoint == _GLOBAL_ENDPOINT else endpoint

    def _sign(self) -> str:
        request = AWSRequest(
            "GET",
            f"{self._endpoint}/?Action=GetCallerIdentity&Version=2011-06-15",
            headers={"x-k8s-aws-id": self._cluster_name},
        )
        keys = self._credentials.get_frozen_credentials()
        SigV4QueryAuth(keys, "sts", self._aws.region, expires=_URL_SECONDS).add_auth(request)
        return _PREFIX + base64.urlsafe_b64encode(str(request.url).encode()).decode().rstrip("=")
