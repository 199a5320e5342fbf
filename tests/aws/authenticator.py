"""
The authenticator of EKS, as the API server of a real cluster asks it: whose a token is, and what that one may do.

A token is a signed request to STS. It is taken to the simulated STS, and who that knows is looked up in the access
entries of the simulated EKS.
"""

from __future__ import annotations

import base64
import json
import re
import urllib.error
import urllib.request
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from airflow_eks_dask import certificates
from tests.http_server import serving, tls_context

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.aws.simulation import Simulation

PREFIX = "k8s-aws-v1."
CLUSTER_HEADER = "x-k8s-aws-id"
LIFETIME = timedelta(minutes=15)
ADMIN_POLICY = ":cluster-access-policy/AmazonEKSClusterAdminPolicy"
CONFIG_FILE = "authenticator.json"
SECRET_KEYS = {"test": "test"}
"""By access key, what requests to the simulation are signed with."""


class RefusedError(Exception):
    """A token is not good; the message says why."""


class Authenticator:
    """
    Knows who may do what in clusters of a simulated EKS.

    :param simulation: AWS.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._eks = simulation.boto("eks")
        self.admitted: list[str] = []
        """Whom it has let in, each with the cluster."""
        self.refused: list[str] = []
        """Why it has refused tokens."""
        self.is_closed = False
        """Whether it lets nobody in."""

    def review(self, token: str) -> dict[str, Any]:
        """
        Return ``username`` and ``groups`` of whoever made a token.

        :raises RefusedError: It is not good.
        """
        url = decoded(token)
        if self.is_closed:
            raise RefusedError("it is closed")
        for cluster_name in self._eks.list_clusters()["clusters"]:
            if signature(url, cluster_name) == url_query(url).get("X-Amz-Signature"):
                arn = caller_arn(self._simulation, url, cluster_name)
                user = self._user(cluster_name, principal(arn))
                self.admitted.append(f"{user['username']} in {cluster_name}")
                return user
        raise RefusedError("it was not signed for any cluster that is there")

    def _user(self, cluster_name: str, arn: str) -> dict[str, Any]:
        of = {"clusterName": cluster_name, "principalArn": arn}
        try:
            entry = self._eks.describe_access_entry(**of)["accessEntry"]
        except (self._eks.exceptions.ResourceNotFoundException, self._eks.exceptions.InvalidRequestException):
            raise RefusedError(f"{arn} has no access entry in {cluster_name}") from None
        policies = self._eks.list_associated_access_policies(**of)["associatedAccessPolicies"]
        is_admin = any(
            each["policyArn"].endswith(ADMIN_POLICY) and each["accessScope"]["type"] == "cluster" for each in policies
        )
        groups = [*entry["kubernetesGroups"], *(["system:masters"] if is_admin else [])]
        return {"username": entry["username"], "groups": groups}


def decoded(token: str) -> str:
    """
    Return the URL that a token is.

    :raises RefusedError: It is none, or too old.
    """
    text = token.removeprefix(PREFIX)
    if text == token:
        raise RefusedError(f"it does not begin with {PREFIX}")
    try:
        url = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()
        query = url_query(url)
        signed_at = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=timezone.utc)
        headers = query["X-Amz-SignedHeaders"].split(";")
        _key, _date, _region, _service, _end = query["X-Amz-Credential"].split("/")
    except (ValueError, KeyError) as error:
        raise RefusedError(f"it is no signed URL: {error!r}") from None
    if query.get("Action") != "GetCallerIdentity" or CLUSTER_HEADER not in headers:
        raise RefusedError("it does not ask who the caller is, of a certain cluster")
    if datetime.now(timezone.utc) > signed_at + LIFETIME:
        raise RefusedError("it is too old")
    return url


def url_query(url: str) -> dict[str, str]:
    """Return the query of a URL."""
    return dict(parse_qsl(urlsplit(url).query))


def signature(url: str, cluster_name: str) -> str:
    """
    Return what a signed URL has to be signed with for a cluster.

    :raises RefusedError: It names a key that nobody has.
    """
    query = url_query(url)
    key, _, region, _, _ = query["X-Amz-Credential"].split("/")
    if key not in SECRET_KEYS:
        raise RefusedError(f"there is no access key {key}")
    parts = urlsplit(url)
    unsigned = parts._replace(query=urlencode([pair for pair in query.items() if pair[0] != "X-Amz-Signature"]))
    request = AWSRequest("GET", unsigned.geturl(), headers={CLUSTER_HEADER: cluster_name})
    request.context["timestamp"] = query["X-Amz-Date"]
    auth = SigV4QueryAuth(Credentials(key, SECRET_KEYS[key]), "sts", region)
    return str(auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request))


def caller_arn(simulation: Simulation, url: str, cluster_name: str) -> str:
    """
    Take a signed URL to STS; return the ARN of who signed it.

    :raises RefusedError: It is for another STS, or that refuses it.
    """
    parts, query = urlsplit(url), url_query(url)
    if f"{parts.scheme}://{parts.netloc}" != simulation.url:
        raise RefusedError(f"it is for {parts.netloc}, which is not the STS of the region")
    # The simulation knows whose a request is by its headers only.
    headers = {
        "Authorization": f"{query['X-Amz-Algorithm']} Credential={query['X-Amz-Credential']}, "
        f"SignedHeaders={query['X-Amz-SignedHeaders']}, Signature={query['X-Amz-Signature']}",
        "X-Amz-Date": query["X-Amz-Date"],
        CLUSTER_HEADER: cluster_name,
    }
    request = urllib.request.Request(simulation.url, data=parts.query.encode(), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return re.search("<Arn>(.*)</Arn>", answer.read().decode())[1]
    except urllib.error.HTTPError as error:
        raise RefusedError(f"STS answered {error.code}") from None


def principal(arn: str) -> str:
    """Return the user or role that somebody is to IAM, as access entries name it."""
    assumed = re.fullmatch(r"arn:([\w-]+):sts::(\d+):assumed-role/([^/]+)/.*", arn)
    if assumed:
        return f"arn:{assumed[1]}:iam::{assumed[2]}:role/{assumed[3]}"
    # The real STS names users so by itself.
    return re.sub(r":sts::(\d+):user/", r":iam::\1:user/", arn)


def write_config(directory: Path, port: int) -> Path:
    """
    Write what an API server is told by ``--authentication-token-webhook-config-file``; return the file.

    :param directory: Where :func:`listening` is to put its certificate.
    :param port: Where it is going to listen.
    """
    server = {"server": f"https://127.0.0.1:{port}/", "certificate-authority": str(directory / "ca.pem")}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "authenticator", "cluster": server}],
        "users": [{"name": "api-server", "user": {}}],
        "contexts": [{"name": "default", "context": {"cluster": "authenticator", "user": "api-server"}}],
        "current-context": "default",
    }
    file = directory / CONFIG_FILE
    file.write_text(json.dumps(config))
    return file


def write_certificate(directory: Path) -> Any:
    """Make the certificate of the authenticator; return the TLS of its server."""
    return tls_context(directory, certificates.make_authority(datetime.now(timezone.utc)))


@contextmanager
def listening(authenticator: Authenticator, context: Any, port: int) -> Iterator[None]:
    """Answer the API server, by TLS alone."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            try:
                status = {"authenticated": True, "user": authenticator.review(review["spec"]["token"])}
            except RefusedError as error:
                authenticator.refused.append(str(error))
                status = {"authenticated": False, "error": str(error)}
            data = json.dumps({**{key: review[key] for key in ("apiVersion", "kind")}, "status": status}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: Any) -> None: ...

    with serving(ThreadingHTTPServer(("127.0.0.1", port), Handler), context):
        yield
