"""An Airflow with DaskExecutor on PostgreSQL: on its embedded cluster, or on a cluster started by hand."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_eks_dask.local.airflow import LocalAirflow
from tests.integration.cluster import DaskCluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eks_dask.local.client import AirflowClient
    from airflow_eks_dask.local.postgres import PostgresServer

BUNDLES = (
    {"name": "eks_dask", "classpath": "airflow_eks_dask.bundle.EksDaskDagBundle", "kwargs": {}},
    # Without a path it is [core] dags_folder.
    {"name": "tests", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": {}},
)

# What the tasks of samples and of AWS import: a second or two of each task on a machine this small.
PRELOAD = "pandas, pyarrow.parquet, dask.dataframe, airflow_eks_dask.operators.access, airflow_eks_dask.operators.eks"

# A scheduler that was killed is taken for dead after 10 s, and its tasks are looked after within 5 s more; the defaults
# are 30 s and 5 min.
QUICK_RECOVERY = {
    "scheduler_heartbeat_sec": 2,
    "scheduler_health_check_threshold": 10,
    "orphaned_tasks_check_interval": 5,
}

# No DAG file changes while its processor runs; to look again costs a tenth of this machine.
PARSE_ONCE = {"min_file_process_interval": 3600}


@dataclass
class System:
    """A running Airflow, the cluster it uses if that is not its own, and the database of the samples' results."""

    airflow: LocalAirflow
    client: AirflowClient
    postgres: PostgresServer
    results: str
    dask: DaskCluster | None = None

    def run(self, dag_id: str, *, expected: str = "success", timeout: float = 600, **params: object) -> str:
        """Run a DAG to its end and return the run's id."""
        run_id = self.trigger(dag_id, **params)
        self.client.wait_for_run(dag_id, run_id, timeout=timeout, expected=expected)
        return run_id

    def trigger(self, dag_id: str, **params: object) -> str:
        """Start a run of a DAG, once its file has been parsed, and return the run's id."""
        self.client.wait_for_dag(dag_id)
        return self.client.trigger(dag_id, params)

    def returned(self, dag_id: str, run_id: str, task_id: str) -> object:
        """Return what a task has returned."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self.client.request("GET", path, params={"deserialize": False})["value"]

    def scheduler_log(self) -> str:
        """Return what the Airflow scheduler, and the embedded cluster, have printed."""
        return self.airflow.log_file("scheduler").read_text()


def new_airflow(home: Path, postgres: PostgresServer, name: str, **dask: str) -> LocalAirflow:
    """Return an Airflow of its own with DaskExecutor; not yet started."""
    postgres.create_database(name)
    postgres.create_database(f"{name}_results")
    shutil.copytree(Path(__file__).parent / "dags", home / "dags")
    return LocalAirflow(
        home,
        postgres.sqlalchemy_url(name),
        executor="airflow_eks_dask.DaskExecutor",
        dag_bundles=BUNDLES,
        settings={
            "dask": {"preload_modules": PRELOAD, "connection_check_interval": "1", **dask},
            "scheduler": QUICK_RECOVERY,
            "dag_processor": PARSE_ONCE,
            # Airflow looks for the DAG of a task this often before it fails the task, a minute apart by default.
            "workers": {"missing_dag_retry_delay": 1},
            "core": {"test_connection": "Enabled"},
        },
        environment={
            "AIRFLOW_CONN_SAMPLE_RESULTS": postgres.dsn(f"{name}_results"),
            # Callbacks are imported by their names.
            "PYTHONPATH": str(home / "dags"),
        },
    )


@contextmanager
def embedded(directory: Path, postgres: PostgresServer) -> Iterator[System]:
    """Airflow with nothing said about a cluster."""
    airflow = new_airflow(directory, postgres, "embedded")
    with airflow, airflow.client() as client:
        yield System(airflow, client, postgres, postgres.dsn("embedded_results"))


@contextmanager
def external(directory: Path, postgres: PostgresServer) -> Iterator[System]:
    """Airflow on a Dask scheduler and two workers, started by hand in the same environment."""
    dask = DaskCluster(directory)
    airflow = new_airflow(directory, postgres, "external", cluster_address=dask.address, connect_timeout="2")
    dask.environment = airflow.environment
    dask.start_scheduler()
    for _ in range(2):
        dask.start_worker("--nthreads", "1")
    try:
        with airflow, airflow.client() as client:
            yield System(airflow, client, postgres, postgres.dsn("external_results"), dask)
    finally:
        dask.stop()


SYSTEMS = {"embedded": embedded, "external": external}


def only(name: str) -> pytest.MarkDecorator:
    """Run a test with one of the systems."""
    return pytest.mark.parametrize("system", [name], indirect=True)
