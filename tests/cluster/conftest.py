"""A real Kubernetes cluster: the one that stands beside the repository for tests, or what KUBECONFIG names."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

BESIDE = Path(__file__).parents[3] / "shared" / "kube" / "kube"


@pytest.fixture(scope="session")
def kubernetes() -> Path:
    """The kubeconfig of a cluster that is up; ``kubectl`` and ``helm`` are on PATH."""
    if BESIDE.exists():
        for command in ("install", "up"):
            subprocess.run([str(BESIDE), command], check=True, timeout=1800)
        shown = subprocess.run([str(BESIDE), "env"], check=True, capture_output=True, text=True, timeout=60).stdout
        script = f"{shown}\nenv -0"
        ended = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True, timeout=60)
        names = ("KUBECONFIG", "KUBE_HOST_IP", "PATH")
        found = dict(line.split("=", 1) for line in ended.stdout.split("\0") if line)
        os.environ.update({name: found[name] for name in names if name in found})
    elif not os.environ.get("KUBECONFIG"):
        pytest.skip("there is no Kubernetes cluster to test with: KUBECONFIG names none")
    return Path(os.environ["KUBECONFIG"])


@pytest.fixture
def namespace(kubernetes: Path) -> Iterator[str]:
    """A namespace of the test's own, gone afterwards."""
    name = f"test-{uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--timeout=240s")


def kubectl(*arguments: str) -> str:
    """Return what ``kubectl`` prints; what a user at a terminal would see."""
    done = subprocess.run(["kubectl", *arguments], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout
