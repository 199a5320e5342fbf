"""
What the launcher and its children do that is Airflow's: import it once, run one workload.

The launcher takes this module by its name, so that benchmarks and tests can put another in its place.
"""

from __future__ import annotations

import importlib
import logging
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow_eks_dask import compat
from airflow_eks_dask.worker.dag_template import DagFile, Templates
from airflow_eks_dask.worker.supervisor_exit import watch_task_processes
from airflow_eks_dask.worker.validators import share_validators

if TYPE_CHECKING:
    from collections.abc import Collection

log = logging.getLogger(__name__)

KEEP_DAG_FILES = 30.0
"""Seconds for which a DAG file that was read is used; Airflow's DAG processor reads one anew as often."""

WARM_MODULES = (
    "airflow.dag_processing.bundles.local",
    "airflow.dag_processing.bundles.manager",
    "airflow.dag_processing.dagbag",
    "airflow.executors.base_executor",
    "airflow.executors.workloads",
    "airflow.providers.standard.decorators.python",
    "airflow.providers.standard.operators.python",
    "airflow.sdk.definitions.asset.metadata",
    "airflow.sdk.definitions.connection",
    "airflow.sdk.definitions.decorators",
    "airflow.sdk.definitions.decorators.condition",
    "airflow.sdk.definitions.decorators.setup_teardown",
    "airflow.sdk.definitions.decorators.task_group",
    "airflow.sdk.execution_time.secrets.execution_api",
    "airflow.sdk.execution_time.supervisor",
    "airflow.sdk.execution_time.task_runner",
    "airflow.secrets.environment_variables",
    "airflow.version",
    "encodings.idna",
    "jinja2.ext",
    "setproctitle",
)
"""What a task with one Python function has been seen to import."""

WARM_MODULES_BY_VERSION = ("airflow.sdk._shared.logging.factory", "airflow.sdk._shared.logging.remote")
"""The same, where this Airflow has them."""


def warm_up() -> None:
    """Import and prepare what every workload needs."""
    for module in WARM_MODULES:
        importlib.import_module(module)
    for module in WARM_MODULES_BY_VERSION:
        with suppress(ModuleNotFoundError):
            importlib.import_module(module)
    with suppress(ValueError):  # it is none, but the parser is there from now on
        compat.parse_workload(b"{}")
    _load_certificate_authorities()
    _load_listeners()
    share_validators()
    _templates()
    watch_task_processes()


def _load_certificate_authorities() -> None:
    """Have Airflow's client of the API server read the authorities' certificates, which it keeps for all clients."""
    from airflow.sdk.api.client import Client

    try:
        Client(base_url="https://localhost", token="").close()
    except Exception:  # whatever is wrong with its settings, tasks meet it too and say more about it
        log.exception("Airflow's client of the API server could not be prepared; each task will try again")


def _load_listeners() -> None:
    """Have the task SDK find the plugins that listen to tasks, which it keeps."""
    from airflow.sdk.listener import get_listener_manager

    try:
        get_listener_manager()
    except Exception:  # a plugin's own code may raise anything, and tasks say more about it
        log.exception("The plugins that listen to tasks could not be loaded; each task will try again")


def describe() -> dict[str, Any]:
    """
    Tell what the Dask worker needs to know of this worker's Airflow configuration.

    :return: The ``queues`` it is to serve (none: the executor's default queue) and its ``log_folder``.
    """
    from airflow.configuration import conf

    queues = conf.get("dask", "queues", fallback="") or ""
    return {
        "queues": [name for name in (part.strip() for part in queues.split(",")) if name],
        "log_folder": conf.get("logging", "base_log_folder", fallback="") or None,
    }


@cache
def _templates() -> Templates:
    from airflow.configuration import conf

    return Templates(conf.getfloat("dask", "keep_dag_files", fallback=KEEP_DAG_FILES))


def run(payload: bytes) -> Collection[int] | None:
    """
    Run a workload to its end, in this process and its children.

    :param payload: The workload as JSON.
    :return: Ids of the processes that go on, for the next workload. None if this process may run no other: only after a
        task, whose code runs in a child.
    :raises Exception: Its supervisor could not do its work. The failure of a task is none: the API server is told.
    """
    workload = compat.parse_workload(payload)
    if not compat.is_task(workload):
        compat.run_workload(workload)
        return None
    with _templates().task(DagFile.of(workload)):
        compat.run_workload(workload)
    return _templates().pids
