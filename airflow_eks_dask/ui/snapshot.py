"""What the Dask scheduler tells, asked at most once in a while however many people watch."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.cli._cluster import connect_timeout, find_cluster
from airflow_eks_dask.cli._errors import CommandError
from airflow_eks_dask.cli._scheduler import SchedulerCalls
from airflow_eks_dask.cli.status import SHOWN_VERSIONS, queues_of
from airflow_eks_dask.hooks.dask import local_versions, version_differences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONNECT_TIMEOUT = 5.0
"""Seconds; a person waits. ``[dask] connect_timeout`` may be shorter."""
KEPT = 2.0
"""Seconds for which an answer is shown to whoever asks."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """
    A Dask cluster at one moment, in data that JSON can hold.

    :param cluster: Address, source, dashboard, versions and their differences, and since when its scheduler runs.
    :param workers: As ``airflow_status`` has them.
    :param waiting: Workloads that are on no worker yet, the oldest thousand.
    :param waiting_total: How many there are.
    :param queues: Those that are served or waited in; first those that nobody serves.
    :param error: Why nothing is known, in words; None if the rest is right.
    """

    cluster: dict[str, Any] = field(default_factory=dict)
    workers: list[dict[str, Any]] = field(default_factory=list)
    waiting: list[dict[str, Any]] = field(default_factory=list)
    waiting_total: int = 0
    queues: list[dict[str, Any]] = field(default_factory=list)
    error: str | None = None


@contextmanager
def connected() -> Iterator[tuple[SchedulerCalls, dict[str, Any]]]:
    """
    Connect to the cluster that the configuration leads to.

    :return: Its calls; and its address, what named it, and since when its scheduler runs (seconds since 1970).
    :raises CommandError: There is none, or no connection to it.
    """
    cluster = find_cluster(None)
    try:
        client = cluster.endpoint.connect(timeout=min(CONNECT_TIMEOUT, connect_timeout()))
    except (OSError, ValueError) as error:
        raise CommandError(f"{error} (from {cluster.source})") from None
    with client:
        address = cluster.endpoint.address
        about = {"address": address, "source": cluster.source, "started": client.scheduler_info().get("started")}
        yield SchedulerCalls(client, address), about


def take() -> Snapshot:
    """Ask the cluster; what went wrong is in the snapshot."""
    try:
        with connected() as (calls, about):
            state, there, dashboard = calls.status(), calls.versions(), calls.dashboard()
    except CommandError as error:
        return Snapshot(error=str(error))
    return Snapshot(
        cluster={
            **about,
            "dashboard": dashboard,
            "versions": {name: there.get(name) for name in SHOWN_VERSIONS},
            "version_differences": version_differences(local_versions(), there),
        },
        workers=sorted(state["workers"], key=lambda worker: (worker["name"], worker["address"])),
        waiting=state["waiting"],
        waiting_total=state["waiting_total"],
        queues=[asdict(queue) for queue in queues_of(state["capacity"])],
    )


class Snapshots:
    """
    Keeps the last snapshot for a while.

    :param take: Takes a new one.
    :param clock: Tells the time, in seconds.
    """

    def __init__(self, take: Callable[[], Snapshot] = take, clock: Callable[[], float] = time.monotonic) -> None:
        self._take, self._clock = take, clock
        self._lock = threading.Lock()
        self._kept: Snapshot | None = None
        self._at = 0.0

    def get(self) -> Snapshot:
        """Return a snapshot that is not older than :data:`KEPT`. Whoever comes while one is taken shares it."""
        with self._lock:
            if self._kept is None or self._clock() - self._at > KEPT:
                self._kept = self._take()
                self._at = self._clock()
            return self._kept

    def forget(self) -> None:
        """Have the next one taken anew."""
        with self._lock:
            self._kept = None
