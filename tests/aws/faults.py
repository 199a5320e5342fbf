"""What can go wrong between a client and AWS, on request."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.aws.calls import service_model

if TYPE_CHECKING:
    from tests.aws.calls import Call

ANSWERED = ("throttle", "error", "denied")
"""The call isn't carried out, and AWS says why."""
CUT = ("timeout", "dropped", "killed")
"""No answer comes. The call wasn't carried out; it was; it was, and the caller is gone: nothing more comes from it."""
KINDS = ANSWERED + CUT

_CODES = {
    "throttle": {"ec2": "RequestLimitExceeded", "rest-xml": "SlowDown", "query": "Throttling"},
    "error": {"rest-xml": "InternalError", "ec2": "InternalError", "query": "InternalFailure"},
    "denied": {"ec2": "UnauthorizedOperation", "rest-xml": "AccessDenied", "query": "AccessDenied"},
}
_CODES_IN_JSON = {
    "throttle": "ThrottlingException",
    "error": "InternalServerException",
    "denied": "AccessDeniedException",
}
_XML = {
    "ec2": "<Response><Errors><Error>{error}</Error></Errors><RequestID>r</RequestID></Response>",
    "query": "<ErrorResponse><Error>{error}</Error><RequestId>r</RequestId></ErrorResponse>",
    "rest-xml": "<Error>{error}<RequestId>r</RequestId></Error>",
}


@dataclass
class Fault:
    """
    Some calls that fail.

    :param kind: How; one of :data:`KINDS`.
    :param nth: The first of the matching calls that fails, counted from when the fault was set.
    :param operation: Only calls of this operation match.
    :param times: How many matching calls fail, one after the other.
    """

    kind: str
    nth: int = 1
    operation: str | None = None
    times: int = 1
    seen: int = 0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"kind is {self.kind!r}: must be one of {', '.join(KINDS)}")

    def strikes(self, call: Call) -> bool:
        """Count the call, and say whether it is to fail."""
        if self.operation not in (None, call.operation):
            return False
        self.seen += 1
        return self.nth <= self.seen < self.nth + self.times


def answer(kind: str, call: Call) -> tuple[int, str, bytes]:
    """Return HTTP status, content type and body of the answer of a service that fails."""
    protocol = service_model(call.service).protocol
    message = f"Simulated: {kind} of {call}"
    status = {"throttle": 400, "error": 500, "denied": 403}[kind]
    if protocol in _XML:
        code = _CODES[kind][protocol]
        status = 503 if code in ("RequestLimitExceeded", "SlowDown") else status
        error = f"<Code>{code}</Code><Message>{message}</Message>"
        return status, "text/xml", _XML[protocol].format(error=error).encode()
    return status, "application/json", json.dumps({"__type": _CODES_IN_JSON[kind], "message": message}).encode()
