"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class Severity(str, Enum):
    """How bad it is."""

    ERROR = "error"
    """The bootstrap would fail."""
    WARNING = "warning"
    """It may fail, or something else may suffer."""
    NOTE = "note"
    """It is good to know."""


COLUMNS = ("severity", "check", "what", "why", "what_to_do")
"""What is told of a finding."""


@dataclass(frozen=True)
class Finding:
    """
    Something that a check found.

    :param what: What is the matter.
    :param why: How that is known, or what follows.
    :param what_to_do: What mends it.
    """

    severity: Severity
    what: str
    why: str
    what_to_do: str

    def to_json(self, check: str) -> dict[str, str]:
        """
        Return it as JSON data, under the names of :data:`COLUMNS`.

        :param check: Which check has found it.
        """
        return {
            "severity": self.severity.value,
            "check": check,
            "what": self.what,
            "why": self.why,
            "what_to_do": self.what_to_do,
        }


def by_severity(findings: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """
    Return findings, the worst first.

    :param findings: As :meth:`Finding.to_json` returns them.
    """
    order = [severity.value for severity in Severity]
    return sorted(findings, key=lambda each: order.index(each["severity"]))


def errors_in_words(findings: Iterable[dict[str, str]]) -> list[str]:
    """
    Return a line for each error among findings.

    :param findings: As :meth:`Finding.to_json` returns them.
    """
    errors = [each for each in findings if each["severity"] == Severity.ERROR.value]
    return [f"- {each['what']}: {each['why']}. {each['what_to_do']}" for each in errors]


def error(what: str, why: str, what_to_do: str) -> Finding:
    """Return a finding that stops the bootstrap."""
    return Finding(Severity.ERROR, what, why, what_to_do)


def warning(what: str, why: str, what_to_do: str) -> Finding:
    """Return a finding that may stop it, or harm something else."""
    return Finding(Severity.WARNING, what, why, what_to_do)


def note(what: str, why: str, what_to_do: str) -> Finding:
    """Return a finding that is good to know."""
    return Finding(Severity.NOTE, what, why, what_to_do)
