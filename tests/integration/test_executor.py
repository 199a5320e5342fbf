"""What DaskExecutor adds to Airflow: adoption, queues, lanes that move, logs from afar."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from airflow_eks_dask import compat
from tests.conftest import eventually
from tests.integration.cluster import DaskCluster
from tests.integration.system import only

if TYPE_CHECKING:
    from pathlib import Path

CONNECTION = "dask_default"
HOME = "new tasks run on the embedded cluster"


def started(directory: Path) -> int:
    """Return the process id of the task ``wait`` once it runs."""
    eventually((directory / "pid").exists, what="the task runs")
    return int((directory / "pid").read_text())


def state(system, dag_id, run_id):
    """Return the state of the run's only task; none before Airflow has made it."""
    tasks = system.client.task_instances(dag_id, run_id)
    return tasks[0].state if tasks else None


@only("external")
def test_tasks_of_a_killed_airflow_scheduler_run_on_and_are_taken_over(system, tmp_path):
    run_id = system.trigger("probe_wait", directory=str(tmp_path))
    pid = started(tmp_path)
    system.airflow.kill_component("scheduler", signal.SIGKILL)
    system.airflow.start_component("scheduler")
    eventually(lambda: "Adopted 1 of 1 tasks" in system.scheduler_log(), what="it is taken over")
    (tmp_path / "go").touch()
    system.client.wait_for_run("probe_wait", run_id)
    (task,) = system.client.task_instances("probe_wait", run_id)
    assert (task.state, task.try_number) == ("success", 1)
    assert int((tmp_path / "pid").read_text()) == pid, "it was not run again"


@only("external")
class TestQueues:
    """Tasks go to workers that serve their queue."""

    def test_one_that_nobody_serves_waits_and_says_so_until_a_worker_does(self, system):
        run_id = system.trigger("probe_large")

        def told() -> bool:
            params = {"dag_id": "probe_large", "run_id": run_id, "event": "queue not served"}
            events = system.client.request("GET", "/eventLogs", params=params)["event_logs"]
            return any("'large'" in event["extra"] for event in events)

        eventually(told, what="the event log of the task names the queue")
        assert state(system, "probe_large", run_id) == "queued"
        system.run("sample_parallel", n=2)
        worker = system.dask.start_worker("--nthreads", "1", AIRFLOW__DASK__QUEUES="large")
        system.client.wait_for_run("probe_large", run_id)
        system.dask.processes.stop(worker)

    def test_wrong_executor_config_fails_with_the_reason(self, system):
        run_id = system.run("probe_wrong_resources", expected="failed")
        params = {"dag_id": "probe_wrong_resources", "run_id": run_id}
        events = system.client.request("GET", "/eventLogs", params=params)["event_logs"]
        assert any("resources.GPU" in (event["extra"] or "") for event in events)


@only("external")
class TestLogs:
    """Logs of workers that have a file system of their own."""

    @pytest.fixture
    def elsewhere(self, system, tmp_path):
        """A worker whose log folder is not Airflow's, the only one of its queue."""
        folder = tmp_path / "logs of the worker"
        environment = {"AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder), "AIRFLOW__DASK__QUEUES": "large"}
        worker = system.dask.start_worker("--nthreads", "1", **environment)
        yield folder
        system.dask.processes.stop(worker)

    def test_it_is_read_while_the_task_runs_and_outlives_its_worker(self, system, elsewhere, tmp_path):
        run_id = system.trigger("probe_talk", directory=str(tmp_path))

        def log() -> str:
            return system.client.task_log("probe_talk", run_id, "talk")

        eventually(lambda: state(system, "probe_talk", run_id) == "running", what="it runs")
        eventually(lambda: "this is said while the task runs" in log(), what="its log is read")
        assert state(system, "probe_talk", run_id) == "running"
        (written,) = elsewhere.rglob("attempt=1.log")
        here = system.airflow.home / "logs" / written.relative_to(elsewhere)
        assert not here.exists()

        (tmp_path / "go").touch()
        system.client.wait_for_run("probe_talk", run_id)
        eventually(here.exists, what="its log is brought home")
        assert here.read_bytes() == written.read_bytes()
        assert "this is said at the end" in log()


@only("external")
class TestOtherWorkloads:
    """Callbacks and connection tests run on workers too."""

    def test_a_callback_of_a_missed_deadline(self, system):
        system.run("deadline")
        called = json.loads((system.airflow.home / "dags" / "called.json").read_text())
        assert called == {"address": system.dask.address, "word": "too late"}

    @pytest.mark.skipif(not compat.HAS_RUN_WORKLOAD, reason="Airflow 3.2 tests connections in its API server")
    @pytest.mark.parametrize(("port", "expected"), [(None, "success"), (1, "failed")])
    def test_a_connection_test(self, system, port, expected):
        body = {
            "connection_id": f"dask_{expected}",
            "conn_type": "dask",
            "host": "127.0.0.1",
            "port": port or system.dask.port,
        }
        token = system.client.request("POST", "/connections/enqueue-test", json=body)["token"]

        def tested() -> dict | None:
            headers = {"Airflow-Connection-Test-Token": token}
            test = system.client.request("GET", "/connections/enqueue-test", headers=headers)
            return test if test["state"] in ("success", "failed") else None

        test = eventually(tested, what="the connection is tested")
        assert (test["state"], bool(test["result_message"])) == (expected, True)


@only("embedded")
class TestMove:
    """The connection dask_default appears, and goes."""

    @pytest.fixture
    def cluster(self, system, tmp_path):
        cluster = DaskCluster(tmp_path, system.airflow.environment)
        cluster.start_scheduler()
        cluster.start_worker("--nthreads", "1")
        yield cluster
        cluster.stop()

    def test_new_work_goes_to_the_new_cluster_and_nothing_is_lost(self, system, cluster, tmp_path):
        staying = system.trigger("probe_wait", directory=str(tmp_path))
        pid = started(tmp_path)
        home = system.returned("probe_look_around", system.run("probe_look_around"), "look_around")["dask_scheduler"]

        body = {"connection_id": CONNECTION, "conn_type": "dask", "host": "127.0.0.1", "port": cluster.port}
        system.client.request("POST", "/connections", json=body)
        address = f"tcp://127.0.0.1:{cluster.port}"
        try:
            eventually(lambda: f"Connected to the Dask scheduler at {address}" in system.scheduler_log())
            away = system.returned("probe_look_around", system.run("probe_look_around"), "look_around")
            assert away["dask_scheduler"] == address
            local = system.returned("probe_local", system.run("probe_local"), "local")
            assert local == home
            assert state(system, "probe_wait", staying) == "running"
        finally:
            moves_home = system.scheduler_log().count(HOME)
            system.client.request("DELETE", f"/connections/{CONNECTION}")
        eventually(lambda: system.scheduler_log().count(HOME) > moves_home, what="it has moved home")
        back = system.returned("probe_look_around", system.run("probe_look_around"), "look_around")
        assert back["dask_scheduler"] == home
        (tmp_path / "go").touch()
        system.client.wait_for_run("probe_wait", staying)
        assert int((tmp_path / "pid").read_text()) == pid
