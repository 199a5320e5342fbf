"""Programs of Debian that tests need, where they are not there; that takes root."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def can_install() -> bool:
    """Tell whether packages can be had."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(*packages: str) -> None:
    """Install packages, and nothing that they only recommend."""
    with _alone():
        _apt_get("update")
        _apt_get("install", "--yes", "--no-install-recommends", *packages)


def extract(package: str, directory: Path) -> None:
    """Put the files of a package into a directory: nothing is installed, so that no service of it starts."""
    with _alone():
        _apt_get("update")
        _apt_get("download", package, directory=directory)
    (archive,) = directory.glob(f"{package}_*.deb")
    subprocess.run(["dpkg", "--extract", str(archive), str(directory)], check=True, timeout=300)


@contextmanager
def _alone() -> Iterator[None]:
    """Wait for other tests: apt-get itself would fail where another one is at work."""
    with (Path(tempfile.gettempdir()) / "airflow-eks-dask-tests-debian.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _apt_get(*arguments: str, directory: Path | None = None) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    subprocess.run(["apt-get", "--quiet", *arguments], check=True, timeout=900, env=environment, cwd=directory)
