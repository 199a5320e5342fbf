"""
Certificates for mutual TLS in one Dask cluster, and for that cluster alone.

Whoever opens a TLS connection to a Dask scheduler or worker must show a certificate of the cluster's authority, and so
must whoever answers. That is all Dask checks: ``distributed.Security`` sets ``check_hostname = False``, so the names
in a certificate mean nothing to it, and every certificate of the authority that may act as a server can pose as the
Dask scheduler. Therefore the authority signs for nothing but one cluster; an authority shared with other services, or
with other clusters, would let them in. The names in the scheduler's certificate serve clients other than Dask.

What keeps roles apart is extended key usage, which OpenSSL enforces on both ends. Scheduler and workers listen and
connect, so they may be both server and client; the client certificate, which the Airflow scheduler shows, is refused
where a server is expected. There is no list of revoked certificates: after a key was lost, make a new authority.
"""

from __future__ import annotations

import ipaddress
import os
import re
import tempfile
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

AUTHORITY = "ca"
AUTHORITY_DAYS = 3650
LEAF_DAYS = 365
USAGES = {
    "scheduler": (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
    "worker": (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH),
    "client": (ExtendedKeyUsageOID.CLIENT_AUTH,),
}
"""What the certificate of each role is good for."""

CLOCK_SKEW = timedelta(minutes=5)
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)


class CertificateError(Exception):
    """Certificates could not be made or read; the message says which, and what to do."""


