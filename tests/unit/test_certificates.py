"""Certificates of a Dask cluster: what they open and what they do not, how they are kept."""

from __future__ import annotations

import os
import shutil
import ssl
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from airflow_eks_dask import certificates
from airflow_eks_dask.certificates import AUTHORITY, CertificateError, Issued, subject_name
from tests.unit.tls import NOW, connecting, handshake, listening, make, security

FILES = [f"{name}{suffix}.pem" for name in (AUTHORITY, "scheduler", "worker", "client") for suffix in ("", "-key")]


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
