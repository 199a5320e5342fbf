"""
What the launcher and its children do that is Airflow's: import it once, run one workload.

The launcher takes this module by its name, so that benchmarks and tests can put another in its place.
"""

from __future__ import annotations

import importlib

from airflow_eks_dask import compat
from airflow_eks_dask.worker.supervisor_exit import watch_task_processes

WARM_MODULES = (
    "airflow.dag_processing.bundles.manager",
    "airflow.dag_processing.dagbag",
    "airflow.executors.base_executor",
    "airflow.executors.workloads",
    "airflow.providers.standard.operators.python",
    "airflow.sdk.execution_time.secrets.execution_api",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "airflow.secrets.environment_variables",
)


def warm_up() -> None:
    """Import and prepare what every workload needs."""
    for module in WARM_MODULES:
        importlib.import_module(module)
    watch_task_processes()


def run(payload: bytes) -> None:
    """
    Run a workload to its end, in this process and its children.

    :param payload: The workload as JSON.
    :raises Exception: Its supervisor could not do its work. The failure of a task is none: the API server is told.
    """
    compat.run_workload(compat.parse_workload(payload))
