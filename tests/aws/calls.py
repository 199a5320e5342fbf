"""Which operation of which AWS service an HTTP request asks for."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from functools import cache
from typing import Any
from urllib.parse import parse_qs

from botocore.model import ServiceModel
from botocore.session import get_session
from moto.core.request import Request
from moto.core.routing import get_service_router

SCOPE = re.compile(r"Credential=[^/]+/\d+/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request")
READS = re.compile(r"Describe|List|Get|Head|Lookup|Simulate|Validate|Estimate|Assume|Decode|DetectStackDrift")
SERVICES = {
    "elasticloadbalancing": "elbv2",
    "servicequotas": "service-quotas",
    "monitoring": "cloudwatch",
    "tagging": "resourcegroupstaggingapi",
}
"""What boto3 calls the services that sign under another name."""


TOKEN = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""By which AWS knows a request again that it got already; made up anew each time."""


@dataclass(frozen=True)
class Call:
    """
    A request that AWS got.

    :param service: As boto3 calls it.
    :param operation: As botocore calls it, such as ``CreateCluster``.
    :param status: The HTTP status of the answer; 0 if there was none.
    :param digest: Of the request: two with the same do the same.
    """

    service: str
    operation: str
    status: int = 200
    digest: str = ""

    @property
    def is_write(self) -> bool:
        """Whether such a call changes something."""
        return READS.match(self.operation) is None

    def __str__(self) -> str:
        return f"{self.service}:{self.operation}"


@cache
def service_model(service: str) -> ServiceModel:
    """Return what botocore knows of a service."""
    loaded: dict[str, Any] = get_session().get_component("data_loader").load_service_model(service, "service-2")
    return ServiceModel(loaded, service)


def recognize(environ: dict[str, Any], body: bytes) -> Call | None:
    """Return the call that a request is; None if it is not for AWS."""
    scope = SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    if scope is None:
        return None
    service = SERVICES.get(scope["service"], scope["service"])
    digest = hashlib.sha256(
        f"{environ['PATH_INFO']}?{environ['QUERY_STRING']} ".encode() + TOKEN.sub(b"", body)
    ).hexdigest()
    return replace(_recognize(service, environ, body), digest=digest)


def _recognize(service: str, environ: dict[str, Any], body: bytes) -> Call:
    if target := environ.get("HTTP_X_AMZ_TARGET"):
        return Call(service, target.rpartition(".")[2])
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        form = parse_qs(body.decode())
        if service == "elbv2" and form["Version"] == ["2012-06-01"]:
            service = "elb"
        return Call(service, form["Action"][0])
    operation, _ = get_service_router(service).match(Request(environ.copy()))
    return Call(service, operation.name)
