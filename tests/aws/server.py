"""
AWS, simulated: moto's server and what it lacks, in a process of its own, with a record of calls and faults on request.

``python -m tests.aws.server --port 5000``
"""

from __future__ import annotations

import argparse
import copy
import io
import json
import logging
import os
import socket
import sys
import threading
import time
from dataclasses import astuple, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from moto.core.base_backend import BackendDict
from moto.core.model_instances import reset_model_data
from moto.iam.models import iam_backends
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.models import s3_backends
from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from tests.aws import buckets, database_versions, databases, faults, lean, stacks, templates
from tests.aws.calls import Call, recognize
from tests.aws.clock import CLOCK
from tests.aws.eks import clusters
from tests.aws.eks import models as eks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

log = logging.getLogger("tests.aws.server")

CONTROL = "/_simulation/"
HANG = 0.01
"""Seconds that a call hangs which is never answered."""


class Gateway:
    """
    Stands before AWS: counts calls and lets some fail.

    :param aws: The WSGI application that does what AWS does.
    """

    def __init__(self, aws: Callable[..., Iterable[bytes]]) -> None:
        self._aws = aws
        self._lock = threading.Lock()
        self._calls: list[Call] = []
        self._faults: list[faults.Fault] = []
        self._caller_is_gone = False
        self._saved: dict[str, list[tuple[BackendDict[Any], dict[str, Any]]]] = {}

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"].startswith(CONTROL):
            answer = self._control(environ["PATH_INFO"].removeprefix(CONTROL), Request(environ))
            return Response(json.dumps(answer), mimetype="application/json")(environ, start_response)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        call = recognize(environ, body)
        environ["wsgi.input"].seek(0)
        # One at a time: moto is not made for threads.
        with self._lock:
            CLOCK.tick()
            if call is None:
                return self._aws(environ, start_response)
            try:
                response = self._serve(call, environ)
            except NotImplementedError as error:
                log.warning("moto: %s", error)
                response = Response(str(error), 500)
            return response(environ, start_response)

    def _serve(self, call: Call, environ: dict[str, Any]) -> Callable[..., Iterable[bytes]]:
        if self._caller_is_gone:
            return self._cut(environ)
        kinds = [fault.kind for fault in self._faults if fault.strikes(call)]
        kind = kinds[0] if kinds else None
        if kind in faults.ANSWERED:
            status, content_type, body = faults.answer(kind, call)
            response = Response(body, status, content_type=content_type)
        elif call.service == "pricing":
            response = Response(json.dumps({"FormatVersion": "aws_v1", "PriceList": []}), mimetype="application/json")
        elif kind != "timeout":
            response = Response.from_app(self._aws, environ, buffered=True)
        if kind not in faults.CUT:
            self._calls.append(replace(call, status=response.status_code))
            return response
        self._calls.append(replace(call, status=0))
        self._caller_is_gone = kind == "killed"
        return self._cut(environ)

    def _cut(self, environ: dict[str, Any]) -> Response:
        time.sleep(HANG)
        environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        return Response()

    def _control(self, action: str, request: Request) -> Any:
        if action == "calls":
            return [astuple(call) for call in self._calls]
        if action == "forget":
            self._calls.clear()
        elif action == "fail":
            self._faults.append(faults.Fault(**request.get_json()))
        elif action == "heal":
            self._heal()
        elif action == "durations":
            CLOCK.seconds.update(request.get_json())
        elif action == "pass":
            CLOCK.pass_time(**request.get_json())
        elif action == "spoil":
            CLOCK.spoil(**request.get_json())
        elif action == "save":
            self._saved[request.get_json()["name"]] = _copy_of_account()
        elif action == "restore":
            _fill_account(self._saved[request.get_json()["name"]])
        elif action == "reset":
            self._reset()
        else:
            raise ValueError(action)
        return None

    def _heal(self) -> None:
        self._faults.clear()
        self._caller_is_gone = False

    def _reset(self) -> None:
        with self._lock:
            self._heal()
            CLOCK.reset()
            _empty_account()
            self._calls.clear()


def _empty_account() -> None:
    """Forget everything. ``BackendDict.reset()`` would also build each backend anew, at once, which is slow."""
    for _, _, backend in s3_backends.iter_backends():
        backend.reset()
    for backends in BackendDict._instances:
        backends.clear()
    BackendDict._instances.clear()
    reset_model_data()


def _copy_of_account() -> list[tuple[BackendDict[Any], dict[str, Any]]]:
    contents = [(backends, dict(backends)) for backends in BackendDict._instances]
    return _copied(contents)


def _copied(contents: list[tuple[BackendDict[Any], dict[str, Any]]]) -> list[tuple[BackendDict[Any], dict[str, Any]]]:
    memo: dict[int, Any] = {id(backends): backends for backends, _ in contents}
    # There are a thousand of them, and nobody changes them.
    for _, _, iam in iam_backends.iter_backends():
        memo.update((id(policy), policy) for policy in iam.aws_managed_policies)
    return copy.deepcopy(contents, memo)


def _fill_account(contents: list[tuple[BackendDict[Any], dict[str, Any]]]) -> None:
    for backends in BackendDict._instances:
        backends.clear()
    BackendDict._instances.clear()
    for backends, of_accounts in _copied(contents):
        backends.update(of_accounts)
        BackendDict._instances.append(backends)
    owners = {
        name: (partition, account_id)
        for account_id, partition, backend in s3_backends.iter_backends()
        for name in backend.buckets
    }
    s3_backends.bucket_accounts.clear()
    s3_backends.bucket_accounts.update(owners)


class _QuietHandler(MotoRequestHandler):
    def log_request(self, *args: Any) -> None:
        pass


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.aws.server", description=__doc__)
    parser.add_argument("--port", type=int, required=True, help="TCP port of 127.0.0.1")
    parser.add_argument("--kubeconfig", type=Path, help="of the cluster that all clusters of EKS are")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    for service in (lean, eks, stacks, templates, databases, database_versions, buckets):
        service.install()
    if arguments.kubeconfig:
        (cluster,) = yaml.safe_load(arguments.kubeconfig.read_text())["clusters"]
        clusters.lead_to(cluster["cluster"]["server"], cluster["cluster"]["certificate-authority-data"])
    threading.Thread(target=_end_with_parent, daemon=True).start()
    gateway = Gateway(DomainDispatcherApplication(create_backend_app))
    make_server("127.0.0.1", arguments.port, gateway, threaded=True, request_handler=_QuietHandler).serve_forever()


if __name__ == "__main__":
    main()
