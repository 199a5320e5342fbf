"""``airflow eks-dask certs``."""

from __future__ import annotations

import json
import shutil
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from airflow.cli.cli_parser import get_parser

from airflow_eks_dask import certificates
from airflow_eks_dask.cli.certs import certs
from tests.unit.tls import NOW, connecting, handshake, listening, make, security


@pytest.fixture
def theirs(tmp_path):
    """Certificates of another cluster."""
    return make(tmp_path / "theirs")


@pytest.fixture
def own(tmp_path):
    """Certificates that are there already."""
    return make(tmp_path / "own")


@pytest.fixture
def run(tmp_path, capsys):
    """Run the command on a directory and return exit code, output and errors."""

    def run(*words, directory=tmp_path / "tls"):
        code = 0
        try:
            certs(get_parser().parse_args(["eks-dask", "certs", "--directory", str(directory), *words]))
        except SystemExit as end:
            code = end.code
        output = capsys.readouterr()
        assert "PRIVATE" not in output.out + output.err
        return SimpleNamespace(code=code, out=output.out, err=output.err, directory=directory)

    return run


def authority_of(ran):
    return (ran.directory / "ca.pem").read_bytes()


def test_makes_and_says_what_next(run):
    made = run("--host", "dask.example.com", "10.0.0.1", "--days", "30")
    assert made.code == 0
    assert "dask scheduler --protocol tls --tls-ca-file" in made.out
    assert "dask worker tls://dask.example.com:8786 --tls-ca-file" in made.out
    for option in (
        "cluster_address = tls://dask.example.com:8786",
        f"tls_ca = {made.directory}/ca.pem",
        f"tls_cert = {made.directory}/client.pem",
        f"tls_key = {made.directory}/client-key.pem",
    ):
        assert option in made.out.splitlines()
    assert f"{datetime.now(timezone.utc) + timedelta(days=30):%Y-%m-%d}" in made.out


def test_json(run):
    made = run("--output", "json", "--host", "::1")
    result = json.loads(made.out)
    assert [row["file"] for row in result["certificates"]] == [
        "ca.pem",
        "scheduler.pem",
        "worker.pem",
        "client.pem",
    ]
    scheduler = result["certificates"][1]
    file = made.directory / "scheduler.pem"
    assert scheduler["names"] == ["::1"]
    assert scheduler["days_left"] == 365
    assert scheduler["sha256"] == certificates.fingerprint(certificates.read_certificate(file))
    assert result["dask"]["cluster_address"] == "tls://[::1]:8786"
    checked = json.loads(run("--check", "-o", "json").out)
    # A second may have passed, and with it the last of the full days.
    for row in [*checked["certificates"], *result["certificates"]]:
        assert row.pop("days_left") in (364, 365, 3649, 3650)
    assert checked == {key: value for key, value in result.items() if key != "dask"}


def test_a_second_time_it_wants_to_be_told(run):
    authority = authority_of(run())
    again = run()
    assert again.code == 1
    assert "--renew" in again.err
    assert "--force" in again.err
    assert authority_of(again) == authority


def test_renewing_keeps_authority_and_names(run):
    first = run("--host", "a.example.com", "b.example.com")
    authority = authority_of(first)
    before = certificates.examine(first.directory, NOW)
    assert run("--renew").code == 0
    after = certificates.examine(first.directory, NOW)
    assert authority_of(first) == authority
    assert all(
        x.certificate.serial_number != y.certificate.serial_number for x, y in zip(before[1:], after[1:], strict=True)
    )
    assert certificates.names_of(after[1].certificate) == certificates.names_of(before[1].certificate)
    handshake(listening("scheduler", security(first.directory)), connecting("client", security(first.directory)))


def test_renewing_with_other_names(run):
    run("--host", "a.example.com")
    renewed = json.loads(run("--renew", "--host", "b.example.com", "-o", "json").out)
    assert renewed["certificates"][1]["names"] == ["b.example.com"]


def test_force_replaces_the_authority(run):
    authority = authority_of(run())
    forced = run("--force")
    assert forced.code == 0
    assert authority_of(forced) != authority
    assert run("--check").code == 0


@pytest.mark.parametrize(
    ("missing", "words"),
    [("ca.pem", "no such file"), ("ca-key.pem", "nothing can be signed"), ("scheduler.pem", "--host")],
)
def test_renewing_without_what_it_takes(run, missing, words):
    (run().directory / missing).unlink()
    renewed = run("--renew")
    assert renewed.code == 1
    assert missing in renewed.err
    assert words in renewed.err


def test_renewing_with_the_key_of_another_authority(run, theirs):
    shutil.copy(theirs / "ca-key.pem", run().directory)
    assert "ca-key.pem: not the key of" in run("--renew").err


def test_checking_finds_an_expired_certificate(run, tmp_path):
    past = make(tmp_path / "past", NOW - timedelta(days=10), days=9)
    checked = run("--check", directory=past)
    assert checked.code == 1
    assert "expired" in checked.out
    assert "dask scheduler" not in checked.out


def test_checking_changes_nothing_and_makes_nothing(run, own, tmp_path):
    before = {file.name: file.stat().st_mtime_ns for file in own.iterdir()}
    assert run("--show", directory=own).code == 0
    assert {file.name: file.stat().st_mtime_ns for file in own.iterdir()} == before
    assert run("--check", directory=tmp_path / "none").code == 1
    assert not (tmp_path / "none").exists()


def test_a_directory_that_cannot_be(run, tmp_path):
    (tmp_path / "file").touch()
    failed = run(directory=tmp_path / "file" / "tls")
    assert failed.code == 1
    assert "Not a directory" in failed.err


@pytest.mark.parametrize(
    "words",
    [
        ("--renew", "--force"),
        ("--check", "--renew"),
        ("--check", "--force"),
        ("--check", "--host", "a"),
        ("--host", "a..b"),
        ("--days", "0"),
        ("--days", "many"),
        ("--output", "xml"),
        ("--host",),
    ],
)
def test_bad_usage(run, words, tmp_path):
    misused = run(*words)
    assert misused.code == 2
    assert "airflow eks-dask certs" in misused.err
    assert words[0] in misused.err
    assert not (tmp_path / "tls").exists()


def test_brackets_in_a_path_are_no_markup(run, tmp_path):
    made = run(directory=tmp_path / "[bold]x[")
    assert made.code == 0
    assert f"tls_ca = {tmp_path}/[bold]x[/ca.pem" in made.out
