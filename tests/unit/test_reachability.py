"""Names, connections and TLS handshakes, with servers of every sort."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import contextmanager, suppress
from datetime import datetime, timezone

import pytest

from airflow_eks_dask import certificates
from airflow_eks_dask.resources.reachability import (
    UnreachedError,
    connect,
    only_certificates,
    resolve,
    shake_hands,
    tls_context,
)
from tests.http_server import tls_context as server_context

pytestmark = pytest.mark.any_airflow

TLS_1_2, TLS_1_3 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@contextmanager
def server(treat):
    """A server that treats each connection so; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection, suppress(OSError):
                        treat(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def speaking(context):
    def treat(connection):
        with context.wrap_socket(connection, server_side=True) as session:
            session.recv(1)

    return server(treat)


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    """Two authorities (PEM), and what makes the context of a server with a certificate of the first."""
    directory = tmp_path_factory.mktemp("tls")
    ours, others = (certificates.make_authority(datetime.now(timezone.utc)) for _ in range(2))
    for name, authority in (("ours", ours), ("others", others)):
        server_context(directory / name, authority)
    pem = {name: (directory / name / "ca.pem").read_text() for name in ("ours", "others")}

    def context(version=TLS_1_3, verify=ssl.CERT_NONE):
        made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=pem["ours"])
        made.load_cert_chain(directory / "ours" / "server.pem", directory / "ours" / "server-key.pem")
        made.minimum_version = made.maximum_version = version
        made.verify_mode = verify
        return made

    return pem, context


def try_hands(port, authority, timeout=30):
    with connect("127.0.0.1", port, timeout) as connection:
        return shake_hands(connection, "127.0.0.1", tls_context(authority))


@pytest.mark.parametrize("verify", [ssl.CERT_NONE, ssl.CERT_OPTIONAL, ssl.CERT_REQUIRED])
@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_a_server_of_the_authority_is_known_even_where_it_wants_to_know_us(tls, version, verify):
    pem, context = tls
    with speaking(context(version, verify)) as port:
        expected = "TLS" if (version, verify) == (TLS_1_2, ssl.CERT_REQUIRED) else version.name.replace("_", ".")
        assert try_hands(port, pem["ours"]) == expected


@pytest.mark.parametrize("verify", [ssl.CERT_NONE, ssl.CERT_REQUIRED])
@pytest.mark.parametrize("version", [TLS_1_2, TLS_1_3])
def test_a_server_of_another_authority_is_not(tls, version, verify):
    pem, context = tls
    with speaking(context(version, verify)) as port:
        for authority in (pem["others"], None):
            with pytest.raises(UnreachedError, match=r"certificate does not count: .*(certificate|issuer)"):
                try_hands(port, authority)


def test_with_the_authorities_of_the_system_names_count(tls):
    assert tls_context(None).check_hostname
    assert not tls_context(tls[0]["ours"]).check_hostname


def test_a_refusal_before_the_certificate_is_none_of_ours(tls):
    pem, context = tls
    wants_other_ciphers = context(TLS_1_2, ssl.CERT_REQUIRED)
    wants_other_ciphers.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")  # the key is none of RSA
    with speaking(wants_other_ciphers) as port, pytest.raises(UnreachedError, match=r"no TLS handshake.*alert"):
        try_hands(port, pem["ours"])


@pytest.mark.parametrize(
    ("treat", "words"),
    [
        (lambda connection: connection.sendall(b"HTTP/1.0 400 no\r\n\r\n"), "wrong version number"),
        (lambda connection: connection.recv(4096), "hung up during the handshake"),
        (lambda connection: connection.recv(1 << 20, socket.MSG_WAITALL), "no answer in time"),
    ],
)
def test_what_speaks_no_tls(tls, treat, words):
    with server(treat) as port, pytest.raises(UnreachedError, match=f"no TLS handshake with 127.0.0.1: .*{words}"):
        try_hands(port, tls[0]["ours"], timeout=0.5)


def test_nobody_there():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        with pytest.raises(UnreachedError, match=rf"no connection to 127\.0\.0\.1 port {port}: Connection refused"):
            connect("127.0.0.1", port)


def test_names():
    assert "127.0.0.1" in resolve("localhost", 1)
    for name in ("nowhere.invalid", "a" * 70 + ".invalid", "a..b"):
        with pytest.raises(UnreachedError, match=f"{name} has no IP address: "):
            resolve(name, 1)


def test_a_key_is_left_out(tls, tmp_path):
    certificate, key = (file.read_bytes() for file in files(tmp_path))
    assert only_certificates(key + certificate).encode() == certificate
    with pytest.raises(ValueError, match="PEM"):
        only_certificates(key)


def files(directory):
    server_context(directory, certificates.make_authority(datetime.now(timezone.utc)))
    return directory / "server.pem", directory / "server-key.pem"
