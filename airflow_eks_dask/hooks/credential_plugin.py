"""
Tokens for programs that a task starts, such as Helm: the task itself answers, and no token is written to disk.

The kubeconfig of such a program names this module as its credential plugin. The plugin asks a socket that only the
task's user can reach, and prints what it is told.
Source: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins.
"""

from __future__ import annotations

import json
import logging
import socket
import sys
from socketserver import StreamRequestHandler, ThreadingUnixStreamServer
from threading import Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from airflow_eks_dask.hooks.eks_token import EksTokenSource

log = logging.getLogger(__name__)

TIMEOUT = 60.0
"""Seconds that an answer may take: a role may have to be assumed first."""


class CredentialServer:
    """
    Answers credential plugins while the block runs.

    :param tokens: Where tokens come from.
    :param path: Of the socket, in a directory that is closed to others.
    """

    def __init__(self, tokens: EksTokenSource, path: Path) -> None:
        self._tokens = tokens
        self._path = path

    def __enter__(self) -> CredentialServer:
        tokens = self._tokens

        class Handler(StreamRequestHandler):
            timeout = TIMEOUT

            def handle(self) -> None:
                self.wfile.write(json.dumps(tokens.get().exec_credential()).encode())

        self._server = _Server(str(self._path), Handler)
        Thread(target=self._server.serve_forever, args=(0.1,), name="credentials", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def plugin(self) -> dict[str, Any]:
        """Return how a kubeconfig names the plugin: ``users[].user.exec``."""
        # As the plugin, this file runs without the package.
        from airflow_eks_dask.hooks.eks_token import EXEC_API_VERSION

        return {
            "apiVersion": EXEC_API_VERSION,
            "command": sys.executable,
            # -S and -I: nothing of the environment, and no site-packages, are needed to read a socket.
            "args": ["-I", "-S", __file__, str(self._path)],
            "interactiveMode": "Never",
        }


class _Server(ThreadingUnixStreamServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tell why no token came; the plugin gets none, and its program says so, too."""
        log.error("No token could be made for the Kubernetes API", exc_info=True)


def main(path: str) -> int:
    """Print what the socket says; return 1 if it says nothing."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(TIMEOUT)
        connection.connect(path)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    sys.stdout.write(answer.decode())
    if not answer:
        sys.stderr.write("The task made no token for the Kubernetes API; its log says why.\n")
    return int(not answer)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
