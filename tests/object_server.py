"""A Kubernetes API server of objects of any kind, over HTTP, that applies manifests as a real one does."""

from __future__ import annotations

import copy
import json
import threading
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

import kubernetes.client
import yaml

from tests.http_server import json_handler, serving

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from email.message import Message
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

Field: TypeAlias = tuple[str, ...]

KINDS = {
    ("v1", "Namespace"): ("namespaces", False),
    ("v1", "ConfigMap"): ("configmaps", True),
    ("v1", "Secret"): ("secrets", True),
    ("v1", "ServiceAccount"): ("serviceaccounts", True),
    ("v1", "Service"): ("services", True),
    ("v1", "Pod"): ("pods", True),
    ("v1", "Event"): ("events", True),
    ("apps/v1", "Deployment"): ("deployments", True),
    ("apps/v1", "StatefulSet"): ("statefulsets", True),
    ("apps/v1", "DaemonSet"): ("daemonsets", True),
    ("apps/v1", "ReplicaSet"): ("replicasets", True),
    ("batch/v1", "Job"): ("jobs", True),
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): ("clusterrolebindings", False),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): ("customresourcedefinitions", False),
}
NAMING: set[Field] = {("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace")}
CONFLICT_MESSAGE = 'conflict with "{}" using v1'


