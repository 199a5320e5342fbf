"""What differs between the Airflow versions this package runs with (3.2.2 and newer), and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow import __version__
from packaging.version import Version

if TYPE_CHECKING:
    from airflow.executors.base_executor import BaseExecutor

AIRFLOW_VERSION = Version(Version(__version__).base_version)
HAS_RUN_WORKLOAD = Version("3.3") <= AIRFLOW_VERSION
"""Airflow 3.3 moved the choice of a supervisor for a workload into the executors' base class."""


@cache
def _workload_adapter() -> Any:
    from airflow.executors import workloads
    from pydantic import TypeAdapter

    return TypeAdapter(workloads.ExecutorWorkload if HAS_RUN_WORKLOAD else workloads.All)


def parse_workload(payload: bytes) -> Any:
    """
    Read a workload.

    :param payload: The workload as JSON.
    :raises ValueError: It is none that this Airflow knows.
    """
    from pydantic import ValidationError

    try:
        return _workload_adapter().validate_json(payload)
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        # pydantic's own message repeats its input, and that has the token in it.
        raise ValueError(f"Airflow {AIRFLOW_VERSION} on the worker cannot read the workload: {problems}") from None


def run_workload(workload: Any) -> None:
    """Run a workload through the supervisor meant for it."""
    if HAS_RUN_WORKLOAD:
        from airflow.executors.base_executor import BaseExecutor

        BaseExecutor.run_workload(workload, subprocess_logs_to_stdout=True)
    else:
        _run_workload_3_2(workload)


def _run_workload_3_2(workload: Any) -> None:
    from airflow.configuration import conf
    from airflow.executors import workloads

    if isinstance(workload, workloads.ExecuteTask):
        from airflow.sdk.execution_time.supervisor import supervise

        base_url = conf.get("api", "base_url", fallback="/")
        if base_url.startswith("/"):
            base_url = f"http://localhost:8080{base_url}"
        supervise(
            ti=workload.ti,
            dag_rel_path=workload.dag_rel_path,
            bundle_info=workload.bundle_info,
            token=workload.token,
            server=conf.get("core", "execution_api_server_url", fallback=f"{base_url.rstrip('/')}/execution/"),
            log_path=workload.log_path,
            subprocess_logs_to_stdout=True,
            sentry_integration=workload.sentry_integration,
        )
    elif isinstance(workload, workloads.ExecuteCallback):
        import structlog
        from airflow.executors.workloads.callback import execute_callback_workload  # type: ignore[attr-defined]

        success, error = execute_callback_workload(workload.callback, structlog.get_logger(__name__))
        if not success:
            raise RuntimeError(error or "callback failed")
    else:
        raise TypeError(f"Airflow {AIRFLOW_VERSION} gave a workload of a kind unknown to it: {type(workload).__name__}")


def is_task(workload: Any) -> bool:
    """Return whether a workload is a task, and not a callback or a test of a connection."""
    return hasattr(workload, "ti")


def workload_key(workload: Any) -> Any:
    """Return the key by which Airflow's executors know a workload."""
    if HAS_RUN_WORKLOAD:
        return workload.key
    return workload.ti.key if is_task(workload) else workload.callback.id


@dataclass(frozen=True)
class Description:
    """
    What an executor needs to know of a workload.

    :param label: What people call it.
    :param external_id: What identifies this run of it outside Airflow; None if Airflow has assigned nothing.
    :param queue: Of the task; None for the default queue.
    :param priority: Of the task; None for what goes before all tasks.
    :param executor_config: Of the task.
    :param log_path: Of its log, relative to the log folder.
    """

    label: str
    external_id: str | None
    queue: str | None = None
    priority: int | None = None
    executor_config: dict[str, Any] | None = None
    log_path: str | None = None


def describe_workload(workload: Any) -> Description:
    """Return what an executor needs to know of a workload."""
    if is_task(workload):
        ti = workload.ti
        mapped = f"[{ti.map_index}]" if ti.map_index >= 0 else ""
        return Description(
            f"{ti.dag_id}.{ti.task_id}{mapped} {ti.run_id} try {ti.try_number}",
            ti.external_executor_id,
            ti.queue,
            ti.priority_weight,
            ti.executor_config,
            workload.log_path,
        )
    if hasattr(workload, "callback"):
        name = f"callback-{workload.callback.id}"
        return Description(name, name, log_path=workload.log_path)
    name = f"connection-test-{workload.connection_test_id}"
    return Description(f"connection test {workload.connection_id}", name, workload.queue)


def gauge(name: str, value: float, tags: dict[str, str]) -> None:
    """Set a gauge of Airflow's metrics."""
    if HAS_RUN_WORKLOAD:
        from airflow._shared.observability.metrics import stats

        stats.gauge(name, value, tags=tags)
    else:
        from airflow._shared.observability.metrics.stats import Stats

        Stats.gauge(name, value, tags=tags)


def forget_queued(executor: BaseExecutor, key: Any) -> None:
    """Take a workload out of whichever of the executor's queues it is in."""
    for queue in ("queued_tasks", "queued_callbacks", "queued_connection_tests"):
        getattr(executor, queue, {}).pop(key, None)
