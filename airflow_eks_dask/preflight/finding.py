"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Severity(str, Enum):
    """How bad it is."""

    ERROR = "error"
    """The bootstrap would fail."""
    WARNING = "warning"
    """It may fail, or something else may suffer."""
    NOTE = "note"
    """It is good to know."""


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


def error(what: str, why: str, what_to_do: str) -> Finding:
    """Return a finding that stops the bootstrap."""
    return Finding(Severity.ERROR, what, why, what_to_do)


def warning(what: str, why: str, what_to_do: str) -> Finding:
    """Return a finding that may stop it, or harm something else."""
    return Finding(Severity.WARNING, what, why, what_to_do)


def note(what: str, why: str, what_to_do: str) -> Finding:
    """Return a finding that is good to know."""
    return Finding(Severity.NOTE, what, why, what_to_do)
