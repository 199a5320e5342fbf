"""That the judge of faults sees what is wrong."""

from __future__ import annotations

import socket
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from airflow_eks_dask.local.client import TaskInstance
from tests.chaos import ledger, report, trial
from tests.chaos.faults import Damage
from tests.chaos.ledger import Ledger, Start
from tests.chaos.proxy import Proxy
from tests.conftest import eventually

pytestmark = pytest.mark.any_airflow
SITE = SimpleNamespace(executor="DaskExecutor", slots=2)


def start(index: int = 0, attempt: int = 1, pid: int = 1, started: float = 0, ended: float | None = None, died=9.0):
    return Start(("chaos", "work", index, "run", attempt), pid, started, ended, died)


def task(index: int = 0, attempt: int = 1, state: str = "success") -> TaskInstance:
    return TaskInstance("work", index, state, attempt, None, {})


def judge(starts: list[Start], tasks: list[TaskInstance], damage: Damage) -> trial.Verdict:
    return trial.judge("fault", SITE, damage, starts, tasks, "")  # type: ignore[arg-type]


def test_all_is_well():
    assert judge([start(ended=1)], [task()], Damage(0)).problems == []


def test_a_try_that_began_twice_is_seen():
    verdict = judge([start(pid=1, died=1), start(pid=2, started=2)], [task()], Damage(0))
    assert verdict.duplicated == (("chaos", "work", 0, "run", 1),)
    assert verdict.overlapping == ()


@pytest.mark.parametrize("died", [5, None])
def test_tries_that_overlap_are_seen(died):
    assert ledger.overlapping([start(died=died), start(attempt=2, started=4)])
    assert not ledger.overlapping([start(died=3), start(attempt=2, started=4)])
    assert not ledger.overlapping([start(died=5), start(index=1, started=4)])


def test_a_task_that_did_not_succeed_is_lost():
    assert judge([start()], [task(state="failed")], Damage(0)).lost == ("work[0]: failed",)


def test_a_try_may_fail_with_what_broke_and_not_otherwise():
    starts = [start(pid=1), start(attempt=2, pid=2, started=10, ended=11)]
    hit = judge(starts, [task(attempt=2)], Damage(1, frozenset([1]), 1))
    assert (hit.failed, hit.wrongly_failed) == (1, ())
    innocent = judge(starts, [task(attempt=2)], Damage(1, frozenset([7]), 0))
    assert (innocent.failed, innocent.wrongly_failed) == (0, ("work[0] try 1",))


def test_a_try_may_fail_with_its_host_if_it_had_begun():
    starts = [replace(start(started=1), host="pod"), start(attempt=2, started=10, ended=11)]
    hit = judge(starts, [task(attempt=2)], Damage(5, hosts=frozenset(["pod"])))
    assert (hit.failed, hit.wrongly_failed) == (1, ())
    for damage in (Damage(5, hosts=frozenset(["other"])), Damage(0.5, hosts=frozenset(["pod"]))):
        assert judge(starts, [task(attempt=2)], damage).wrongly_failed == ("work[0] try 1",)


def test_only_as_many_unseen_tries_may_fail_as_were_running_there():
    tasks = [task(0, 2), task(1, 2)]
    verdict = judge([start(0, 2, pid=3), start(1, 2, pid=4)], tasks, Damage(1, frozenset([1]), slots=1))
    assert (verdict.failed, verdict.wrongly_failed) == (1, ("work[1] try 1 (never began)",))


def test_recovery_is_counted_from_the_fault():
    starts = [start(0, started=0, died=2), start(1, started=1, died=9), start(2, started=5, died=9)]
    assert ledger.first_start_after(starts, 1.5) == 3.5
    assert ledger.busy_again(starts, 1.5, slots=2) == 3.5
    assert ledger.busy_again(starts, 1.5, slots=3) is None


TELL = """
import json, socket, sys
host, port = sys.argv[1].split(":")
with socket.create_connection((host, int(port)), timeout=30) as ledger:
    for word in sys.stdin:
        line = {"what": word.strip(), "key": ["chaos", "work", 0, "run", 1], "host": "pod", "pid": 7, "time": 1.0}
        ledger.sendall(json.dumps(line).encode() + b"\\n")
        assert ledger.recv(1)
"""


@pytest.mark.parametrize("ended", [None, 1.0])
def test_the_ledger_hears_of_deaths(ended):
    with Ledger() as watched:
        command = [sys.executable, "-c", TELL, watched.address]
        with subprocess.Popen(command, stdin=subprocess.PIPE, text=True) as process:
            process.stdin.write("start\n")
            process.stdin.flush()
            (seen,) = eventually(watched.running)
            assert (seen.key, seen.host, seen.pid, seen.died) == (("chaos", "work", 0, "run", 1), "pod", 7, None)
            if ended:
                process.stdin.write("end\n")
                process.stdin.flush()
                eventually(lambda: seen.ended)
                assert seen.died is None
            process.kill()
        eventually(lambda: seen.died)
        assert seen.ended == ended
        assert watched.running() == []
        assert len(watched.starts) == 1


def test_the_proxy_cuts_and_heals():
    with socket.create_server(("127.0.0.1", 0)) as server, Proxy(server.getsockname()[1]) as proxy:
        there = socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
        here, _ = server.accept()
        there.sendall(b"before")
        assert here.recv(6) == b"before"
        proxy.cut()
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
        proxy.heal()
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as again:
            here, _ = server.accept()
            proxy.hush()
            again.sendall(b"late")
            here.settimeout(0.2)
            with pytest.raises(TimeoutError):
                here.recv(4)
            proxy.heal()
            here.settimeout(10)
            assert here.recv(4) == b"late"


def test_the_table_goes_between_the_markers(tmp_path):
    file = tmp_path / "faults.md"
    verdict = judge([start(ended=1)], [task()], Damage(0))
    file.write_text("above\n<!-- faults: begin -->\nold\n<!-- faults: end -->\nbelow\n")
    for name in ("first", "second"):
        report.write(file, [replace(verdict, fault=name)], seed=7, command="python -m tests.chaos")
    text = file.read_text()
    assert text.startswith("above\n")
    assert text.endswith("below\n")
    assert "second" in text
    assert "old" not in text
    assert "first" not in text.replace("First start", "")


def test_a_file_without_markers_is_left_alone(tmp_path):
    file = tmp_path / "faults.md"
    file.write_text("something else")
    with pytest.raises(ValueError, match="to put the table between"):
        report.write(file, [], seed=7, command="")
    assert file.read_text() == "something else"
