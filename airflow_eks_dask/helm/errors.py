"""How Helm fails."""

from __future__ import annotations


class HelmError(Exception):
    """Helm refused or failed, or is not there; the message says what, why and what to do."""


class HelmStoppedError(HelmError):
    """Helm was ended before it was done: the task was, or time was up."""
