"""
Whether a Dask worker has come to its scheduler, at ``/ready`` of its HTTP server: what Kubernetes asks.

``/health``, which Dask has, answers as soon as there is a worker process, even if it can't connect. A worker with
this module among ``distributed.worker.http.routes`` has ``/ready`` too.
"""

from __future__ import annotations

from typing import Any

from distributed.core import Status
from distributed.http.utils import RequestHandler

_CONNECTED = {Status.running, Status.paused, Status.closing_gracefully}


class ReadyHandler(RequestHandler):
    """Answers 200 while the worker is one of the scheduler's, else 503."""

    def get(self) -> None:
        """Answer."""
        status = self.server.status
        self.set_status(200 if status in _CONNECTED else 503)
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        self.write(status.name)


routes: list[tuple[str, type[ReadyHandler], dict[str, Any]]] = [("/ready", ReadyHandler, {})]
