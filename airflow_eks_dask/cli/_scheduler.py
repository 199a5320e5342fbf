"""What commands ask of a Dask scheduler with the plugin."""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.cli._cluster import connect_timeout
from airflow_eks_dask.cli._errors import CommandError
from airflow_eks_dask.hooks.dask import scheduler_versions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed import Client

    from airflow_eks_dask.cli._cluster import Cluster

CALL_TIMEOUT = 15.0


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
        :raises CommandError: There is no such worker, or it cannot be taken back any more.
        """
        answer = self._call("airflow_drain", worker=worker, cancel=cancel)
        if error := answer.get("error"):
            raise CommandError(str(error))
        return str(answer["address"])

    def versions(self) -> dict[str, str | None]:
        """Return the versions of its packages, of Python as ``python``."""
        try:
            return scheduler_versions(self._client)
        except OSError as error:
            raise CommandError(str(error)) from None

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
            raise CommandError(
                f"The Dask scheduler at {self.address} has not answered within {CALL_TIMEOUT:g} s"
            ) from None
        except OSError as error:
            raise CommandError(f"Lost the Dask scheduler at {self.address}: {error}") from None
        if answer is None:  # what Dask answers to a call it does not know
            raise CommandError(
                f"The Dask scheduler at {self.address} runs no Airflow workloads: no DaskExecutor has connected to it "
                "since it started, or one of another version. Start an Airflow scheduler that uses it"
            )
        return dict(answer)


@contextmanager
def connected(cluster: Cluster) -> Iterator[SchedulerCalls]:
    """
    Connect to the scheduler of a cluster for a while.

    :raises CommandError: There is no connection.
    """
    # What matters of it is in the errors.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    try:
        client = cluster.endpoint.connect(timeout=connect_timeout())
    except (OSError, ValueError) as error:
        raise CommandError(f"{error} (from {cluster.source})") from None
    with client:
        yield SchedulerCalls(client, cluster.endpoint.address)
