"""
Random numbers of its own for each process that is forked.

Python's :mod:`random` sees to that at a fork; numpy's does not.
"""

from __future__ import annotations

import sys
from typing import Any


def seed() -> None:
    """Begin another sequence of numpy's random numbers, if numpy is imported."""
    if (numpy := _numpy()) is not None:
        numpy.seed()


def state() -> bytes | None:
    """Return where numpy's random numbers are; None if numpy is not imported."""
    return None if (numpy := _numpy()) is None else repr(numpy.get_state(legacy=False)).encode()


def _numpy() -> Any:
    return sys.modules.get("numpy.random")
