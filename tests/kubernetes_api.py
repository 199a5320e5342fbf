"""A Kubernetes API server of one ConfigMap, and the EKS that tells where it is, over HTTP."""

from __future__ import annotations

import base64
import json
import threading
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.serialization import Encoding

from airflow_eks_dask import certificates
from tests.http_server import json_handler, serving, tls_context

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator
    from pathlib import Path

REGION = "eu-central-1"
PATH = "/api/v1/namespaces/kube-system/configmaps"


class KubernetesApi:
    """
    Keeps a ConfigMap as Kubernetes does: each write makes a new version, and one that is meant for a former is refused.

    :param directory: For its certificate.
    :param cluster_name: What EKS calls it.
    """

    def __init__(self, directory: Path, cluster_name: str = "pipelines") -> None:
        self.cluster_name: str | None = cluster_name
        self.config_map: dict[str, Any] | None = None
        self.requests: list[str] = []
        self.tokens: list[str] = []
        self.refusal: int | None = None
        """A status with which it answers everything."""
        self.before_write: Callable[[], None] | None = None
        """Called once, before the next write is looked at."""
        self.released = threading.Event()
        self._directory = directory
        self._version = 0
        self._lock = threading.RLock()

    @contextmanager
    def serving(self) -> Iterator[KubernetesApi]:
        """Answer while the block runs."""
        with ExitStack() as stack:
            self.authority = certificates.make_authority(datetime.now(timezone.utc))
            context = tls_context(self._directory, self.authority)
            self.url = f"https://{stack.enter_context(_server(self._kubernetes, context))}"
            self.eks_url = f"http://{stack.enter_context(_server(self._eks))}"
            stack.callback(self.released.set)
            yield self

    @property
    def connection(self) -> str:
        """An Airflow connection to the account of the cluster, in JSON."""
        extra = {"region_name": REGION, "service_config": {"eks": {"endpoint_url": self.eks_url}}}
        return json.dumps({"conn_type": "aws", "login": "AKIAEXAMPLE", "password": "a-secret-key", "extra": extra})

    @property
    def writes(self) -> list[str]:
        """The requests that change something."""
        return [request for request in self.requests if not request.startswith("GET")]

    def put(self, data: dict[str, str], **annotations: str) -> None:
        """Have the ConfigMap hold this, as if somebody else wrote it."""
        self._store({"data": data, "metadata": {"name": "aws-auth", "annotations": annotations}})

    def _store(self, config_map: dict[str, Any]) -> None:
        with self._lock:
            self._version += 1
            metadata = config_map["metadata"] | {"resourceVersion": str(self._version)}
            self.config_map = {"apiVersion": "v1", "kind": "ConfigMap", **config_map, "metadata": metadata}

    def _eks(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, Any]:
        if path != f"/clusters/{self.cluster_name}":
            return 404, {"__type": "ResourceNotFoundException", "message": "No cluster found"}
        authority = self.authority.certificate.public_bytes(Encoding.PEM)
        return 200, {
            "cluster": {
                "name": self.cluster_name,
                "arn": f"arn:aws:eks:{REGION}:111122223333:cluster/{self.cluster_name}",
                "status": "ACTIVE",
                "endpoint": self.url,
                "certificateAuthority": {"data": base64.b64encode(authority).decode()},
            }
        }

    def _kubernetes(self, method: str, path: str, headers: Any, body: bytes) -> tuple[int, Any]:
        self.requests.append(f"{method} {path}")
        kind, _, token = headers.get("Authorization", "").partition(" ")
        if kind != "Bearer" or not token.startswith("k8s-aws-v1."):
            return 401, _status("Unauthorized")
        self.tokens.append(token)
        if self.refusal is not None:
            return self.refusal, _status("not for you")
        if path == "/version/":
            return 200, {"gitVersion": "v1.35.0", "major": "1", "minor": "35"} | dict.fromkeys(
                ("buildDate", "compiler", "gitCommit", "gitTreeState", "goVersion", "platform"), ""
            )
        if path == "/apis/":
            self.released.wait(30)
        if method == "PATCH" and "merge-patch+json" not in headers["Content-Type"]:
            return 415, _status(f"{headers['Content-Type']} is not what the body is")
        if method != "GET" and self.before_write is not None:
            interfere, self.before_write = self.before_write, None
            interfere()
        with self._lock:
            return self._config_maps(method, path, json.loads(body or b"null"))

    def _config_maps(self, method: str, path: str, wanted: Any) -> tuple[int, Any]:
        found = self.config_map
        if (method, path) == ("POST", PATH):
            if found is not None:
                return 409, _status("already exists")
            self._store(wanted)
            return 201, self.config_map
        if path != f"{PATH}/aws-auth" or found is None:
            return 404, _status("not found")
        if method == "GET":
            return 200, found
        condition = wanted["preconditions"] if method == "DELETE" else wanted["metadata"]
        if condition["resourceVersion"] != found["metadata"]["resourceVersion"]:
            return 409, _status("the object has been modified")
        if method == "DELETE":
            self.config_map = None
            return 200, _status("deleted")
        self._store(_patched(found, wanted))
        return 200, self.config_map


def _patched(found: Any, patch: Any) -> Any:
    """Apply a merge patch (RFC 7396)."""
    if not isinstance(patch, dict):
        return patch
    base = found if isinstance(found, dict) else {}
    return {key: value for key, value in base.items() if key not in patch} | {
        key: _patched(base.get(key), value) for key, value in patch.items() if value is not None
    }


def _status(message: str) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "message": message}


@contextmanager
def _server(
    answer: Callable[[str, str, Any, bytes], tuple[int, Any]], context: ssl.SSLContext | None = None
) -> Iterator[str]:
    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing: a client that doesn't trust it, or waits no longer, hangs up."""

    handler = json_handler(lambda method, path, headers, body: answer(method, urlsplit(path).path, headers, body))
    server = Server(("127.0.0.1", 0), handler)
    with serving(server, context) as port:
        yield f"127.0.0.1:{port}"
