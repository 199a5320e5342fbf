"""Where charts come from: a repository and an OCI registry, each with one chart, on this machine."""

from __future__ import annotations

import hashlib
import json
import subprocess
from contextlib import contextmanager
from datetime import datetime, timezone
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml

from airflow_eks_dask import certificates
from airflow_eks_dask.services import SERVICES
from tests.http_server import serving, tls_context

if TYPE_CHECKING:
    from collections.abc import Iterator

CONFIG_TYPE = "application/vnd.cncf.helm.config.v1+json"
CHART_TYPE = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
SHOW = """\
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ .Release.Name }}
data:
  values: {{ toYaml .Values | quote }}
"""


@contextmanager
def repository(directory: Path, *charts: str | Path) -> Iterator[str]:
    """Serve charts in a repository; return its address."""
    subprocess.run(["helm", "package", *charts, "--destination", directory], check=True, capture_output=True)
    subprocess.run(["helm", "repo", "index", directory], check=True, capture_output=True)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *arguments: Any) -> None: ...

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(directory)))) as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def services(directory: Path) -> Iterator[str]:
    """Serve charts that are called as those of cluster services, and only show their values; return the address."""
    with TemporaryDirectory() as sources:
        charts = [Path(sources, service.chart) for service in SERVICES.values()]
        for chart, service in zip(charts, SERVICES.values(), strict=True):
            (chart / "templates").mkdir(parents=True)
            (chart / "templates" / "show.yaml").write_text(SHOW)
            about = {"apiVersion": "v2", "name": service.chart, "version": service.version}
            (chart / "Chart.yaml").write_text(yaml.safe_dump(about))
        with repository(directory, *charts) as address:
            yield address


@contextmanager
def registry(chart: str, version: str, directory: Path) -> Iterator[str]:
    """Serve a chart from a registry, with a certificate of the authority in ``ca.pem``; return its address."""
    subprocess.run(["helm", "package", chart, "--destination", directory], check=True, capture_output=True)
    (archive,) = directory.glob("*.tgz")
    name = archive.name.removesuffix(f"-{version}.tgz")
    content, config = archive.read_bytes(), json.dumps({"name": name, "version": version}).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": _descriptor(CONFIG_TYPE, config),
            "layers": [_descriptor(CHART_TYPE, content)],
        }
    ).encode()
    blobs = {_digest(each): each for each in (content, config, manifest)}

    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if path == "/v2/":
                self._answer(b"{}", "application/json")
            elif path == f"/v2/{name}/tags/list":
                self._answer(json.dumps({"name": name, "tags": [version]}).encode(), "application/json")
            elif path == f"/v2/{name}/manifests/{version}":
                self._answer(manifest, MANIFEST_TYPE)
            elif (digest := path.rpartition("/")[2]) in blobs:
                is_manifest = blobs[digest] == manifest
                self._answer(blobs[digest], MANIFEST_TYPE if is_manifest else "application/octet-stream")
            else:
                self.send_error(404)

        def do_HEAD(self) -> None:
            self.do_GET()

        def _answer(self, data: bytes, kind: str) -> None:
            self.send_response(200)
            headers = {"Content-Type": kind, "Content-Length": len(data), "Docker-Content-Digest": _digest(data)}
            for key, value in headers.items():
                self.send_header(key, str(value))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        def log_message(self, *arguments: Any) -> None: ...

    authority = certificates.make_authority(datetime.now(timezone.utc))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    with serving(server, tls_context(directory, authority)) as port:
        yield f"oci://127.0.0.1:{port}/{name}"


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _descriptor(kind: str, data: bytes) -> dict[str, Any]:
    return {"mediaType": kind, "digest": _digest(data), "size": len(data)}
