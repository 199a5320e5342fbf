"""Certificates of a Dask cluster: what they open and what they do not, how they are kept, and the command for it."""

from __future__ import annotations

import json
import os
import shutil
import ssl
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from airflow.cli.cli_parser import get_parser
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from distributed import Security

from airflow_eks_dask import certificates
from airflow_eks_dask.certificates import AUTHORITY, CertificateError, Issued, subject_name
from airflow_eks_dask.cli.certs import certs

NOW = datetime.now(timezone.utc)
FILES = [f"{name}{suffix}.pem" for name in (AUTHORITY, "scheduler", "worker", "client") for suffix in ("", "-key")]


def make(directory, now=NOW, names=("dask.example.com",), **days):
    authority = certificates.make_authority(now)
    leaves = certificates.make_leaves(authority, now, names=[subject_name(name) for name in names], **days)
    certificates.write(directory, {AUTHORITY: authority, **leaves})
    return directory


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """Certificates that no test changes."""
    return make(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """Those of another cluster."""
    return make(tmp_path_factory.mktemp("tls") / "theirs")


@pytest.fixture
def own(ours, tmp_path):
    """Certificates that a test may change."""
    return shutil.copytree(ours, tmp_path / "own")


def security(directory, ca=None, **certificate_of):
    """Return Dask's view of a directory; a role may show another's certificate."""
    files = {}
    for role in ("scheduler", "worker", "client"):
        shown = certificate_of.get(role, role)
        files[f"tls_{role}_cert"] = str(directory / f"{shown}.pem")
        files[f"tls_{role}_key"] = str(directory / f"{shown}-key.pem")
    return Security(require_encryption=True, tls_ca_file=str((ca or directory) / "ca.pem"), **files)


def listening(role, security):
    return security.get_listen_args(role)["ssl_context"]


def connecting(role, security):
    return security.get_connection_args(role)["ssl_context"]


def handshake(server, client, hostname=None):
    """Let two ends meet, without a network."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=hostname),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    for _ in range(10):
        for end in tuple(ends):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            ends.remove(end)
        if not ends:
            return
    pytest.fail("the handshake does not end")


@pytest.mark.parametrize(
    ("server", "client"),
    [
        ("scheduler", "client"),
        ("scheduler", "worker"),
        ("worker", "scheduler"),
        ("worker", "worker"),
        ("worker", "client"),
    ],
)
def test_those_who_meet_in_a_cluster_accept_each_other(ours, server, client):
    handshake(listening(server, security(ours)), connecting(client, security(ours)))


def test_dask_checks_no_host_names(ours):
    handshake(listening("worker", security(ours)), connecting("client", security(ours)), "other.example.com")


def test_others_can_check_the_name_of_the_scheduler(ours):
    client = connecting("client", security(ours))
    client.check_hostname = True
    handshake(listening("scheduler", security(ours)), client, "dask.example.com")
    with pytest.raises(ssl.SSLError, match="Hostname mismatch"):
        handshake(listening("scheduler", security(ours)), client, "other.example.com")


def test_they_pass_the_strictest_checks(ours):
    server, client = listening("scheduler", security(ours)), connecting("client", security(ours))
    for end in (server, client):
        end.verify_flags |= ssl.VERIFY_X509_STRICT
    handshake(server, client)


def test_the_client_cannot_pose_as_a_server(ours):
    with pytest.raises(ssl.SSLError, match="unsuitable certificate purpose"):
        handshake(listening("scheduler", security(ours, scheduler="client")), connecting("client", security(ours)))


def test_no_certificate_no_connection(ours):
    client = ssl.create_default_context(cafile=ours / "ca.pem")
    client.check_hostname = False
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        handshake(listening("scheduler", security(ours)), client)


def test_a_client_of_another_authority_is_refused(ours, theirs):
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        handshake(listening("scheduler", security(ours)), connecting("client", security(theirs, ca=ours)))


def test_a_scheduler_of_another_authority_is_refused(ours, theirs):
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        handshake(listening("scheduler", security(theirs, ca=ours)), connecting("client", security(ours)))


def test_an_expired_certificate_is_refused(tmp_path):
    past = make(tmp_path / "past", NOW - timedelta(days=10), days=9)
    with pytest.raises(ssl.SSLError, match="certificate has expired"):
        handshake(listening("scheduler", security(past)), connecting("client", security(past)))


def test_a_leaf_signs_nothing(tmp_path):
    authority = certificates.make_authority(NOW)
    leaves = certificates.make_leaves(authority, NOW)
    leaves["scheduler"] = certificates.make_certificate("scheduler", leaves["worker"], NOW, 1)
    directory = tmp_path / "tls"
    certificates.write(directory, {AUTHORITY: authority, **leaves})
    with (directory / "scheduler.pem").open("a") as chain:
        chain.write((directory / "worker.pem").read_text())
    with pytest.raises(ssl.SSLError, match="invalid CA certificate"):
        handshake(listening("scheduler", security(directory)), connecting("client", security(directory)))


def test_an_authority_has_no_authorities_below_it(ours):
    constraints = certificates.read_certificate(ours / "ca.pem").extensions.get_extension_for_class(
        x509.BasicConstraints
    )
    assert (constraints.critical, constraints.value) == (True, x509.BasicConstraints(ca=True, path_length=0))


def test_serial_numbers_and_keys_are_never_the_same(ours, theirs):
    found = [one.certificate for directory in (ours, theirs) for one in certificates.examine(directory, NOW)]
    assert len({certificate.serial_number for certificate in found}) == 8
    assert len({certificate.public_key().public_numbers() for certificate in found}) == 8
    assert len({certificate.subject for certificate in found if certificate.issuer == certificate.subject}) == 2


def test_validity(ours):
    left = [certificates.days_left(one.certificate, NOW) for one in certificates.examine(ours, NOW)]
    assert left == [3650, 365, 365, 365]


@pytest.mark.parametrize("days", [3651, 10**12])
def test_no_certificate_outlives_its_authority(days):
    authority = certificates.make_authority(NOW)
    certificates.make_leaves(authority, NOW, 3650)
    with pytest.raises(CertificateError, match="3650 days from now"):
        certificates.make_leaves(authority, NOW, days)


@pytest.mark.parametrize("text", ["localhost", "dask-scheduler.dask.svc.cluster.local", "10.0.0.1", "::1", "a_b"])
def test_names(text):
    assert str(subject_name(text).value) == text


@pytest.mark.parametrize(
    "text", ["", "a..b", "-a", "a b", "tls://host", "host:8786", "10.0.0.256", "ümlaut", "a." * 130 + "a", "a" * 64]
)
def test_what_is_no_name(text):
    with pytest.raises(ValueError, match="neither a host name nor an IP address"):
        subject_name(text)


class TestFiles:
    """What is written, and who can read it."""

    def mode(self, path):
        return path.stat().st_mode & 0o777

    def test_keys_are_for_their_owner_alone(self, tmp_path, monkeypatch):
        def fdopen(descriptor, *arguments):
            modes.append(os.fstat(descriptor).st_mode & 0o777)
            return real(descriptor, *arguments)

        modes, real = [], os.fdopen
        monkeypatch.setattr(os, "fdopen", fdopen)
        umask = os.umask(0)
        try:
            directory = make(tmp_path / "new" / "tls")
        finally:
            os.umask(umask)
        assert modes == [0o600] * 8, "before there is anything in them"
        assert self.mode(directory) == 0o700
        assert {file.name: self.mode(file) for file in directory.iterdir()} == {
            name: 0o600 if name.endswith("-key.pem") else 0o644 for name in FILES
        }

    def test_a_directory_open_to_others_is_refused(self, tmp_path):
        tmp_path.chmod(0o750)
        with pytest.raises(CertificateError, match="chmod 700"):
            make(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_nothing_is_overwritten_unasked(self, own):
        for name in FILES[1:]:
            (own / name).unlink()
        before = (own / "ca.pem").read_bytes()
        with pytest.raises(CertificateError, match=r"has ca\.pem already"):
            make(own)
        assert [file.name for file in own.iterdir()] == ["ca.pem"]
        assert (own / "ca.pem").read_bytes() == before

    def test_when_writing_fails_everything_is_as_before(self, own, monkeypatch):
        def fchmod(descriptor, mode):
            if mode == 0o644:
                raise OSError(28, "No space left on device")

        before = {file.name: file.read_bytes() for file in own.iterdir()}
        monkeypatch.setattr(os, "fchmod", fchmod)
        with pytest.raises(OSError, match="No space left"):
            certificates.write(own, {AUTHORITY: certificates.make_authority(NOW)}, overwrite=True)
        assert {file.name: file.read_bytes() for file in own.iterdir()} == before


class TestExamine:
    """What is found wrong."""

    def problems(self, directory, now=NOW):
        return {one.file.stem: one.problems for one in certificates.examine(directory, now) if one.problems}

    def test_nothing(self, ours):
        assert self.problems(ours) == {}

    def test_time(self, ours):
        assert self.problems(ours, NOW + timedelta(days=364, hours=23)) == {}
        assert self.problems(ours, NOW + timedelta(days=366)) == dict.fromkeys(
            ("scheduler", "worker", "client"), ("expired",)
        )
        assert "not valid before" in self.problems(ours, NOW - timedelta(days=1))["ca"][0]

    def test_another_authority(self, own, theirs):
        shutil.copy(theirs / "ca.pem", own)
        assert self.problems(own) == {
            "ca": ("ca-key.pem is not its key",),
            **dict.fromkeys(("scheduler", "worker", "client"), ("not signed by the authority in ca.pem",)),
        }

    def test_a_forger_with_the_name_of_the_authority(self, own):
        real = certificates.read_authority(own)
        forger = Issued(real.certificate, certificates.make_authority(NOW).key)
        certificates.write(own, {"client": certificates.make_certificate("client", forger, NOW)}, overwrite=True)
        assert self.problems(own) == {"client": ("not signed by the authority in ca.pem",)}

    def test_the_key_of_another(self, own):
        shutil.copy(own / "client-key.pem", own / "worker-key.pem")
        assert self.problems(own) == {"worker": ("worker-key.pem is not its key",)}

    def test_a_leaf_instead_of_the_authority(self, own):
        shutil.copy(own / "worker.pem", own / "ca.pem")
        assert "not the certificate of an authority" in self.problems(own)["ca"]

    def test_a_machine_with_the_files_of_its_role_only(self, own):
        for file in own.iterdir():
            if file.name not in ("ca.pem", "worker.pem", "worker-key.pem"):
                file.unlink()
        assert [one.file.name for one in certificates.examine(own, NOW)] == ["ca.pem", "worker.pem"]

    @pytest.mark.parametrize("name", ["ca.pem", "worker.pem", "worker-key.pem"])
    @pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"-----BEGIN CERTIFICATE-----\nx"])
    def test_a_file_that_is_something_else(self, own, name, content):
        (own / name).write_bytes(content)
        with pytest.raises(CertificateError, match=rf"{name}: not .* in PEM format"):
            certificates.examine(own, NOW)

    def test_an_encrypted_key(self, own):
        key = certificates.make_authority(NOW).key
        encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
        (own / "client-key.pem").write_bytes(encrypted)
        with pytest.raises(CertificateError, match=r"client-key\.pem: not an unencrypted private key"):
            certificates.examine(own, NOW)


class TestCommand:
    """``airflow eks-dask certs``."""

    @pytest.fixture
    def run(self, tmp_path, capsys):
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

    def authority(self, ran):
        return (ran.directory / "ca.pem").read_bytes()

    def test_makes_and_says_what_next(self, run):
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

    def test_json(self, run):
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

    def test_a_second_time_it_wants_to_be_told(self, run):
        authority = self.authority(run())
        again = run()
        assert again.code == 1
        assert "--renew" in again.err
        assert "--force" in again.err
        assert self.authority(again) == authority

    def test_renewing_keeps_authority_and_names(self, run):
        first = run("--host", "a.example.com", "b.example.com")
        authority = self.authority(first)
        before = certificates.examine(first.directory, NOW)
        assert run("--renew").code == 0
        after = certificates.examine(first.directory, NOW)
        assert self.authority(first) == authority
        assert all(
            x.certificate.serial_number != y.certificate.serial_number
            for x, y in zip(before[1:], after[1:], strict=True)
        )
        assert certificates.names_of(after[1].certificate) == certificates.names_of(before[1].certificate)
        handshake(listening("scheduler", security(first.directory)), connecting("client", security(first.directory)))

    def test_renewing_with_other_names(self, run):
        run("--host", "a.example.com")
        renewed = json.loads(run("--renew", "--host", "b.example.com", "-o", "json").out)
        assert renewed["certificates"][1]["names"] == ["b.example.com"]

    def test_force_replaces_the_authority(self, run):
        authority = self.authority(run())
        forced = run("--force")
        assert forced.code == 0
        assert self.authority(forced) != authority
        assert run("--check").code == 0

    @pytest.mark.parametrize(
        ("missing", "words"),
        [("ca.pem", "no such file"), ("ca-key.pem", "nothing can be signed"), ("scheduler.pem", "--host")],
    )
    def test_renewing_without_what_it_takes(self, run, missing, words):
        (run().directory / missing).unlink()
        renewed = run("--renew")
        assert renewed.code == 1
        assert missing in renewed.err
        assert words in renewed.err

    def test_renewing_with_the_key_of_another_authority(self, run, theirs):
        shutil.copy(theirs / "ca-key.pem", run().directory)
        assert "ca-key.pem: not the key of" in run("--renew").err

    def test_checking_finds_an_expired_certificate(self, run, tmp_path):
        past = make(tmp_path / "past", NOW - timedelta(days=10), days=9)
        checked = run("--check", directory=past)
        assert checked.code == 1
        assert "expired" in checked.out
        assert "dask scheduler" not in checked.out

    def test_checking_changes_nothing_and_makes_nothing(self, run, own, tmp_path):
        before = {file.name: file.stat().st_mtime_ns for file in own.iterdir()}
        assert run("--show", directory=own).code == 0
        assert {file.name: file.stat().st_mtime_ns for file in own.iterdir()} == before
        assert run("--check", directory=tmp_path / "none").code == 1
        assert not (tmp_path / "none").exists()

    def test_a_directory_that_cannot_be(self, run, tmp_path):
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
    def test_bad_usage(self, run, words, tmp_path):
        misused = run(*words)
        assert misused.code == 2
        assert "airflow eks-dask certs" in misused.err
        assert words[0] in misused.err
        assert not (tmp_path / "tls").exists()

    def test_brackets_in_a_path_are_no_markup(self, run, tmp_path):
        made = run(directory=tmp_path / "[bold]x[")
        assert made.code == 0
        assert f"tls_ca = {tmp_path}/[bold]x[/ca.pem" in made.out
