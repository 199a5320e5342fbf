"""Helm as a process: passed on while it runs, ended with the task. Other programs stand for it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from airflow_eks_dask.helm import process as process_module
from airflow_eks_dask.helm.errors import HelmStoppedError
from airflow_eks_dask.helm.process import Process
from tests.conftest import eventually, is_running

if TYPE_CHECKING:
    from pathlib import Path


def run(process: Process, code: str, **options):
    options = {"environment": dict(os.environ), "timeout": 60, **options}
    return process.run([sys.executable, "-c", code], **options)


def read_pid(file: Path) -> int:
    return int(eventually(lambda: file.exists() and file.read_text().strip(), what=f"a process id in {file}"))


def test_output_errors_and_exit_code():
    said, complained = [], []
    code = "import sys; print('a'); print('b', end=''); print('c', file=sys.stderr); sys.exit(3)"
    ended = run(Process(), code, on_output=said.append, on_error=complained.append)
    assert (ended.code, ended.output, ended.errors) == (3, "a\nb", "c\n")
    assert (said, complained) == (["a", "b"], ["c"])


def test_lines_come_while_it_runs(tmp_path):
    go = tmp_path / "go"
    code = (
        "import os, time\nprint('first', flush=True)\n"
        f"while not os.path.exists({str(go)!r}): time.sleep(0.01)\n"
        "print('second')"
    )
    said = []

    def hear(line):
        said.append(line)
        # It would wait for ever, were this line not told before its end.
        go.touch()

    run(Process(), code, on_output=hear)
    assert said == ["first", "second"]


def test_standard_input_of_any_size_has_no_name_and_no_other_reader():
    big = b"x" * 3_000_000
    code = (
        "import os, sys; print(os.readlink('/proc/self/fd/0'), oct(os.fstat(0).st_mode & 0o777)); "
        "print(len(sys.stdin.read()))"
    )
    ended = run(Process(), code, stdin=big)
    where, size = ended.output.splitlines()
    assert size == "3000000"
    if sys.platform == "linux":
        assert "(deleted)" in where
        assert where.endswith("0o600")


def test_it_has_a_group_of_its_own_in_the_session_of_the_task():
    ended = run(Process(), "import os; print(os.getpgid(0) == os.getpid(), os.getsid(0))")
    assert ended.output.split() == ["True", str(os.getsid(0))]


def test_out_of_time_it_is_ended_with_all_it_started(tmp_path):
    child = tmp_path / "child"
    code = f"import subprocess, time; open({str(child)!r}, 'w').write(str(subprocess.Popen(['sleep', '600']).pid))\n"
    code += "import sys; print('almost', file=sys.stderr, flush=True); time.sleep(600)"
    with pytest.raises(HelmStoppedError, match=r"ended after 2 s\. almost"):
        run(Process(), code, timeout=2)
    pid = read_pid(child)
    eventually(lambda: not is_running(pid), what="the end of a child")


def test_stop_ends_it_gently(tmp_path):
    ready, asked = tmp_path / "ready", tmp_path / "asked"
    code = (
        "import os, signal, sys, time\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (open({str(asked)!r}, 'w').close(), sys.exit(1)))\n"
        f"open({str(ready)!r}, 'w').write(str(os.getpid()))\n"
        "time.sleep(600)"
    )
    process = Process()
    stopper = threading.Thread(target=lambda: (read_pid(ready), process.stop()))
    stopper.start()
    with pytest.raises(HelmStoppedError, match="the task was ended"):
        run(process, code)
    stopper.join()
    assert asked.exists()
    assert not is_running(read_pid(ready))
    with pytest.raises(HelmStoppedError):
        run(process, "print()")


def test_stop_ends_what_does_not_listen(tmp_path, monkeypatch):
    monkeypatch.setattr(process_module, "GRACE", 0.3)
    ready = tmp_path / "ready"
    code = (
        "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"open({str(ready)!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)"
    )
    process = Process()
    stopper = threading.Thread(target=lambda: (read_pid(ready), process.stop()))
    stopper.start()
    with pytest.raises(HelmStoppedError):
        run(process, code)
    stopper.join()
    assert not is_running(read_pid(ready))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_it_ends_with_a_task_that_is_killed(tmp_path):
    ready = tmp_path / "ready"
    code = f"import os, time; open({str(ready)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    task = (
        "import os, sys\nfrom airflow_eks_dask.helm.process import Process\n"
        f"Process().run([sys.executable, '-c', {code!r}], environment=dict(os.environ), timeout=600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", task])
    try:
        pid = read_pid(ready)
        assert is_running(pid)
        parent.send_signal(signal.SIGKILL)
        eventually(lambda: not is_running(pid), what="the end of a process whose parent was killed")
    finally:
        parent.kill()
        parent.wait()


def test_silence_is_told(monkeypatch):
    monkeypatch.setattr(process_module, "STILL_RUNNING_INTERVAL", 0.2)
    monkeypatch.setattr(process_module, "_LOOK_INTERVAL", 0.05)
    silences: list[float] = []
    process = Process()

    def heard(seconds):
        silences.append(seconds)
        if len(silences) == 2:
            threading.Thread(target=process.stop).start()

    with pytest.raises(HelmStoppedError):
        run(process, "import time; time.sleep(600)", on_silence=heard)
    assert 0 < silences[0] < silences[1]


def test_a_grandchild_that_keeps_the_pipes_is_not_waited_for():
    begin = time.monotonic()
    ended = run(Process(), "import subprocess; subprocess.Popen(['sleep', '20']); print('done')", timeout=15)
    assert (ended.code, ended.output) == (0, "done\n")
    assert time.monotonic() - begin < 14


def test_a_callback_that_fails_leaves_nothing_running(tmp_path):
    ready = tmp_path / "ready"
    code = (
        f"import os, time; open({str(ready)!r}, 'w').write(str(os.getpid())); print('x', flush=True); time.sleep(600)"
    )

    def fail(line):
        raise ValueError(line)

    with pytest.raises(ValueError, match="x"):
        run(Process(), code, on_output=fail)
    assert not is_running(read_pid(ready))
