"""What commands and the page ask of a Dask scheduler with the plugin."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.hooks.dask import AIRFLOW, PACKAGE, plain_versions, scheduler_versions
from airflow_eks_dask.hooks.dask_cluster import ClusterError, connect_timeout

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from distributed import Client

    from airflow_eks_dask.hooks.dask_cluster import Cluster

CALL_TIMEOUT = 15.0
SHOWN_VERSIONS = ("python", AIRFLOW, "dask", "distributed", PACKAGE)


@dataclass(frozen=True)
class Queue:
    """
    One queue of a cluster.

    :param name: Its name.
    :param free: Free slots of the workers that serve it.
    :param waiting: Workloads that are on no worker yet.
    :param served: Whether any worker serves it.
    """

    name: str
    free: int
    waiting: int
    served: bool


def queues_of(capacity: Mapping[str, Any]) -> list[Queue]:
    """
    Return the queues that are served or waited in: first those that nobody serves.

    :param capacity: As ``airflow_status`` tells it.
    """
    free, waiting = capacity["queues"], capacity["waiting"]
    queues = [Queue(name, free.get(name, 0), waiting.get(name, 0), name in free) for name in {*free, *waiting}]
    return sorted(queues, key=lambda queue: (queue.served, queue.name))


class SchedulerCalls:
    """
    Calls the handlers that the plugin has added to a Dask scheduler.

    :param client: A client of it that is connected.
    :param address: Where it is, for people.
    """

    def __init__(self, client: Client, address: str) -> None:
        self._client = client
        self.address = address

    def status(self) -> dict[str, Any]:
        """Return its workers, what runs on them and what waits."""
        return self._call("airflow_status")

    def drain(self, worker: str, *, cancel: bool) -> str:
        """
        Take a worker out of service, or back.

        :param worker: Its address or name.
        :param cancel: Whether it is to serve again.
        :return: Its address.
        :raises ClusterError: There is no such worker, or it cannot be taken back any more.
        """
        answer = self._call("airflow_drain", worker=worker, cancel=cancel)
        if error := answer.get("error"):
            raise ClusterError(str(error))
        return str(answer["address"])

    def versions(self) -> dict[str, str | None]:
        """Return the versions of its packages, of Python as ``python``."""
        try:
            return scheduler_versions(self._client)
        except OSError as error:
            raise ClusterError(str(error)) from None

    def worker_versions(self, workers: Sequence[str]) -> dict[str, dict[str, str | None]]:
        """
        Return the versions of workers' packages, by their addresses; those that don't answer are left out.

        :param workers: Their addresses.
        """
        message = {"op": "versions", "packages": [PACKAGE, AIRFLOW]}
        answers = self._call("broadcast", msg=message, workers=list(workers), on_error="ignore")
        return {worker: plain_versions(said["packages"]) for worker, said in answers.items() if said}

    def started(self) -> float | None:
        """Return since when it runs, in seconds since 1970; None if it has not told."""
        started = self._call("identity").get("started")
        return None if started is None else float(started)

    def dashboard(self) -> str | None:
        """Return the address of its web pages; None if it has none."""
        try:
            link = self._client.dashboard_link
        except KeyError:
            return None
        return str(link) if link else None

    def _call(self, handler: str, **arguments: Any) -> dict[str, Any]:
        try:
            if self._client.scheduler is None:
                raise ConnectionError("the connection was closed")
            answer = self._client.sync(
                getattr(self._client.scheduler, handler), callback_timeout=CALL_TIMEOUT, **arguments
            )
        except asyncio.TimeoutError:
            raise ClusterError(
                f"The Dask scheduler at {self.address} has not answered within {CALL_TIMEOUT:g} s"
            ) from None
        except OSError as error:
            raise ClusterError(f"Lost the Dask scheduler at {self.address}: {error}") from None
        if answer is None:  # what Dask answers to a call it does not know
            raise ClusterError(
                f"The Dask scheduler at {self.address} runs no Airflow workloads: no DaskExecutor has connected to it "
                "since it started, or one of another version. Start an Airflow scheduler that uses it"
            )
        return dict(answer)


@contextmanager
def connected(cluster: Cluster, timeout: float | None = None) -> Iterator[SchedulerCalls]:
    """
    Connect to the scheduler of a cluster for a while.

    :param timeout: Seconds that connecting may take; None for what the configuration says.
    :raises ClusterError: There is no connection.
    """
    try:
        client = cluster.endpoint.connect(timeout=connect_timeout() if timeout is None else timeout)
    except (OSError, ValueError) as error:
        raise ClusterError(f"{error} (from {cluster.source})") from None
    with client:
        yield SchedulerCalls(client, cluster.endpoint.address)
