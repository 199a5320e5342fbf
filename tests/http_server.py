"""HTTP servers of the tests' own, with or without TLS, on a free port of 127.0.0.1."""

from __future__ import annotations

import json
import ssl
import threading
from contextlib import contextmanager
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from airflow_eks_dask import certificates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from email.message import Message
    from pathlib import Path

    from airflow_eks_dask.certificates import Issued


@contextmanager
def serving(server: ThreadingHTTPServer, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Have a server answer while the block runs; its port."""
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextmanager
def execution_api(context: ssl.SSLContext | None = None) -> Iterator[str]:
    """Answer where Airflow's execution API would, that it is healthy; its address."""
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), _Healthy), context) as port:
        yield f"{'https' if context else 'http'}://127.0.0.1:{port}/execution/"


def json_handler(answer: Callable[[str, str, Message, bytes], tuple[int, Any]]) -> type[BaseHTTPRequestHandler]:
    """
    Return how a server answers in JSON.

    :param answer: Gets method, path with its query, headers and content; returns status and data.
    """

    class Handler(BaseHTTPRequestHandler):
        def handle_one(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content = answer(self.command, self.path, self.headers, sent)
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_one  # noqa: N815

        def log_message(self, *args: Any) -> None:
            pass

    return Handler


@contextmanager
def kubernetes_objects() -> Iterator[tuple[str, dict[str, Any]]]:
    """
    Answer as a Kubernetes API; its address, and what it holds.

    That is objects by their paths, without what follows a question mark. A number is a status to answer with; a
    function gets what is sent, and returns the object.
    """
    objects: dict[str, Any] = {}

    def answer(method: str, path: str, headers: Message, sent: bytes) -> tuple[int, Any]:
        found = objects.get(path.partition("?")[0], 404)
        found = found(json.loads(sent)) if callable(found) else found
        return (found, {"message": "no"}) if isinstance(found, int) else (200, found)

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), json_handler(answer))) as port:
        yield f"http://127.0.0.1:{port}", objects


def tls_context(directory: Path, authority: Issued) -> ssl.SSLContext:
    """Return the TLS of a server on 127.0.0.1, with a certificate of an authority; the directory gets the files."""
    now = datetime.now(timezone.utc)
    names = [certificates.subject_name("127.0.0.1")]
    issued = certificates.make_certificate("scheduler", authority, now, names=names)
    certificates.write(directory, {certificates.AUTHORITY: authority, "server": issued})
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(
        certificates.certificate_file(directory, "server"), certificates.key_file(directory, "server")
    )
    return context


class _Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/execution/health" else 404)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass
