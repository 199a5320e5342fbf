"""The Airflows that are compared: the same but for the executor and what that needs."""

from __future__ import annotations

import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.local.airflow import LocalAirflow
from airflow_eks_dask.local.client import AirflowClient
from airflow_eks_dask.local.processes import Child, LocalProcessError, ProcessSet
from benchmarks.redis_server import RedisServer
from benchmarks.workloads import size_variables

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from airflow_eks_dask.local.postgres import PostgresServer
    from benchmarks.workloads import Row

DASK, CELERY, LOCAL = "DaskExecutor", "CeleryExecutor", "LocalExecutor"
EXECUTORS = {DASK: "airflow_eks_dask.DaskExecutor", CELERY: CELERY, LOCAL: LOCAL}
"""Those that can be compared, with the name that Airflow knows each by."""

REPOSITORY = Path(__file__).parents[1]
BUNDLE = {
    "name": "benchmarks",
    "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
    "kwargs": {"path": str(REPOSITORY / "benchmarks" / "dags")},
}
START_TIMEOUT = 180.0
# What Airflow sends out at most by default, of one DAG and in all.
_DAG_LIMIT, _LIMIT = 16, 32


@dataclass
class System:
    """
    An Airflow that runs.

    :param executor: Name of its executor.
    :param slots: How many tasks it runs at the same time.
    :param database: Address of its metadata database.
    :param postgres_pid: Process id of the database server.
    :param beside: Processes that the executor needs and the Airflow scheduler did not start.
    """

    executor: str
    slots: int
    airflow: LocalAirflow
    client: AirflowClient
    database: str
    postgres_pid: int
    beside: Mapping[str, int] = field(default_factory=dict)


def executor_settings(executor: str, slots: int, broker: str = "") -> dict[str, dict[str, Any]]:
    """
    Return the options that give an executor its slots; all else is as Airflow ships it.

    :param broker: Address of Celery's.
    """
    core = {"max_active_tasks_per_dag": max(_DAG_LIMIT, slots), "parallelism": max(_LIMIT, slots)}
    if executor == LOCAL:
        return {"core": {**core, "parallelism": slots}}
    if executor == CELERY:
        return {"core": core, "celery": {"broker_url": broker, "worker_concurrency": slots}}
    return {"core": core, "dask": {"embedded_workers": 1, "slots_per_worker": slots}}


@contextmanager
def running(
    executor: str, directory: Path, postgres: PostgresServer, *, slots: int, rows: list[Row]
) -> Iterator[System]:
    """
    Run an Airflow with an executor, on a database of its own.

    :param executor: One of ``EXECUTORS``.
    :param directory: Empty or absent; its name becomes that of the database.
    :param slots: How many tasks run at the same time.
    :param rows: What the DAG files have to hold.
    :raises LocalProcessError: Something did not start; the message holds the end of its log.
    """
    database = directory.name
    postgres.create_database(database)
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(directory / "redis")) if executor == CELERY else None
        airflow = LocalAirflow(
            directory,
            postgres.sqlalchemy_url(database),
            executor=EXECUTORS[executor],
            dag_bundles=[BUNDLE],
            settings=executor_settings(executor, slots, redis.url if redis else ""),
            # DAG files share the description of the rows with this process.
            environment={**size_variables(rows), "PYTHONPATH": str(REPOSITORY)},
        )
        stack.callback(airflow.stop)
        airflow.start(timeout=START_TIMEOUT)
        beside: dict[str, int] = {}
        check = airflow.check
        if redis is not None:
            worker = _start_celery_worker(airflow, stack)
            beside = {"Redis": redis.pid, "Celery worker": worker.popen.pid}
            check = _checker(airflow, worker)
        client = stack.enter_context(AirflowClient(airflow.base_url, check=check))
        if postgres.pid is None:
            raise LocalProcessError(f"PostgreSQL has ended. See {postgres.log_file}.")
        yield System(executor, slots, airflow, client, postgres.dsn(database), postgres.pid, beside)


def _start_celery_worker(airflow: LocalAirflow, stack: ExitStack) -> Child:
    processes = stack.enter_context(ProcessSet())
    return processes.start(
        "Celery worker",
        # Its log server would listen on all interfaces, as those that LocalAirflow leaves out.
        [sys.executable, "-m", "airflow", "celery", "worker", "--skip-serve-logs"],
        log_file=airflow.log_file("celery-worker"),
        env=airflow.environment,
        cwd=airflow.home,
    )


def _checker(airflow: LocalAirflow, worker: Child) -> Any:
    def check() -> None:
        airflow.check()
        if not worker.running:
            raise LocalProcessError(worker.failure())

    return check
