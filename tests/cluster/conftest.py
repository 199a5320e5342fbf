"""A real Kubernetes cluster: the one that stands beside the repository for tests, or what KUBECONFIG names."""

from __future__ import annotations

import os
import shlex
import subprocess
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from tests.conftest import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.pipelines import Pipelines

BESIDE = Path(__file__).parents[3] / "shared" / "kube" / "kube"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let tests that need a whole Airflow come last: while others run, it would take a third of a processor."""
    items.sort(key=lambda item: "pipelines" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def kubernetes() -> Iterator[Path]:
    """The kubeconfig of a cluster that is up; ``kubectl`` and ``helm`` are on PATH."""
    if BESIDE.exists():
        with cluster_beside():
            yield Path(os.environ["KUBECONFIG"])
        return
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("there is no Kubernetes cluster to test with: KUBECONFIG names none")
    yield Path(os.environ["KUBECONFIG"])


@contextmanager
def cluster_beside(*api_server_options: str) -> Iterator[None]:
    """
    Have the cluster for tests up, as it was before.

    :param api_server_options: Of its API server, which is restarted for them, and once more in the end.
    """
    was_up = subprocess.run([str(BESIDE), "status"], capture_output=True, timeout=60, check=False).returncode == 0
    environment = {**os.environ, "KUBE_APISERVER_ARGS": " ".join(api_server_options)}
    for command in ("install", *(["down"] if api_server_options else []), "up"):
        subprocess.run([str(BESIDE), command], check=True, timeout=1800, env=environment)
    try:
        script = f'eval "$({shlex.quote(str(BESIDE))} env)" && env -0'
        ended = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True, timeout=60)
        found = dict(line.split("=", 1) for line in ended.stdout.split("\0") if line)
        os.environ.update({name: found[name] for name in ("KUBECONFIG", "KUBE_HOST_IP", "PATH")})
        yield
    finally:
        if api_server_options or not was_up:
            subprocess.run([str(BESIDE), "down"], check=True, timeout=300)
        if api_server_options and was_up:
            subprocess.run([str(BESIDE), "up"], check=True, timeout=300)


@pytest.fixture(scope="session")
def image(kubernetes: Path) -> str:
    """The image of this checkout, in the cluster; with another than the one beside, what a variable names."""
    from tests.cluster import image

    if name := os.environ.get(image.VARIABLE):
        return name
    if not BESIDE.exists():
        pytest.skip(f"there is no image to test with: {image.VARIABLE} names none that the cluster can pull")
    return image.ensure(BESIDE)


@pytest.fixture(scope="session")
def pipelines(kubernetes: Path, image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipelines]:
    """Airflow and PostgreSQL on this machine, its tasks in pods: one for all tests, which leave it as it was."""
    from tests.cluster.pipelines import running

    if not (host := os.environ.get("KUBE_HOST_IP")):
        pytest.skip("KUBE_HOST_IP names no address of this machine that pods reach")
    with running(tmp_path_factory.mktemp("pipelines"), kubernetes, image, host) as system:
        yield system


@pytest.fixture(scope="session")
def former_namespaces(kubernetes: Path) -> Iterator[list[str]]:
    """Those of tests that have ended, gone in the end; each takes ten seconds and more, for which no test waits."""
    names: list[str] = []
    yield names
    if names:
        kubectl("delete", "namespace", *names, "--ignore-not-found", "--timeout=240s")


@pytest.fixture
def namespace(former_namespaces: list[str]) -> Iterator[str]:
    """A namespace of the test's own."""
    with new_namespace(former_namespaces) as name:
        yield name


@contextmanager
def new_namespace(former: list[str]) -> Iterator[str]:
    """
    Have a namespace that nothing else has; return its name.

    :param former: Those to be gone in the end; it is added.
    """
    name = f"test-{uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    former.append(name)
    eventually(partial(takes_pods, name), what=f"pods are taken in namespace {name}")
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


def takes_pods(namespace: str) -> bool:
    """Return whether a namespace takes pods: a new one does not, until it has a service account with a token."""
    pod = ["run", "any", "--image", "local/pause", "--dry-run=server", "--namespace", namespace]
    return subprocess.run(["kubectl", *pod], capture_output=True, timeout=60, check=False).returncode == 0


def kubectl(*arguments: str, text: str | None = None) -> str:
    """
    Return what ``kubectl`` prints; what a user at a terminal would see.

    :param text: For its standard input.
    """
    done = subprocess.run(["kubectl", *arguments], input=text, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