@dataclass(frozen=True)
class Issued:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def certificate_pem(self) -> bytes:
        """Return the certificate as PEM."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self) -> bytes:
        """Return the private key as PEM, not encrypted."""
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )


@dataclass(frozen=True)
class Examined:
    """
    A certificate found in a file.

    :param file: Where.
    :param certificate: What it holds.
    :param problems: Why it does not serve; empty if it does.
    """

    file: Path
    certificate: x509.Certificate
    problems: tuple[str, ...]


def certificate_file(directory: Path, name: str) -> Path:
    """Return where the certificate of a role, or of the authority, is kept."""
    return directory / f"{name}.pem"


def key_file(directory: Path, name: str) -> Path:
    """Return where the private key of a role, or of the authority, is kept."""
    return directory / f"{name}-key.pem"


def secret_name(name: str, role: str) -> str:
    """
    Return what the Secret in Kubernetes is called that holds a certificate.

    :param name: What those of a cluster begin with.
    :param role: One of :data:`USAGES`.
    """
    return f"{name}-{role}-tls"


def subject_name(text: str) -> x509.GeneralName:
    """
    Read a name for a certificate.

    :param text: A host name or an IP address.
    :raises ValueError: It is neither.
    """
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        pass
    labels = text.split(".")
    # A last label of digits alone would make it a mistyped IP address.
    if len(text) > 253 or labels[-1].isdigit() or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError(f"{text!r} is neither a host name nor an IP address")
    return x509.DNSName(text)


def make_authority(now: datetime, days: int = AUTHORITY_DAYS) -> Issued:
    """
    Make an authority that signs leaf certificates and nothing else.

    :param now: The current time, with time zone.
    :param days: For how many days from now it is valid.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    # Part of the key's identifier, so that people can tell the authorities of two clusters apart.
    name = _common_name(f"Dask cluster authority {identifier.digest.hex()[:8]}")
    certificate = (
        _builder(name, name, key, now, days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Issued(certificate, key)


def make_certificate(
    role: str, authority: Issued, now: datetime, days: int = LEAF_DAYS, names: Sequence[x509.GeneralName] = ()
) -> Issued:
    """
    Make the certificate of a role, with a new key.

    :param role: One of :data:`USAGES`.
    :param authority: Signs it.
    :param now: The current time, with time zone.
    :param days: For how many days from now it is valid.
    :param names: Host names and IP addresses of who will show it.
    :raises CertificateError: The authority's own validity ends before.
    """
    issuer = authority.certificate
    left = days_left(issuer, now)
    if days > left:
        raise CertificateError(
            f"The authority itself is valid until {issuer.not_valid_after_utc:%Y-%m-%d}, {left} days from now, and "
            f"cannot sign for {days} days: ask for fewer (--days), or make a new authority (--force)"
        )
    key = ec.generate_private_key(ec.SECP256R1())
    issuer_identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        _builder(_common_name(f"Dask {role}"), issuer.subject, key, now, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(USAGES[role]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_identifier), critical=False
        )
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return Issued(builder.sign(authority.key, hashes.SHA256()), key)


def make_leaves(
    authority: Issued, now: datetime, days: int = LEAF_DAYS, names: Sequence[x509.GeneralName] = ()
) -> dict[str, Issued]:
    """
    Make the certificates of all roles.

    :param names: Of the Dask scheduler. Workers get none: they come and go, and all show the same certificate.
    :raises CertificateError: The authority's own validity ends before.
    """
    return {role: make_certificate(role, authority, now, days, names if role == "scheduler" else ()) for role in USAGES}


def write(directory: Path, issued: Mapping[str, Issued], *, overwrite: bool = False) -> None:
    """
    Write certificates and keys, as PEM. No key is readable by others at any time.

    :param directory: Made if missing.
    :param issued: By role; :data:`AUTHORITY` is one too.
    :param overwrite: Replace what is there.
    :raises CertificateError: A file is there already, or others have access to the directory.
    :raises OSError: A file could not be written.
    """
    contents: dict[Path, tuple[bytes, int]] = {}
    for name, one in issued.items():
        contents[key_file(directory, name)] = (one.key_pem(), 0o600)
        contents[certificate_file(directory, name)] = (one.certificate_pem(), 0o644)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.stat().st_mode & 0o077:
        raise CertificateError(f"Others have access to {directory}: run chmod 700, or name a directory of your own")
    if not overwrite and (there := [file.name for file in contents if file.exists()]):
        raise CertificateError(
            f"{directory} has {', '.join(sorted(there))} already. --renew makes new certificates from the authority "
            "that is there, --force replaces the authority too"
        )
    _write_all(directory, contents)


def _write_all(directory: Path, contents: Mapping[Path, tuple[bytes, int]]) -> None:
    """Write everything under other names first, so that a full disk leaves the old files as they were."""
    temporary: dict[Path, Path] = {}
    try:
        for file, (content, mode) in contents.items():
            descriptor, name = tempfile.mkstemp(dir=directory, prefix=f".{file.name}.")  # with mode 0600
            temporary[file] = Path(name)
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
                os.fchmod(descriptor, mode)
        for file in contents:
            temporary[file].replace(file)
            del temporary[file]
    finally:
        for left in temporary.values():
            left.unlink(missing_ok=True)


def read_certificate(file: Path) -> x509.Certificate:
    """
    Read a certificate.

    :raises CertificateError: The file is missing or holds something else.
    """
    try:
        return x509.load_pem_x509_certificate(file.read_bytes())
    except FileNotFoundError:
        raise CertificateError(
            f"{file}: no such file. airflow eks-dask certs, without --renew and --check, makes it"
        ) from None
    except ValueError:
        raise CertificateError(f"{file}: not a certificate in PEM format") from None


def read_authority(directory: Path) -> Issued:
    """
    Read an authority that :func:`write` has written.

    :raises CertificateError: It is missing, or the key is not its own.
    """
    certificate = read_certificate(certificate_file(directory, AUTHORITY))
    file = key_file(directory, AUTHORITY)
    if not file.exists():
        raise CertificateError(f"{file}: no such file. Without the authority's key nothing can be signed")
    key = _read_key(file)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise CertificateError(f"{file}: not the key of {certificate_file(directory, AUTHORITY)}")
    return Issued(certificate, key)


def examine(directory: Path, now: datetime) -> list[Examined]:
    """
    Look at the certificates in a directory, the authority's first; those of roles may be missing.

    :param now: The current time, with time zone.
    :raises CertificateError: There is no authority, or a file holds something else.
    """
    authority = read_certificate(certificate_file(directory, AUTHORITY))
    examined = []
    for name in (AUTHORITY, *USAGES):
        file, key = certificate_file(directory, name), key_file(directory, name)
        if not file.exists():
            continue
        certificate = read_certificate(file)
        problems = _problems(certificate, authority, now)
        if name == AUTHORITY and not _is_authority(certificate):
            problems.append("not the certificate of an authority")
        # The authority's key is best kept elsewhere; a machine needs the key of its own role only.
        if key.exists() and _read_key(key).public_key() != certificate.public_key():
            problems.append(f"{key.name} is not its key")
        examined.append(Examined(file, certificate, tuple(problems)))
    return examined


def days_left(certificate: x509.Certificate, now: datetime) -> int:
    """Return for how many full days a certificate is valid yet; negative once it has expired."""
    # Certificates know whole seconds only.
    return (certificate.not_valid_after_utc - now.replace(microsecond=0)).days


def names_of(certificate: x509.Certificate) -> list[x509.GeneralName]:
    """Return the host names and IP addresses in a certificate."""
    try:
        return list(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return []


def fingerprint(certificate: x509.Certificate) -> str:
    """Return a certificate's SHA-256 fingerprint in hexadecimal digits."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # Other machines' clocks may be behind.
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _read_key(file: Path) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(file.read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CertificateError(f"{file}: not an unencrypted private key in PEM format") from None


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _problems(certificate: x509.Certificate, authority: x509.Certificate, now: datetime) -> list[str]:
    problems = []
    if now < certificate.not_valid_before_utc:
        problems.append(f"not valid before {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC")
    if now > certificate.not_valid_after_utc:
        problems.append("expired")
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        problems.append(f"not signed by the authority in {AUTHORITY}.pem")
    return problems