class ObjectServer:
    """
    Keeps objects, and who manages which of their fields; lists are fields as a whole.

    :ivar requests: What was asked: method, path and query.
    :ivar refusals: Answers to applying objects of these names: status and message.
    :ivar deletions: The options of each deletion.
    """

    def __init__(self) -> None:
        self.kinds = dict(KINDS)
        self.objects: dict[Field, dict[str, Any]] = {}
        self.requests: list[str] = []
        self.deletions: list[dict[str, Any]] = []
        self.refusals: dict[str, tuple[int, str]] = {}
        self.failures: list[int] = []
        """Statuses that the next writes are answered with."""
        self.looks_until_established = 1
        self._managers: dict[Field, dict[str, set[Field]]] = {}
        self._version = 0
        self._lock = threading.RLock()
        for name in ("default", "kube-system"):
            self.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    @contextmanager
    def serving(self) -> Iterator[ObjectServer]:
        """Answer while the block runs."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        server.daemon_threads = True
        server.handle_error = lambda *args: None  # type: ignore[method-assign]
        with serving(server) as port:
            self.url = f"http://127.0.0.1:{port}"
            yield self

    def client(self) -> kubernetes.client.ApiClient:
        """Return a client; a context manager."""
        configuration = kubernetes.client.Configuration(host=self.url)
        configuration.retries = False
        return kubernetes.client.ApiClient(configuration)

    def kubeconfig(self, directory: Path) -> str:
        """Write a kubeconfig and return its path."""
        name = {"name": "fake"}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{**name, "cluster": {"server": self.url}}],
            "users": [{**name, "user": {}}],
            "contexts": [{**name, "context": {"cluster": "fake", "user": "fake"}}],
            "current-context": "fake",
        }
        file = directory / "kubeconfig"
        file.write_text(yaml.safe_dump(document))
        return str(file)

    @property
    def writes(self) -> list[str]:
        """The requests that change something."""
        return [each for each in self.requests if not each.startswith("GET") and "dryRun" not in each]

    def get(self, kind: str, name: str, namespace: str = "default") -> dict[str, Any] | None:
        """Return an object."""
        found = [each for key, each in self.objects.items() if each["kind"] == kind and key[3] == name]
        return next((each for each in found if each["metadata"].get("namespace", namespace) == namespace), None)

    def put(
        self, document: dict[str, Any], manager: str = "somebody", fields: Iterable[Field] | None = None
    ) -> dict[str, Any]:
        """
        Have an object be there, as if somebody else made it.

        :param fields: Those that the manager manages; None: all.
        """
        plural, namespaced = self.kinds[document["apiVersion"], document["kind"]]
        metadata = document["metadata"]
        namespace = metadata.get("namespace", "default") if namespaced else ""
        key = (document["apiVersion"], plural, namespace, metadata["name"])
        with self._lock:
            former = self.objects.get(key)
            made = former["metadata"] if former else {"uid": str(uuid4()), "generation": 1}
            given = {**made, **metadata} | ({"namespace": namespace} if namespaced else {})
            self._managers.setdefault(key, {})[manager] = set(_fields(document) if fields is None else fields)
            self._store(key, {**copy.deepcopy(document), "metadata": given})
            return self.objects[key]

    def set_status(self, kind: str, name: str, status: dict[str, Any], namespace: str = "default") -> None:
        """Have an object's status be this."""
        with self._lock:
            found = self.get(kind, name, namespace)
            assert found is not None
            found["status"] = status

    def release(self, kind: str, name: str, namespace: str = "default") -> None:
        """Take an object away that waits for its finalizers."""
        with self._lock:
            found = self.get(kind, name, namespace)
            self.objects = {key: each for key, each in self.objects.items() if each is not found}

    def answer(self, method: str, path: str, query: dict[str, str], body: Any) -> tuple[int, Any]:
        """Answer a request."""
        parts = [part for part in path.split("/") if part]
        if parts == ["version"]:
            return 200, {"gitVersion": "v1.35.0"}
        if parts == ["apis"]:
            return 200, {"kind": "APIGroupList", "groups": self._groups()}
        version, rest = ("/".join(parts[1:3]), parts[3:]) if parts[0] == "apis" else (parts[1], parts[2:])
        if not rest:
            kinds = [(kind, *about) for (of, kind), about in self.kinds.items() if of == version]
            listed = [{"kind": kind, "name": plural, "namespaced": scoped} for kind, plural, scoped in kinds]
            return (200, {"kind": "APIResourceList", "resources": listed}) if kinds else (404, _status("not found"))
        namespace = rest[1] if rest[0] == "namespaces" and len(rest) > 2 else ""
        plural, *named = rest[2:] if namespace else rest
        if plural not in {about[0] for (of, _), about in self.kinds.items() if of == version}:
            return 404, _status("the server could not find the requested resource")
        with self._lock:
            if not named:
                return 200, {"kind": "List", "apiVersion": "v1", "items": self._list(version, plural, namespace, query)}
            return self._one(method, (version, plural, namespace, named[0]), query, body)

    def _groups(self) -> list[dict[str, Any]]:
        versions = sorted({version for version, _ in self.kinds if "/" in version})
        return [
            {"name": each.split("/")[0], "versions": [said], "preferredVersion": said}
            for each in versions
            for said in [{"groupVersion": each, "version": each.split("/")[1]}]
        ]

    def _list(self, version: str, plural: str, namespace: str, query: dict[str, str]) -> list[dict[str, Any]]:
        wanted = dict(each.split("=") for each in query.get("labelSelector", "").split(",") if each)
        fields = dict(each.split("=") for each in query.get("fieldSelector", "").split(",") if each)
        found = [each for key, each in self.objects.items() if key[:3] == (version, plural, namespace)]
        found = [each for each in found if all(_at(each, (*path.split("."),)) == fields[path] for path in fields)]
        return [each for each in found if wanted.items() <= (each["metadata"].get("labels") or {}).items()]

    def _one(self, method: str, key: Field, query: dict[str, str], body: Any) -> tuple[int, Any]:
        found, dry = self.objects.get(key), query.get("dryRun") == "All"
        if method == "GET":
            if found is not None and found["kind"] == "CustomResourceDefinition":
                self._establish(found)
            return (200, found) if found is not None else (404, _status(f'{key[1]} "{key[3]}" not found'))
        if self.failures and not dry:
            return self.failures.pop(0), _status("try again") | {"reason": "InternalError"}
        if method == "DELETE":
            return self._delete(key, found, body)
        if key[2] and not any(each[1] == "namespaces" and each[3] == key[2] for each in self.objects):
            return 404, _status(f'namespaces "{key[2]}" not found')
        if key[3] in self.refusals:
            status, message = self.refusals[key[3]]
            return status, _status(message)
        return self._apply(key, query["fieldManager"], body, force=query.get("force") == "True", dry=dry)

    def _delete(self, key: Field, found: dict[str, Any] | None, options: dict[str, Any]) -> tuple[int, Any]:
        self.deletions.append(options)
        if found is None:
            return 404, _status("not found")
        if options["preconditions"]["uid"] != found["metadata"]["uid"]:
            return 409, _status("the UID in the precondition does not match")
        if found["metadata"].get("finalizers"):
            found["metadata"]["deletionTimestamp"] = "2026-11-01T00:00:00Z"
        else:
            del self.objects[key]
            self._managers.pop(key, None)
        return 200, _status("deleted")

    def _apply(self, key: Field, manager: str, body: Any, *, force: bool, dry: bool) -> tuple[int, Any]:
        found = self.objects.get(key)
        managers = copy.deepcopy(self._managers.get(key, {}))
        wanted = _fields(body)
        others = {
            (other, path)
            for other, paths in managers.items()
            for path in paths
            if other != manager and path in wanted and _at(found, path) != wanted[path]
        }
        if others and not force:
            causes = [
                {
                    "reason": "FieldManagerConflict",
                    "message": CONFLICT_MESSAGE.format(other),
                    "field": "." + ".".join(path),
                }
                for other, path in sorted(others)
            ]
            return 409, _status("Apply failed with conflicts") | {"reason": "Conflict", "details": {"causes": causes}}
        for other, path in others:
            managers[other].discard(path)
        result = copy.deepcopy(found) if found else {"metadata": {"uid": str(uuid4()), "generation": 1}}
        for path in managers.get(manager, set()) - set(wanted):
            if not any(path in paths for other, paths in managers.items() if other != manager):
                _remove(result, path)
        for path, value in wanted.items():
            _set(result, path, value)
        managers[manager] = set(wanted)
        result |= {"apiVersion": body["apiVersion"], "kind": body["kind"]}
        result["metadata"] |= {"name": key[3]} | ({"namespace": key[2]} if key[2] else {})
        if dry:
            return 200, {**result, "metadata": {**result["metadata"], "managedFields": _managed(managers)}}
        if found is None or _own(found) != _own(result) or self._managers.get(key) != managers:
            self._managers[key] = managers
            self._store(key, result)
        return 200, self.objects[key]

    def _store(self, key: Field, document: dict[str, Any]) -> None:
        self._version += 1
        metadata = document["metadata"] | {"resourceVersion": str(self._version)}
        self.objects[key] = document | {"metadata": metadata | {"managedFields": _managed(self._managers[key])}}

    def _establish(self, definition: dict[str, Any]) -> None:
        definition["looks"] = definition.get("looks", 0) + 1
        if definition["looks"] < self.looks_until_established:
            return
        spec = definition["spec"]
        definition["status"] = {"conditions": [{"type": "Established", "status": "True"}]}
        for version in spec["versions"]:
            about = (spec["names"]["plural"], spec["scope"] == "Namespaced")
            self.kinds[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = about


def _own(document: dict[str, Any]) -> dict[str, Any]:
    of_the_server = ("managedFields", "resourceVersion")
    metadata = {key: value for key, value in document["metadata"].items() if key not in of_the_server}
    return {**document, "metadata": metadata}


def _fields(body: dict[str, Any]) -> dict[Field, Any]:
    """Return what is in the leaves of an object, but for what names it."""
    return {path: value for path, value in _leaves(body, ()) if path not in NAMING}


def _leaves(value: Any, at: Field) -> Iterator[tuple[Field, Any]]:
    if not isinstance(value, dict) or not value:
        yield at, value
        return
    for key, each in value.items():
        yield from _leaves(each, (*at, key))


def _at(document: Any, path: Field) -> Any:
    for part in path:
        document = document.get(part) if isinstance(document, dict) else None
    return document


def _set(document: dict[str, Any], path: Field, value: Any) -> None:
    for part in path[:-1]:
        if not isinstance(document.get(part), dict):
            document[part] = {}
        document = document[part]
    document[path[-1]] = copy.deepcopy(value)


def _remove(document: dict[str, Any], path: Field) -> None:
    parent = _at(document, path[:-1])
    if isinstance(parent, dict):
        parent.pop(path[-1], None)


def _managed(managers: dict[str, set[Field]]) -> list[dict[str, Any]]:
    return [
        {"manager": manager, "operation": "Apply", "fieldsV1": sorted(".".join(path) for path in paths)}
        for manager, paths in sorted(managers.items())
    ]


def _status(message: str) -> dict[str, Any]:
    return {"kind": "Status", "apiVersion": "v1", "message": message}


def _handler(api: ObjectServer) -> type[BaseHTTPRequestHandler]:
    def answer(method: str, path: str, headers: Message, sent: bytes) -> tuple[int, Any]:
        parts = urlsplit(path)
        api.requests.append(f"{method} {path}")
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        return api.answer(method, parts.path, query, json.loads(sent or b"null"))

    return json_handler(answer)
