"""The image that the chart's pods run, made from this checkout."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from airflow import __version__ as airflow_version

from tests.cluster.conftest import kubectl

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
REPOSITORY = "airflow-eks-dask/pipeline"
VARIABLE = "AIRFLOW_EKS_DASK_IMAGE"
"""Names an image that the cluster has or can pull, for clusters other than the one beside the repository."""


def ensure(kube: Path) -> str:
    """
    Have the image in the cluster for tests, with the version of Airflow that the tests run with.

    It is built when what it is made of has changed, and loaded when the cluster has not got it.

    :param kube: The command of the cluster.
    :return: Its name.
    """
    name = f"{REPOSITORY}:{content_hash()}"
    if _fails(kube, "docker", "image", "inspect", name):
        argument = f"AIRFLOW_VERSION={airflow_version}"
        file = ROOT / "docker" / "Dockerfile"
        _run(kube, "build", "--file", file, "--build-arg", argument, "--tag", name, ROOT)
    known = kubectl("get", "nodes", "--output", "jsonpath={.items[*].status.images[*].names[*]}").split()
    if not any(each.endswith(f"/{name}") for each in known):
        _run(kube, "load", name)
    return name


def content_hash() -> str:
    """Return what stands for all that the image is made of."""
    content = hashlib.sha256(airflow_version.encode())
    for file in sorted(sources()):
        content.update(f"{file.relative_to(ROOT)}\0{os.access(file, os.X_OK)}\0".encode())
        content.update(hashlib.sha256(file.read_bytes()).digest())
    return content.hexdigest()[:16]


def sources() -> Iterator[Path]:
    """Return the files that Docker is given."""
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line.startswith("!"):
            place = ROOT / line[1:]
            files = place.rglob("*") if place.is_dir() else [place]
            yield from (each for each in files if each.is_file() and "__pycache__" not in each.parts)


def _run(kube: Path, *arguments: object) -> None:
    subprocess.run([str(kube), *map(str, arguments)], check=True, timeout=1800)


def _fails(kube: Path, *arguments: str) -> bool:
    return subprocess.run([str(kube), *arguments], capture_output=True, timeout=120, check=False).returncode != 0
