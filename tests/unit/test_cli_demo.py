from __future__ import annotations

import argparse
import io
import os
import signal
from pathlib import Path

import pytest
from airflow.cli.cli_parser import get_parser
from rich.console import Console

from airflow_eks_dask.cli import demo as module
from airflow_eks_dask.cli.definition import get_cli_commands
from airflow_eks_dask.cli.demo import Progress, demo, last_task, missing_modules, state_line
from airflow_eks_dask.local.client import TaskInstance
from airflow_eks_dask.local.processes import LocalProcessError


def parse(*words):
    return get_parser().parse_args(["eks-dask", "demo", *words])


def test_airflow_knows_the_command():
    args = parse()
    assert (args.dag, args.keep, args.port, args.directory, args.timeout) == ("sample_etl", False, 8080, None, 600)


def test_arguments():
    args = parse("--keep-ui", "--port", "9", "--directory", "/x", "--timeout", "1.5", "--dag", "sample_sensors")
    assert (args.keep, args.port, args.directory, args.timeout) == (True, 9, Path("/x"), 1.5)
    assert args.dag == "sample_sensors"


def test_a_port_is_a_number():
    with pytest.raises(SystemExit):
        parse("--port", "http")


def test_all_commands_are_in_one_group():
    assert [group.name for group in get_cli_commands()] == ["eks-dask"]


def test_missing_modules():
    assert missing_modules(["json", "no_such_module", "no_such_package.module"]) == [
        "no_such_module",
        "no_such_package.module",
    ]


def test_missing_modules_are_told_before_anything_starts(monkeypatch, capsys):
    monkeypatch.setattr(module, "missing_modules", lambda: ["pandas"])
    with pytest.raises(SystemExit) as caught:
        demo(argparse.Namespace())
    assert caught.value.code == 1
    assert "it needs pandas, which is not installed: pip install 'airflow-eks-dask[demo]'" in capsys.readouterr().err


def test_failures_end_with_code_one_and_the_reason(monkeypatch, capsys):
    def run(*_):
        raise LocalProcessError("scheduler exited with code 1 [red]")

    monkeypatch.setattr(module, "_run", run)
    with pytest.raises(SystemExit) as caught:
        demo(argparse.Namespace())
    assert caught.value.code == 1
    assert capsys.readouterr().err == "airflow eks-dask demo: scheduler exited with code 1 [red]\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_signals_end_it_in_order(monkeypatch, number):
    ended = []

    def run(*_):
        try:
            os.kill(os.getpid(), number)
            signal.pause()
        finally:
            ended.append(True)

    monkeypatch.setattr(module, "_run", run)
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as caught:
        demo(argparse.Namespace())
    assert (caught.value.code, ended) == (128 + number, [True])
    assert signal.getsignal(number) is before


def task(state, end_date=None, task_id="t"):
    return TaskInstance(task_id, -1, state, 1, None, {"end_date": end_date})


def test_state_line():
    tasks = [task("success"), task("success"), task("running"), task("none")]
    assert state_line(tasks) == "2 of 4 tasks done, 1 waiting, 1 running"
    assert state_line([]) == "0 of 0 tasks done"


def test_last_task():
    tasks = [
        task("success", "2026-01-02", "late"),
        task("success", "2026-01-01", "early"),
        task("skipped", None, "never"),
    ]
    assert last_task(tasks).task_id == "late"


def test_progress_in_plain_lines_is_not_repeated():
    text = io.StringIO()
    progress = Progress(Console(file=text))
    with progress.step("Working"):
        progress.update([task("running")])
        progress.update([task("running")])
    lines = text.getvalue().splitlines()
    assert lines[0] == "Working ..."
    assert [line.endswith("0 of 1 tasks done, 1 running") for line in lines] == [False, True, False]
    assert lines[-1].startswith("Working: done in ")


def test_progress_on_a_terminal_is_one_living_line():
    text = io.StringIO()
    progress = Progress(Console(file=text, force_terminal=True, width=80))
    with progress.step("Working"):
        progress.update([task("running")])
    assert "Working: done in " in text.getvalue().splitlines()[-1]


def test_a_step_that_fails_is_not_called_done():
    text = io.StringIO()
    progress = Progress(Console(file=text))
    with pytest.raises(ValueError, match="broken"), progress.step("Working"):
        raise ValueError("broken")
    assert "done" not in text.getvalue()
