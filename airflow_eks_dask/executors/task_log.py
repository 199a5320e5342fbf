"""Reads the log of a running task through the connection to its cluster."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from distributed import Client

from airflow_eks_dask.executors import connection_watch
from airflow_eks_dask.executors.lanes import route
from airflow_eks_dask.executors.log_keeper import ask, read_from
from airflow_eks_dask.executors.settings import DEFAULT_LANE, LOCAL_LANE
from airflow_eks_dask.worker.protocol import LOG_LIMIT

if TYPE_CHECKING:
    from airflow.models.taskinstance import TaskInstance

    from airflow_eks_dask.endpoint import Endpoint
    from airflow_eks_dask.executors.settings import DaskSettings

TIMEOUT = 5.0
"""Seconds for the connection, and for each answer: somebody waits for a page."""

READ_LIMIT = 16 * LOG_LIMIT
"""Bytes of a log that are shown while its task runs: those at its end."""


def read(settings: DaskSettings, ti: TaskInstance, try_number: int) -> tuple[list[str], list[str]]:
    """
    Return what a running task has logged so far.

    :param settings: The executor's.
    :param ti: The task.
    :param try_number: The try whose log is wanted.
    :return: Messages on where it was read, and the log; both empty where Airflow reads the file itself.
    :raises OSError: The cluster did not answer, or does not have it.
    :raises ValueError: The connection that says where the cluster is does not work.
    """
    if try_number != ti.try_number or not ti.external_executor_id:
        return [], []
    endpoint = _endpoint(settings, ti.queue or settings.default_queue)
    if endpoint is None:
        return [], []
    with Client(
        endpoint.address, security=endpoint.security(), timeout=TIMEOUT, set_as_default=False, name="airflow-log-reader"
    ) as client:
        data, worker = client.sync(_read, client.scheduler, ti.external_executor_id)
    return [f"Read from Dask worker {worker} through {endpoint.address}"], [data.decode(errors="replace")]


def _endpoint(settings: DaskSettings, queue: str) -> Endpoint | None:
    """Return where the task's cluster is; None for the embedded one, whose log files are the scheduler's own."""
    lane, _ = route(queue, {DEFAULT_LANE, LOCAL_LANE, *settings.lanes}, settings.default_queue)
    return connection_watch.locate(lane, settings).endpoint


async def _read(scheduler: Any, key: str) -> tuple[bytes, str]:
    async def call(handler: str, **arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await asyncio.wait_for(getattr(scheduler, handler)(**arguments), TIMEOUT)
        return answer

    about = await ask(call, key, 0, 0)
    size = int(about["size"])
    data = await read_from(call, key, max(0, size - READ_LIMIT), size)
    return data, str(about.get("worker", ""))
