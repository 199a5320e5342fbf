"""All checks, and what becomes of one that can't be made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from airflow_eks_dask.hooks.aws import is_denial
from airflow_eks_dask.preflight import account, cluster, image, network, permissions, quotas
from airflow_eks_dask.preflight.finding import Finding, Severity, warning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from airflow_eks_dask.hooks.aws import AwsClients
    from airflow_eks_dask.preflight.wanted import Wanted

    Check = Callable[[AwsClients, Wanted], Iterator[Finding]]

_FIRST: Mapping[str, Check] = {"credentials": account.credentials, "region": account.region}
"""Without these, all others fail for the same reason."""

_THEN: Mapping[str, Check] = {
    "permissions": permissions.actions,
    "service-linked roles": permissions.service_linked_roles,
    "zones": account.zones,
    "quotas": quotas.quotas,
    "version": cluster.version,
    "instance types": cluster.instance_types,
    "addresses": network.addresses,
    "endpoint": network.endpoint,
    "names": cluster.names,
    "image": image.image,
}


def run(aws: AwsClients, wanted: Wanted) -> list[tuple[str, Finding]]:
    """Make all checks; return what they find, each with the name of the check."""
    findings: list[tuple[str, Finding]] = []
    for checks in (_FIRST, _THEN):
        for name, check in checks.items():
            findings += [(name, finding) for finding in _make(name, check, aws, wanted)]
        if any(finding.severity is Severity.ERROR for _, finding in findings):
            break
    return findings


def _make(name: str, check: Check, aws: AwsClients, wanted: Wanted) -> Iterator[Finding]:
    try:
        yield from check(aws, wanted)
    # A proxy may answer with a page of its own, and the policy may be missing in a package of somebody else's making.
    except (BotoCoreError, ClientError, ResponseParserError, OSError) as failure:
        denied = isinstance(failure, ClientError) and is_denial(failure)
        yield warning(
            f"The check of {name} could not be made to its end",
            str(failure),
            "Let the caller do what the check needs, or look by hand" if denied else "Run it again, or look by hand",
        )
