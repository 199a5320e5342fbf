"""Certificates of a Dask cluster, and two ends that meet with them."""

from __future__ import annotations

import ssl
from datetime import datetime, timezone

import pytest
from distributed import Security

from airflow_eks_dask import certificates
from airflow_eks_dask.certificates import AUTHORITY, subject_name

NOW = datetime.now(timezone.utc)


def make(directory, now=NOW, names=("dask.example.com",), **days):
    authority = certificates.make_authority(now)
    leaves = certificates.make_leaves(authority, now, names=[subject_name(name) for name in names], **days)
    certificates.write(directory, {AUTHORITY: authority, **leaves})
    return directory


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
