"""Airflow with DaskExecutor, as its user meets it: DAGs are triggered, tasks end in the state they deserve."""

from __future__ import annotations

import os
import re
import signal
from itertools import takewhile

import psutil
import pytest

from tests.conftest import eventually
from tests.integration.system import only

TOKEN = re.compile(r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}")


@only("embedded")
class TestFailures:
    """What goes wrong ends in the right state, with a reason, and the Airflow scheduler lives on."""

    @pytest.fixture(autouse=True)
    def scheduler_lives(self, system):
        pid = system.airflow.pid("scheduler")
        yield
        system.airflow.check()
        assert system.airflow.pid("scheduler") == pid

    @pytest.mark.parametrize(
        ("dag_id", "words"),
        [("probe_fail", "this task was made to fail"), ("probe_kill_itself", "Process terminated by signal")],
    )
    def test_a_task_fails(self, system, dag_id, words):
        run_id = system.run(dag_id, expected="failed")
        log = system.client.task_log(dag_id, run_id, dag_id.removeprefix("probe_"))
        assert words in log

    def test_a_failed_try_is_retried(self, system):
        run_id = system.run("probe_fail_once")
        assert system.returned("probe_fail_once", run_id, "fail_once") == 2

    def test_a_dag_file_that_no_longer_parses(self, system):
        system.run("fragile")
        # It would notice, and the DAG could not be triggered: the task has to meet the broken file first.
        system.airflow.kill_component("dag-processor", signal.SIGTERM)
        file = system.airflow.home / "dags" / "fragile.py"
        source = file.read_text()
        file.write_text("from airflow.sdk import dag\nraise RuntimeError('somebody broke this file')\n")
        run_id = system.client.trigger("fragile")
        system.client.wait_for_run("fragile", run_id, expected="failed")
        assert "somebody broke this file" in system.client.task_log("fragile", run_id, "fine")
        file.write_text(source)
        system.airflow.start_component("dag-processor")


class TestInsideATask:
    """What a task sees, and what others see of it."""

    def test_surroundings(self, system):
        run_id = system.run("probe_look_around")
        seen = system.returned("probe_look_around", run_id, "look_around")
        assert seen["pool_enabled"] is False
        assert system.postgres.port not in seen["peers"], "a database connection was inherited or made"
        assert seen["peers"], "the supervisor speaks to the API server"
        assert seen["session_is_own"]
        assert seen["process_context"] is None
        address = system.dask.address if system.dask else "tcp://127.0.0.1:"
        assert seen["dask_scheduler"].startswith(address)

    def test_its_log_reaches_the_ui(self, system):
        run_id = system.run("probe_look_around")
        assert "Returned value was" in system.client.task_log("probe_look_around", run_id, "look_around")

    def test_it_computes_on_its_cluster(self, system):
        run_id = system.run("probe_compute")
        assert system.returned("probe_compute", run_id, "compute") == 45

    def test_it_has_a_process_of_its_own_though_its_supervisor_had_others(self, system):
        run_id = system.run("probe_traces")
        names = [task.task_id for task in system.client.task_instances("probe_traces", run_id)]
        seen = [system.returned("probe_traces", run_id, name) for name in names]
        for value in ("pid", "random"):
            assert len({each[value] for each in seen}) == len(names)
        assert len({each["supervisor"] for each in seen}) < len(names)
        assert [each["before"] for each in seen] == [None] * len(names)
        for name in names:
            log = system.client.task_log("probe_traces", run_id, name)
            assert re.findall(r"said by (\w+)", log) == [name], log

    @pytest.mark.parametrize("file", ["rewritten.py", "rewritten_helper.py", "rewritten.json"])
    def test_what_it_has_read_is_what_is_there(self, system, file):
        run_id = system.run("rewritten", file=file)
        seen = [system.returned("rewritten", run_id, f"compare_{number}") for number in range(8)]
        assert [each["read"] for each in seen] == [each["there"] for each in seen]
        assert seen[3]["there"] != seen[5]["there"]
        assert seen[7]["orphan_is_gone"]

    def test_its_dag_file_has_been_read_before_if_it_is_one_of_many(self, system):
        def some_file_was_read_before() -> bool:
            run_id = system.run("side_by_side")
            seen = [system.returned("side_by_side", run_id, f"processes_{number}") for number in range(24)]
            return any(read_by != run_by for read_by, run_by in seen)

        # A task that comes sooner than its file has been read reads it itself.
        eventually(some_file_was_read_before, what="a task finds its file read")

    def test_no_token_and_no_payload_shows(self, system, tmp_path):
        run_id = system.trigger("probe_wait", directory=str(tmp_path))
        eventually((tmp_path / "pid").exists, what="the task runs")
        task = psutil.Process(int((tmp_path / "pid").read_text()))
        family = [task, *takewhile(lambda process: process.pid != os.getpid(), task.parents())]
        assert len(family) > 2, "at least the task, its supervisor, the launcher"
        for process in family:
            for text in (" ".join(process.cmdline()), str(process.environ())):
                assert not TOKEN.search(text), process
                assert "ExecuteTask" not in text, process
        (tmp_path / "go").touch()
        system.client.wait_for_run("probe_wait", run_id)
        logs = [file for file in system.airflow.home.rglob("*.log") if file.is_file()]
        assert logs
        for file in logs:
            assert not TOKEN.search(file.read_text(errors="replace")), file


@only("embedded")
def test_a_killed_airflow_scheduler_leaves_no_process_of_its_embedded_cluster(system, tmp_path):
    run_id = system.trigger("probe_wait", directory=str(tmp_path))
    eventually((tmp_path / "pid").exists, what="the task runs")
    task = psutil.Process(int((tmp_path / "pid").read_text()))
    family = psutil.Process(system.airflow.pid("scheduler")).children(recursive=True)
    assert task in family
    system.airflow.kill_component("scheduler", signal.SIGKILL)
    eventually(lambda: not any(alive(process) for process in family), what="all of its processes have ended")
    (tmp_path / "go").touch()
    system.airflow.start_component("scheduler")
    system.client.wait_for_run("probe_wait", run_id)


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@only("embedded")
def test_an_airflow_scheduler_asked_to_stop_lets_tasks_finish(system, tmp_path):
    run_id = system.trigger("probe_wait", directory=str(tmp_path))
    eventually((tmp_path / "pid").exists, what="the task runs")
    os.kill(system.airflow.pid("scheduler"), signal.SIGTERM)
    eventually(lambda: "Waiting up to" in system.scheduler_log(), what="it says what it waits for")
    (tmp_path / "go").touch()
    system.airflow.kill_component("scheduler", signal.SIGCONT)
    (task,) = system.client.task_instances("probe_wait", run_id)
    assert task.state == "success"
    system.airflow.start_component("scheduler")


@only("external")
def test_no_dask_scheduler_at_the_start_of_airflow(system):
    system.dask.stop()
    system.airflow.kill_component("scheduler", signal.SIGTERM)
    system.airflow.start_component("scheduler")
    eventually(lambda: f"No Dask cluster at {system.dask.address}" in system.scheduler_log(), what="it says so")
    run_id = system.trigger("sample_parallel", n=4)

    def waiting() -> bool:
        tasks = system.client.task_instances("sample_parallel", run_id)
        return any(task.state == "scheduled" for task in tasks)

    eventually(waiting, what="the task waits in Airflow")
    system.airflow.check()
    system.dask.start_scheduler()
    for _ in range(2):
        system.dask.start_worker("--nthreads", "1")
    system.client.wait_for_run("sample_parallel", run_id)
