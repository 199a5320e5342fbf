"""Whether a server is reached: its name known, a connection made, its certificate seen; each says why not."""

from __future__ import annotations

import socket
import ssl
from contextlib import suppress

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

TIMEOUT = 5.0
"""Seconds that connecting to one address, and waiting for the next bytes of a handshake, may take."""

_HANDSHAKE = 0x16
_CERTIFICATE = 0x0B
"""Type of a TLS record, and of the message in it. Source: RFC 5246, sections 6.2.1 and 7.4."""


class UnreachedError(Exception):
    """A server is not reached, or not yet; the message says why."""


def resolve(host: str, port: int) -> list[str]:
    """
    Return the IP addresses of a host, as the system's resolver knows them.

    :raises UnreachedError: It knows none.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise UnreachedError(f"{host} has no IP address: {_words(error)}") from None
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def connect(host: str, port: int, timeout: float = TIMEOUT) -> socket.socket:
    """
    Return a TCP connection, to the first of the host's addresses that takes one; to be closed.

    :param timeout: Seconds that each address may take.
    :raises UnreachedError: None takes one.
    """
    try:
        return socket.create_connection((host, port), timeout)
    except OSError as error:
        raise UnreachedError(f"no connection to {host} port {port}: {_words(error)}") from None


def shake_hands(connection: socket.socket, host: str, context: ssl.SSLContext) -> str:
    """
    Begin to speak TLS, up to where the server has proved who it is.

    A server that goes on to ask for a certificate of ours gets none, and may hang up: that is no failure.

    :param connection: One that is new, with a timeout.
    :param host: What the server is called.
    :param context: Which certificates count.
    :return: The version of TLS; ``TLS`` where the server hung up before it was settled.
    :raises UnreachedError: The server speaks no TLS, or its certificate does not count.
    """
    received, to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(received, to_send, server_hostname=host)
    # Up to TLS 1.2 the server's certificate was checked before ours is sent, and only then the server may refuse us. In
    # TLS 1.3 all of that comes after the end of the handshake.
    is_server_known = False
    try:
        while not _is_done(session):
            flight = to_send.read()
            is_server_known = is_server_known or _has_certificate(flight)
            connection.sendall(flight)
            data = connection.recv(1 << 14)
            if not data:
                raise UnreachedError("the server hung up during the handshake")
            received.write(data)
        with suppress(OSError):
            connection.sendall(to_send.read())
    except ssl.SSLCertVerificationError as error:
        raise UnreachedError(f"the server's certificate does not count: {error.verify_message}") from None
    except (OSError, UnreachedError) as error:
        if not is_server_known:
            raise UnreachedError(f"no TLS handshake with {host}: {_words(error)}") from None
    return session.version() or "TLS"


def tls_context(authority: str | None) -> ssl.SSLContext:
    """
    Return which certificates count.

    :param authority: Certificates (PEM) of authorities. Names do not count then, as they do not for Dask: such an
        authority is to be made for one cluster alone. None: what the system trusts, for the name of the host.
    """
    context = ssl.create_default_context(cadata=authority)
    context.check_hostname = authority is None
    return context


def only_certificates(pem: bytes) -> str:
    """
    Return the certificates in PEM text, without whatever else is there, such as a key.

    :raises ValueError: There are none.
    """
    found = x509.load_pem_x509_certificates(pem)
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in found)


def _is_done(session: ssl.SSLObject) -> bool:
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _has_certificate(flight: bytes) -> bool:
    return len(flight) > 5 and flight[0] == _HANDSHAKE and flight[5] == _CERTIFICATE


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
