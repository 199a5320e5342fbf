from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from airflow_eks_dask.local.processes import ProcessSet, tail
from tests.conftest import is_running

pytestmark = pytest.mark.any_airflow

# A child that ignores SIGTERM, and a grandchild that has left its session; their ids go to the log.
STUBBORN = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
away = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(os.getpid(), away.pid, flush=True)
time.sleep(600)
"""
OWNER = f"""
import os, sys
from pathlib import Path
from airflow_eks_dask.local.processes import ProcessSet
folder = Path(sys.argv[1])
processes = ProcessSet([folder / "data"])
child = processes.start("child", [sys.executable, "-c", {STUBBORN!r}], log_file=folder / "log", env=dict(os.environ))
child.popen.wait()
"""


def ids_in(log_file):
    """Wait for the line that STUBBORN writes."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if log_file.exists() and len(words := log_file.read_text().split()) == 2:
            return [int(word) for word in words]
        time.sleep(0.02)
    raise AssertionError(f"no process ids: {tail(log_file)}")


def wait_until(condition, timeout=30):
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def test_close_ends_children_that_refuse_and_grandchildren_that_left(tmp_path):
    with ProcessSet() as processes:
        processes.start("stubborn", [sys.executable, "-c", STUBBORN], log_file=tmp_path / "log", env=dict(os.environ))
        pids = ids_in(tmp_path / "log")
        assert all(map(is_running, pids))
        processes.close(grace=0.2)
    assert not any(map(is_running, pids))


def test_all_end_when_their_owner_is_killed(tmp_path):
    (tmp_path / "data").mkdir()
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)])
    try:
        pids = ids_in(tmp_path / "log")
        assert all(map(is_running, pids))
    finally:
        owner.kill()
        owner.wait(timeout=10)
    wait_until(lambda: not any(map(is_running, pids)))
    wait_until(lambda: not (tmp_path / "data").exists())


def test_stop_ends_one_and_leaves_the_others(tmp_path):
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    with ProcessSet() as processes:
        one = processes.start("one", sleep, log_file=tmp_path / "one", env=dict(os.environ))
        other = processes.start("other", sleep, log_file=tmp_path / "other", env=dict(os.environ))
        processes.stop(one)
        assert not one.running
        assert other.running
    assert not other.running


def test_failure_tells_the_exit_and_the_end_of_the_output(tmp_path):
    with ProcessSet() as processes:
        child = processes.start(
            "loser",
            [sys.executable, "-c", "print('no luck'); raise SystemExit(3)"],
            log_file=tmp_path / "log",
            env=dict(os.environ),
        )
        child.popen.wait(timeout=30)
        assert "loser exited with code 3" in child.failure()
        assert "no luck" in child.failure()


def test_failure_names_the_signal(tmp_path):
    with ProcessSet() as processes:
        sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
        child = processes.start("victim", sleep, log_file=tmp_path / "log", env=dict(os.environ))
        child.popen.send_signal(signal.SIGKILL)
        child.popen.wait(timeout=30)
        assert "victim was ended by SIGKILL" in child.failure()


def test_output_is_for_its_owner_only(tmp_path):
    with ProcessSet() as processes:
        processes.start("child", ["true"], log_file=tmp_path / "log", env={"PATH": os.defpath})
        assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(("text", "expected"), [("a\nb\nc\n", "b\nc"), ("", "is empty"), (None, "does not exist")])
def test_tail(tmp_path, text, expected):
    file = tmp_path / "file"
    if text is not None:
        file.write_text(text)
    assert expected in tail(file, lines=2)
