"""The sample DAGs, from the bundle, in an Airflow with DaskExecutor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg2
import pytest

from tests.aws.simulation import Simulation
from tests.conftest import eventually
from tests.integration.system import only

if TYPE_CHECKING:
    from collections.abc import Iterator

BUCKET = "pipelines-data"
S3_TABLES = ("sample_s3_objects", "sample_s3_trips", "sample_s3_rejected")


def rows(dsn: str, query: str) -> list[tuple]:
    with psycopg2.connect(dsn, connect_timeout=10) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


def state(system, dag_id: str, run_id: str, task_id: str) -> str | None:
    """Return the state of a task; none before Airflow has made it."""
    return next((task.state for task in system.client.task_instances(dag_id, run_id) if task.task_id == task_id), None)


def clear(system, dag_id: str, run_id: str) -> None:
    """Have all tasks of a run run again, to their end."""
    path = f"/dags/{dag_id}/dagRuns/{run_id}/clear"
    system.client.request("POST", path, json={"dry_run": False, "only_failed": False})
    system.client.wait_for_run(dag_id, run_id)


def test_parallel(system):
    system.run("sample_parallel", n=12)


def test_sensors(system):
    system.run("sample_sensors")


def test_etl_and_its_rerun_give_the_same(system):
    run_id = system.run("sample_etl", rows=24_000)
    tables = [name for (name,) in rows(system.results, "select tablename from pg_tables where schemaname='public'")]
    tables = [name for name in tables if name.startswith("sample_etl")]
    assert tables, "nothing was loaded"
    first = {table: sorted(rows(system.results, f"select * from {table}")) for table in tables}
    assert all(first.values())
    (chart,) = (system.airflow.home / "sample_etl").rglob("*.png")
    chart.unlink()

    clear(system, "sample_etl", run_id)

    assert {table: sorted(rows(system.results, f"select * from {table}")) for table in tables} == first
    assert chart.read_bytes().startswith(b"\x89PNG")


def test_a_computation_is_fanned_out_over_the_workers(system):
    run_id = system.run("sample_confidence", rows=300_000, resamples=100)

    report = system.returned("sample_confidence", run_id, "report")
    assert report["parts"] == 6
    assert 290_000 < report["trips"] < 300_000
    assert len(report["per_hour"]) == 14
    (chart,) = (system.airflow.home / "sample_confidence").rglob("*.png")
    assert chart.read_bytes().startswith(b"\x89PNG")
    log = system.client.task_log("sample_confidence", run_id, "estimate")
    assert "6 of 6 parts done" in log
    if system.dask:
        assert "6 parts for 2 threads of 2 workers" in log


@only("embedded")
class TestS3ToPostgres:
    """Files come to a simulated S3, and go to a real PostgreSQL."""

    @pytest.fixture(scope="class")
    def simulation(self) -> Iterator[Simulation]:
        with Simulation.started() as running:
            region = {"LocationConstraint": "eu-central-1"}
            running.boto("s3").create_bucket(Bucket=BUCKET, CreateBucketConfiguration=region)
            yield running

    @pytest.fixture(autouse=True)
    def connection(self, system, simulation):
        """Airflow's connection ``aws_default`` leads to the simulated AWS."""
        system.client.request("POST", "/connections", json=simulation.connection)
        yield
        system.client.request("DELETE", "/connections/aws_default")

    def test_files_are_waited_for_and_loaded_once(self, system):
        dag_id = "sample_s3_to_postgres"
        waits = system.trigger(dag_id, rows=0)
        eventually(lambda: state(system, dag_id, waits, "wait") == "deferred", what="it waits without a slot")

        puts = system.run(dag_id, rows=2_400)
        system.client.wait_for_run(dag_id, waits)

        # Both saw the files at about the same time; who loaded which does not matter.
        reports = [system.returned(dag_id, run_id, "report") for run_id in (waits, puts)]
        assert sum(report["loaded_now"] for report in reports) == 12
        tables = {table: sorted(rows(system.results, f"select * from {table}")) for table in S3_TABLES}
        assert len(tables["sample_s3_objects"]) == 12
        assert len(tables["sample_s3_trips"]) + len(tables["sample_s3_rejected"]) == 2_400

        # When cleared, they have nothing left to load.
        for run_id in (waits, puts):
            clear(system, dag_id, run_id)
            assert system.returned(dag_id, run_id, "report")["loaded_now"] == 0
        last = system.run(dag_id, rows=0)

        assert system.returned(dag_id, last, "report")["loaded_now"] == 0
        assert state(system, dag_id, last, "load") == "skipped"
        assert {table: sorted(rows(system.results, f"select * from {table}")) for table in S3_TABLES} == tables


@only("external")
class TestQueues:
    """Two workers serve the default queue; a third one comes that serves the queue of tasks with much memory."""

    @pytest.fixture(autouse=True)
    def nobody_serves_it(self, system):
        def gone() -> bool:
            return not any("large" in worker["queues"] for worker in system.dask.call("airflow_status")["workers"])

        eventually(gone, what="workers of other tests have left")

    def test_without_such_a_worker_a_sample_is_taken(self, system):
        run_id = system.run("sample_queues")

        report = system.returned("sample_queues", run_id, "report")
        assert report["exact"] is False
        assert 23_000 < report["trips"] < 24_000
        assert state(system, "sample_queues", run_id, "exact") == "skipped"

    def test_it_waits_for_such_a_worker_and_then_runs_there_alone(self, system, tmp_path):
        run_id = system.trigger("sample_queues", if_not_served="wait")

        def told() -> bool:
            params = {"dag_id": "sample_queues", "run_id": run_id, "event": "queue not served"}
            events = system.client.request("GET", "/eventLogs", params=params)["event_logs"]
            return any("'large'" in event["extra"] for event in events)

        eventually(told, what="the event log of the task names the queue")
        folder = tmp_path / "logs of the worker"
        environment = {"AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(folder), "AIRFLOW__DASK__QUEUES": "large"}
        worker = system.dask.start_worker("--nthreads", "1", "--resources", "MEMORY=4e9", **environment)
        try:
            system.client.wait_for_run("sample_queues", run_id)
            again = system.run("sample_queues")
        finally:
            system.dask.processes.stop(worker)

        for each in (run_id, again):
            report = system.returned("sample_queues", each, "report")
            assert report["exact"] is True
            assert 230_000 < report["trips"] < 240_000
        assert {log.parent.name for log in folder.rglob("attempt=*.log")} == {"task_id=exact"}
