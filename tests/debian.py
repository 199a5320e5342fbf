"""Programs of Debian that tests need, where they are not there; that takes root."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path


def can_install() -> bool:
    """Tell whether packages can be had."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def install(*packages: str) -> None:
    """Install packages, and nothing that they only recommend."""
    _apt_get("install", "--yes", "--no-install-recommends", *packages)


def extract(package: str, directory: Path) -> None:
    """Put the files of a package into a directory: nothing is installed, so that no service of it starts."""
    _apt_get("download", package, directory=directory)
    (archive,) = directory.glob(f"{package}_*.deb")
    subprocess.run(["dpkg", "--extract", str(archive), str(directory)], check=True, timeout=300)


def _apt_get(*command: str, directory: Path | None = None) -> None:
    """Run a command with what there is to be had now; other tests wait, where apt-get itself would fail."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    with (Path(tempfile.gettempdir()) / "airflow-eks-dask-tests-debian.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for arguments in (["update"], command):
            words = ["apt-get", "--quiet", *arguments]
            subprocess.run(words, check=True, timeout=900, env=environment, cwd=directory)
