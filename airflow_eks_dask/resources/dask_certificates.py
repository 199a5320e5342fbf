"""The certificates of a Dask cluster in Secrets of its Kubernetes cluster: made once, and renewed in time."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import kubernetes.client  # type: ignore[import-untyped]
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from airflow_eks_dask.certificates import (
    AUTHORITY_DAYS,
    LEAF_DAYS,
    USAGES,
    CertificateError,
    Issued,
    days_left,
    make_authority,
    make_certificate,
    names_of,
    secret_name,
)
from airflow_eks_dask.hooks.eks import kubernetes_errors
from airflow_eks_dask.manifests import ownership

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

_CONFLICT, _NOT_FOUND = 409, 404
_AUTHORITY = "authority"


@dataclass(frozen=True, kw_only=True)
class DaskCertificates:
    """
    An authority for one Dask cluster, and certificates for its scheduler, its workers and Airflow.

    Keys are made here, and go nowhere but into Secrets; that of the authority into one that no pod gets.

    :param namespace: Where the Secrets are.
    :param name: What their names begin with.
    :param owner: The value of the label by which they are known again.
    :param hosts: Host names and IP addresses in the scheduler's certificate.
    :param renew_before: Days before its end at which a certificate is made anew.
    """

    namespace: str
    name: str
    owner: str
    hosts: Sequence[x509.GeneralName] = ()
    renew_before: int = 30

    def ensure(self, client: Any, now: datetime, tell: Callable[[str], None]) -> dict[str, Any]:
        """
        Have all of them be there, and valid for a while.

        :param client: Of the cluster.
        :param tell: Takes what is done, in words.
        :return: ``secrets`` (names by role), ``fingerprint`` (of all together), ``valid_until`` and ``changed``.
        :raises CertificateError: A Secret is another's, or holds something else.
        :raises KubernetesError: Kubernetes refused, or was not reached.
        """
        core = kubernetes.client.CoreV1Api(client)
        with kubernetes_errors(f"keeping certificates in namespace {self.namespace}"):
            self._ensure_namespace(core)
            changed = []
            authority, is_new = self._ensure(
                client,
                core,
                self._authority_secret,
                lambda found: self._is_authority(found, now),
                lambda: make_authority(now),
            )
            changed += [_AUTHORITY] if is_new else []
            issued = {}
            for role in USAGES:
                issued[role], is_new = self._ensure(
                    client,
                    core,
                    secret_name(self.name, role),
                    lambda found, role=role: self._serves(found, role, authority, now),  # type: ignore[misc]
                    lambda role=role: self._make(role, authority, now),  # type: ignore[misc]
                    authority,
                )
                changed += [role] if is_new else []
        tell(f"Made: {', '.join(changed)}" if changed else "All certificates are there, and valid for a while")
        together = b"".join(each.certificate_pem() for each in (authority, *issued.values()))
        return {
            "secrets": {role: secret_name(self.name, role) for role in USAGES},
            "fingerprint": hashlib.sha256(together).hexdigest(),
            "valid_until": min(each.certificate.not_valid_after_utc for each in issued.values()).isoformat(),
            "changed": changed,
        }

    @property
    def _authority_secret(self) -> str:
        return f"{self.name}-{_AUTHORITY}"

    def _ensure_namespace(self, core: Any) -> None:
        try:
            core.create_namespace(ownership.labelled({"metadata": {"name": self.namespace}}, self.owner))
        except kubernetes.client.ApiException as error:
            if error.status != _CONFLICT:
                raise

    def _ensure(
        self,
        client: Any,
        core: Any,
        name: str,
        serves: Callable[[Issued], bool],
        make: Callable[[], Issued],
        authority: Issued | None = None,
    ) -> tuple[Issued, bool]:
        """
        Have a Secret hold what serves; whoever is faster in making it wins.

        :return: What it holds, and whether that is new.
        """
        while True:
            found = _read(core, name, self.namespace)
            if found is None:
                issued = make()
                try:
                    core.create_namespaced_secret(self.namespace, self._document(name, issued, authority))
                except kubernetes.client.ApiException as error:
                    if error.status == _CONFLICT:
                        continue
                    raise
                return issued, True
            if reason := ownership.refusal(self.owner, client.sanitize_for_serialization(found)):
                raise CertificateError(
                    f"Secret {self.namespace}/{name} exists, and {reason}. Delete it, or choose another name"
                )
            held = _issued(found, authority is None)
            if held is not None and serves(held):
                return held, False
            issued = make()
            document = self._document(name, issued, authority)
            document["metadata"]["resourceVersion"] = found.metadata.resource_version
            try:
                core.replace_namespaced_secret(name, self.namespace, document)
            except kubernetes.client.ApiException as error:
                if error.status in (_CONFLICT, _NOT_FOUND):
                    continue
                raise
            return issued, True

    def _document(self, name: str, issued: Issued, authority: Issued | None) -> dict[str, Any]:
        if authority is None:
            data = {"ca.crt": issued.certificate_pem(), "ca.key": issued.key_pem()}
        else:
            data = {
                "ca.crt": authority.certificate_pem(),
                "tls.crt": issued.certificate_pem(),
                "tls.key": issued.key_pem(),
            }
        document = {
            "metadata": {"name": name},
            "type": "Opaque" if authority is None else "kubernetes.io/tls",
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }
        return ownership.labelled(document, self.owner)

    def _make(self, role: str, authority: Issued, now: datetime) -> Issued:
        days = min(LEAF_DAYS, days_left(authority.certificate, now))
        return make_certificate(role, authority, now, days, self.hosts if role == "scheduler" else ())

    def _is_authority(self, found: Issued, now: datetime) -> bool:
        # What it signs is to live for longer than it takes to be renewed.
        return 2 * self.renew_before <= days_left(found.certificate, now) <= AUTHORITY_DAYS

    def _serves(self, found: Issued, role: str, authority: Issued, now: datetime) -> bool:
        try:
            found.certificate.verify_directly_issued_by(authority.certificate)
        except (InvalidSignature, ValueError, TypeError):
            return False
        if days_left(found.certificate, now) < self.renew_before:
            return False
        return role != "scheduler" or set(self.hosts) <= set(names_of(found.certificate))


def _read(core: Any, name: str, namespace: str) -> Any:
    try:
        return core.read_namespaced_secret(name, namespace)
    except kubernetes.client.ApiException as error:
        if error.status == _NOT_FOUND:
            return None
        raise


def _issued(secret: Any, is_authority: bool) -> Issued | None:
    """Return what a Secret holds; None if that is no certificate with its key."""
    names = ("ca.crt", "ca.key") if is_authority else ("tls.crt", "tls.key")
    try:
        certificate, key = (base64.b64decode((secret.data or {})[name]) for name in names)
        issued = x509.load_pem_x509_certificate(certificate)
        private = serialization.load_pem_private_key(key, password=None)
    except (KeyError, ValueError, TypeError):
        return None
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != issued.public_key():
        return None
    return Issued(issued, private)
