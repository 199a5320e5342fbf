"""What all tests share: an Airflow home of their own, and waiting for what is bound to happen."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import tempfile
import time
from typing import TYPE_CHECKING, TypeVar

import psutil
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

# Before anything imports Airflow, which reads its configuration then and there.
os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="airflow-eks-dask-tests-")
atexit.register(shutil.rmtree, os.environ["AIRFLOW_HOME"], ignore_errors=True)
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
# A shell that starts the tests in the background has it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)

T = TypeVar("T")

PATIENCE = 240
"""Seconds in which all that is bound to happen has happened, also on a machine with much else to do."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long",
        action="store_true",
        help="the long form of the tests that break things: more tasks, more and longer faults",
    )
    parser.addoption("--table", action="store_true", help="have the long form of events write docs/faults.md anew")
    parser.addoption("--screenshots", action="store_true", help="have the browser tests write docs/images anew")


def eventually(look: Callable[[], T], *, timeout: float = PATIENCE, what: str = "") -> T:
    """Return the first true value of ``look``; fail the test if there is none in time."""
    deadline, pause = time.monotonic() + timeout, 0.05
    while not (value := look()):
        if time.monotonic() > deadline:
            pytest.fail(f"not within {timeout:g} s: {what or look}")
        time.sleep(pause)
        # Who looks at Airflow takes time from what is waited for.
        pause = min(pause * 1.2, 0.5)
    return value


def is_running(pid: int) -> bool:
    """Return whether there is a process of that id which has not ended."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
