"""A real Kubernetes cluster: the one that stands beside the repository for tests, or what KUBECONFIG names."""

from __future__ import annotations

import hashlib
import os
import shlex
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

import airflow_eks_dask
from airflow_eks_dask.local.postgres import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
BESIDE = ROOT.parent / "shared" / "kube" / "kube"
REPOSITORY = "airflow-eks-dask"
# What docker/Dockerfile copies; .dockerignore says the same.
INPUTS = ("airflow_eks_dask", "constraints", "dags", "docker", ".dockerignore", "pyproject.toml", "setup.cfg")


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
def cluster_beside() -> Iterator[None]:
    """Have the cluster for tests up, as it was before."""
    was_up = subprocess.run([str(BESIDE), "status"], capture_output=True, timeout=60, check=False).returncode == 0
    for command in ("install", "up"):
        subprocess.run([str(BESIDE), command], check=True, timeout=1800)
    try:
        script = f'eval "$({shlex.quote(str(BESIDE))} env)" && env -0'
        ended = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True, timeout=60)
        found = dict(line.split("=", 1) for line in ended.stdout.split("\0") if line)
        os.environ.update({name: found[name] for name in ("KUBECONFIG", "KUBE_HOST_IP", "PATH")})
        yield
    finally:
        if not was_up:
            subprocess.run([str(BESIDE), "down"], check=True, timeout=300)


@pytest.fixture(scope="session")
def image(kubernetes: Path) -> str:
    """
    The image of this checkout, known to the cluster, as repository and tag.

    The tag stands for all that is in it, so it is built and loaded only after a change. For a cluster that takes images
    from a registry, IMAGE names one that has been pushed.
    """
    if name := os.environ.get("IMAGE"):
        return name
    if not BESIDE.exists():
        pytest.skip("IMAGE names no image that the cluster can pull")
    name = f"{REPOSITORY}:{airflow_eks_dask.__version__}-{fingerprint()}"
    known = kubectl("get", "nodes", "--output", "jsonpath={.items[*].status.images[*].names[*]}").split()
    if name not in (one.removeprefix("docker.io/library/") for one in known):
        dockerfile = str(ROOT / "docker" / "Dockerfile")
        subprocess.run([str(BESIDE), "build", "-f", dockerfile, "-t", name, str(ROOT)], check=True, timeout=1800)
        subprocess.run([str(BESIDE), "load", name], check=True, timeout=600)
    return name


def fingerprint() -> str:
    """Return what changes whenever something does that goes into the image."""
    found = hashlib.sha256()
    for top in INPUTS:
        path = ROOT / top
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file.is_file() and "__pycache__" not in file.parts:
                found.update(f"{file.relative_to(ROOT)}\0".encode())
                found.update(hashlib.sha256(file.read_bytes()).digest())
    return found.hexdigest()[:12]


@pytest.fixture
def namespace(kubernetes: Path) -> Iterator[str]:
    """A namespace of the test's own, gone afterwards."""
    name = new_namespace()
    yield name
    delete_namespace(name)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


def new_namespace() -> str:
    name = f"test-{uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    return name


def delete_namespace(name: str) -> None:
    kubectl("delete", "namespace", name, "--timeout=240s")


def kubectl(*arguments: str, text: str | None = None) -> str:
    """
    Return what ``kubectl`` prints; what a user at a terminal would see.

    :param text: For its standard input.
    """
    done = subprocess.run(["kubectl", *arguments], input=text, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
