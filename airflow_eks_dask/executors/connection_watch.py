"""Watches the Airflow connections that say where the clusters of lanes are."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_eks_dask.executors.settings import DEFAULT_LANE, LOCAL_LANE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from airflow_eks_dask.endpoint import Endpoint
    from airflow_eks_dask.executors.settings import DaskSettings

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """
    What a connection says.

    :param endpoint: Where the cluster is; None where there is no such connection.
    :param cluster_name: What the cluster is called, if the connection was published with that.
    """

    endpoint: Endpoint | None
    cluster_name: str | None = None


def read(connection_id: str) -> Whereabouts:
    """
    Read a connection.

    :raises ValueError: It cannot work; the message says why.
    """
    from airflow.models import Connection

    from airflow_eks_dask.hooks.dask import endpoint_of, published_cluster

    try:
        connection = Connection.get_connection_from_secrets(connection_id)
    except AirflowNotFoundException:
        return Whereabouts(None)
    return Whereabouts(endpoint_of(connection), published_cluster(connection.description))


def connection_of(lane: str, settings: DaskSettings) -> str | None:
    """Return the connection that says where a lane's cluster is; None if none does."""
    if lane == LOCAL_LANE or (lane == DEFAULT_LANE and settings.endpoint is not None):
        return None
    return settings.lanes.get(lane, settings.connection_id) or None


def locate(lane: str, settings: DaskSettings) -> Whereabouts:
    """
    Find out where a lane's cluster is, as the executor does; without an endpoint, a lane of Airflow is embedded.

    :raises ValueError: The lane's connection cannot work.
    """
    if lane == DEFAULT_LANE and settings.endpoint is not None:
        return Whereabouts(settings.endpoint)
    connection_id = connection_of(lane, settings)
    return read(connection_id) if connection_id else Whereabouts(None)


class ConnectionWatch:
    """
    Reads connections again and again, in a thread of its own: secrets backends and the database take their time.

    :param connections: Connection ids by lane.
    :param interval: Seconds between two looks.
    :param reader: Reads a connection.
    """

    def __init__(
        self, connections: Mapping[str, str], interval: float, reader: Callable[[str], Whereabouts] = read
    ) -> None:
        self._connections = connections
        self._interval = interval
        self._reader = reader
        self._lock = threading.Lock()
        self._news: dict[str, Whereabouts] = {}
        self._complaints: dict[str, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="dask-connection-watch", daemon=True)

    def start(self) -> None:
        """Look once, then go on in the background."""
        self.look()
        if self._connections:
            self._thread.start()

    def stop(self) -> None:
        """End the watch; a look under way is not waited for."""
        self._stop.set()

    def news(self) -> dict[str, Whereabouts]:
        """Take what was read since the last call, by lane."""
        with self._lock:
            news, self._news = self._news, {}
        return news

    def look(self) -> None:
        """Read all connections now. One that cannot be read leaves its lane where it is."""
        for lane, connection_id in self._connections.items():
            try:
                whereabouts = self._reader(connection_id)
            except Exception as error:  # noqa: BLE001 - a broken connection or database must not end the watch
                self._complain(connection_id, str(error) or type(error).__name__)
                continue
            self._complaints.pop(connection_id, None)
            with self._lock:
                self._news[lane] = whereabouts

    def _complain(self, connection_id: str, problem: str) -> None:
        if self._complaints.get(connection_id) != problem:
            log.error("It could not be read from connection %r where the Dask cluster is: %s", connection_id, problem)
        self._complaints[connection_id] = problem

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            self.look()
