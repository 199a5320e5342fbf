"""A launcher in a process of its own, told what a Dask worker tells it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psutil
import pytest

from airflow_eks_dask.worker.workload_process import WORKLOADS
from tests.conftest import PATIENCE, eventually, is_running

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.any_airflow
ROOT = Path(__file__).parents[2]


class Launcher:
    """A launcher that runs :mod:`.stub_workload`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._control, theirs = socket.socketpair()
        self._control.settimeout(PATIENCE)
        with theirs:
            command = ["airflow_eks_dask.worker.launcher", str(theirs.fileno()), "tests.integration.stub_workload"]
            self.popen = subprocess.Popen(
                [sys.executable, "-m", *command], cwd=ROOT, pass_fds=[theirs.fileno()], start_new_session=True
            )
        assert json.loads(self._control.recv(65_536))["queues"] == []

    def start(self, do: str, **order: Any) -> Workload:
        """Hand it a workload."""
        return Workload(self, do, **order)

    def run(self, do: str = "nothing", **order: Any) -> Workload:
        """Hand it a workload and wait until that has ended."""
        workload = self.start(do, **order)
        workload.wait()
        return workload

    def tell(self, order: str, key: str, *channels: int) -> None:
        """Give an order."""
        socket.send_fds(self._control, [json.dumps({order: key}).encode() + b"\n"], channels)

    def children(self) -> list[int]:
        """Return the processes that it has."""
        return [child.pid for child in psutil.Process(self.popen.pid).children()]

    def close(self) -> None:
        """Be gone, as a worker that has ended."""
        self._control.close()
        self.popen.wait(PATIENCE)


class Workload:
    """What a launcher has been handed, and what it says of it."""

    def __init__(self, launcher: Launcher, do: str, **order: Any) -> None:
        self.key = uuid4().hex
        self.launcher = launcher
        self.ledger = launcher.directory / self.key
        self.go = launcher.directory / f"{self.key}.go"
        ours, theirs = socket.socketpair()
        with theirs:
            launcher.tell("run", self.key, theirs.fileno())
        ours.settimeout(PATIENCE)
        payload = json.dumps({"do": do, "ledger": str(self.ledger), "until": str(self.go), **order}).encode()
        ours.sendall(len(payload).to_bytes(8, "big") + payload)
        self._channel = ours.makefile("rb")
        ours.close()
        self.pid: int = json.loads(self._channel.readline())["pid"]
        self.exit_code: int | None = None
        self.reason: str | None = None

    def wait(self) -> None:
        """Wait until it has ended."""
        while self.exit_code is None:
            said = json.loads(self._channel.readline())
            self.reason, self.exit_code = said.get("reason", self.reason), said.get("exit")
        self._channel.close()

    def child(self) -> int:
        """Return the process that one which sleeps has started."""

        def look() -> Any:
            lines = self.ledger.read_text().splitlines() if self.ledger.exists() else []
            return next((json.loads(line)["value"] for line in lines if '"child"' in line), None)

        pid = eventually(look, what="it has a child")
        assert isinstance(pid, int)
        return pid


@pytest.fixture
def launcher(tmp_path: Path) -> Iterator[Launcher]:
    launcher = Launcher(tmp_path)
    yield launcher
    launcher.close()


def reused(launcher: Launcher) -> Workload:
    """Return a workload whose process has run another one before."""
    seen: set[int] = set()

    def look() -> Workload | None:
        workload = launcher.run()
        if workload.pid in seen:
            return workload
        seen.add(workload.pid)
        return None

    found = eventually(look, what="a process runs another workload")
    assert isinstance(found, Workload)
    return found


def test_a_process_runs_one_workload_after_the_other_until_it_has_run_many(launcher: Launcher):
    workloads = [launcher.run() for _ in range(WORKLOADS + 1)]
    assert all(workload.exit_code == 0 for workload in workloads)
    assert 1 < len({workload.pid for workload in workloads}) < WORKLOADS


def test_workloads_at_the_same_time_have_processes_of_their_own(launcher: Launcher):
    reused(launcher)
    sleeping = [launcher.start("sleep") for _ in range(3)]
    assert len({workload.pid for workload in sleeping}) == 3
    for workload in sleeping:
        workload.go.touch()
        workload.wait()


def test_what_a_workload_leaves_running_is_ended_though_its_process_goes_on(launcher: Launcher):
    workload = launcher.start("sleep")
    child = workload.child()
    workload.go.touch()
    workload.wait()
    assert workload.exit_code == 0
    eventually(lambda: not is_running(child), what="its child has been killed")


def test_a_process_in_which_something_went_wrong_runs_no_other(launcher: Launcher):
    failed = launcher.run("raise", words="no such bundle")
    assert (failed.exit_code, failed.reason) == (1, "ValueError: no such bundle")
    assert failed.pid not in {launcher.run().pid for _ in range(3)}


def test_what_a_workload_does_to_its_output_does_not_make_it_fail(launcher: Launcher):
    assert launcher.run("close the output").exit_code == 0
    assert launcher.run().exit_code == 0


def test_a_process_with_a_thread_more_runs_no_other(launcher: Launcher):
    workload = launcher.run("start a thread")
    assert workload.exit_code == 0
    assert workload.pid not in {launcher.run().pid for _ in range(3)}


def test_one_that_was_asked_to_end_runs_no_other_though_it_ended_well(launcher: Launcher):
    workload = launcher.start("sleep", stubborn=True)
    workload.child()
    launcher.tell("end", workload.key)
    workload.go.touch()
    workload.wait()
    assert workload.exit_code == 0
    assert workload.pid not in {launcher.run().pid for _ in range(3)}


def test_a_late_order_to_end_does_not_hit_the_next_workload(launcher: Launcher):
    earlier = reused(launcher)
    workload = launcher.start("sleep")
    workload.child()
    for order in ("end", "kill"):
        launcher.tell(order, earlier.key)
    # Orders are followed one after the other: those before this have been.
    assert launcher.run().exit_code == 0
    workload.go.touch()
    workload.wait()
    assert workload.exit_code == 0


def test_a_process_that_ends_without_a_word_has_not_done_its_workload(launcher: Launcher):
    workload = launcher.run("exit")
    assert (workload.exit_code, workload.reason) == (1, "its process ended before it was done")


def test_a_waiting_process_that_was_killed_is_replaced(launcher: Launcher):
    for _ in range(5):
        waiting = reused(launcher)
        os.kill(waiting.pid, signal.SIGKILL)
        eventually(lambda pid=waiting.pid: pid not in launcher.children(), what="it has been reaped")
        assert launcher.run().exit_code == 0


def test_a_process_that_waits_for_long_goes(launcher: Launcher):
    reused(launcher)
    eventually(lambda: not launcher.children(), what="no process is left")
    assert launcher.run().exit_code == 0


def test_all_processes_go_with_the_worker(tmp_path: Path):
    launcher = Launcher(tmp_path)
    waiting, sleeping = reused(launcher), launcher.start("sleep")
    pids = [waiting.pid, sleeping.pid, sleeping.child()]
    launcher.close()
    eventually(lambda: not any(map(is_running, pids)), what="its processes are gone")
