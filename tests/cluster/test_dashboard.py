"""``airflow eks-dask dashboard`` as people use it: in a terminal, with a page in a real cluster behind it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import takewhile

import httpx
import pytest
from kubernetes import client, config

from tests.conftest import eventually
from tests.http_server import serving

pytestmark = pytest.mark.any_airflow

PAUSE = "local/pause"
PAGE = b"<h1>pods</h1>" * 100_000


class _Page(SimpleHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def log_message(self, *_):
        pass


@pytest.fixture
def api(kubernetes):
    with config.new_client_from_config(str(kubernetes)) as made:
        yield made


@pytest.fixture
def page(api, namespace):
    """A Service whose pod shares the network of this machine, where a page is served."""
    core = client.CoreV1Api(api)
    images = [name for node in core.list_node().items for image in node.status.images for name in image.names]
    image = next((name for name in images if PAUSE in name), None)
    if image is None:
        pytest.skip("the node of this cluster is not this machine")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    container = {
        "name": "page",
        "image": image,
        "imagePullPolicy": "Never",
        "ports": [{"name": "http", "containerPort": server.server_port}],
    }
    spec = {"hostNetwork": True, "terminationGracePeriodSeconds": 0, "containers": [container]}
    core.create_namespaced_pod(namespace, {"metadata": {"name": "page", "labels": {"app": "page"}}, "spec": spec})
    service = {"selector": {"app": "page"}, "ports": [{"port": 80, "targetPort": "http"}]}
    core.create_namespaced_service(namespace, {"metadata": {"name": "page"}, "spec": service})

    def ready():
        status = core.read_namespaced_pod("page", namespace).status
        return any(each.type == "Ready" and each.status == "True" for each in status.conditions or ())

    with serving(server):
        eventually(ready, timeout=120, what="the pod is ready")
        yield "page"


@pytest.fixture
def start(kubernetes, namespace):
    started = []

    def start(*words):
        command = [sys.executable, "-m", "airflow", "eks-dask", "dashboard", "--kubeconfig", str(kubernetes)]
        process = subprocess.Popen(
            [*command, "--namespace", namespace, "--account", f"{namespace}/default", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_page_is_reached_until_it_is_ended(start, page, namespace, end):
    process = start("--service", page)
    lines = list(takewhile(lambda line: line not in ("", "Ctrl-C ends it.\n"), iter(process.stdout.readline, None)))
    assert lines, process.stderr.read()
    link, told = lines[0].strip(), "".join(lines[1:])
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", link)
    assert f"token of {namespace}/default. It is good until" in told
    (token,) = re.findall(r"^ey\S+$", told, re.M)
    with httpx.Client(trust_env=False, timeout=60) as http:
        for _ in range(3):
            assert http.get(link).content == PAGE
    process.send_signal(end)
    more, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert token not in more + errors
    with pytest.raises(httpx.ConnectError):
        httpx.get(link, trust_env=False)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--service", "nowhere"), r"There is no Service test-\w+/nowhere: is it installed there"),
        (("--service", "page", "--account", "kube-system/nobody"), "ServiceAccount kube-system/nobody: .* 404"),
    ],
)
def test_what_is_missing_is_told(start, page, words, message):
    process = start(*words)
    told, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert told == ""
    assert re.search(message, errors)
