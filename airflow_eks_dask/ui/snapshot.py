"""What Dask schedulers tell, asked at most once in a while however many people watch."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.hooks.dask import local_versions, version_differences
from airflow_eks_dask.hooks.dask_check import ON_WORKERS
from airflow_eks_dask.hooks.dask_cluster import ClusterError, connect_timeout
from airflow_eks_dask.hooks.dask_scheduler import SHOWN_VERSIONS, connected, queues_of
from airflow_eks_dask.ui.places import find_places, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow_eks_dask.hooks.dask_cluster import Cluster
    from airflow_eks_dask.hooks.dask_scheduler import SchedulerCalls
    from airflow_eks_dask.ui.places import Place

log = logging.getLogger(__name__)

CONNECT_TIMEOUT = 5.0
"""Seconds; a person waits. ``[dask] connect_timeout`` may be shorter."""
KEPT = 2.0
"""Seconds for which an answer is shown to whoever asks."""
AT_A_TIME = 8


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """
    A Dask cluster at one moment, in data that JSON can hold.

    :param lanes: Those that use it.
    :param name: What the audit log calls it.
    :param source: What says where it is.
    :param kubernetes: What the cluster in Kubernetes is called that it was published for, if it was.
    :param error: Why nothing is known; None if what follows is right.
    :param note: The same, where nothing is wrong with that.
    :param started: Since when its scheduler runs, in seconds since 1970.
    :param versions: Of its scheduler, by package.
    :param version_differences: What differs from the API server so much that it does not go together, in words.
    :param workers: As ``airflow_status`` has them, each with ``versions`` and ``version_differences``.
    :param waiting: Workloads that are on no worker yet, the oldest thousand.
    :param waiting_total: How many there are.
    :param queues: Those that are served or waited in; first those that nobody serves.
    """

    lanes: tuple[str, ...]
    name: str
    address: str | None = None
    source: str | None = None
    kubernetes: str | None = None
    error: str | None = None
    note: str | None = None
    started: float | None = None
    dashboard: str | None = None
    versions: dict[str, str | None] = field(default_factory=dict)
    version_differences: list[str] = field(default_factory=list)
    workers: list[dict[str, Any]] = field(default_factory=list)
    waiting: list[dict[str, Any]] = field(default_factory=list)
    waiting_total: int = 0
    queues: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Reading:
    """
    All clusters at one moment.

    :param error: Why nothing is known of any.
    """

    clusters: Sequence[Snapshot] = ()
    error: str | None = None


def timeout() -> float:
    """
    Return the seconds that connecting may take.

    :raises ClusterError: The option is no number.
    """
    return min(CONNECT_TIMEOUT, connect_timeout())


class ClusterReader:
    """
    Asks the clusters of all lanes, side by side, so that one which is away does not hold up the others.

    :param places: Finds them.
    """

    def __init__(self, places: Callable[[], Sequence[Place]] = lambda: find_places(read_settings())) -> None:
        self._places = places
        # A worker's do not change while it lives, and asking for them goes to every worker.
        self._worker_versions: dict[str, Mapping[str, str | None]] = {}

    def read(self) -> Reading:
        """Ask; what went wrong is in the answer."""
        try:
            places = self._places()
        except ClusterError as error:
            return Reading(error=str(error))
        with ThreadPoolExecutor(AT_A_TIME, "dask-page") as pool:
            snapshots = list(pool.map(self._snapshot, places))
        present = {worker["address"] for snapshot in snapshots for worker in snapshot.workers}
        self._worker_versions = {
            address: versions for address, versions in self._worker_versions.items() if address in present
        }
        return Reading(snapshots)

    def _snapshot(self, place: Place) -> Snapshot:
        plain = Snapshot(
            lanes=place.lanes, name=place.name, kubernetes=place.kubernetes, error=place.fault, note=place.note
        )
        if place.cluster is None:
            return plain
        where = replace(plain, address=place.cluster.endpoint.address, source=place.cluster.source)
        try:
            return self._ask(where, place.cluster)
        except ClusterError as error:
            return replace(where, error=str(error))
        except Exception as error:
            log.exception("The Dask cluster at %s could not be asked", where.address)
            return replace(where, error=f"The Dask cluster could not be asked: {type(error).__name__}: {error}")

    def _ask(self, where: Snapshot, cluster: Cluster) -> Snapshot:
        here = local_versions()
        with connected(cluster, timeout()) as calls:
            state, there = calls.status(), calls.versions()
            started, dashboard = calls.started(), calls.dashboard()
            self._learn_versions(calls, [worker["address"] for worker in state["workers"]])
        workers = sorted(state["workers"], key=lambda worker: (worker["name"], worker["address"]))
        return replace(
            where,
            started=started,
            dashboard=dashboard,
            versions=_shown(there),
            version_differences=version_differences(here, there),
            workers=[self._with_versions(worker, here) for worker in workers],
            waiting=state["waiting"],
            waiting_total=state["waiting_total"],
            queues=[asdict(queue) for queue in queues_of(state["capacity"])],
        )

    def _learn_versions(self, calls: SchedulerCalls, workers: Sequence[str]) -> None:
        if unknown := [address for address in workers if address not in self._worker_versions]:
            self._worker_versions.update(calls.worker_versions(unknown))

    def _with_versions(self, worker: Mapping[str, Any], here: Mapping[str, str | None]) -> dict[str, Any]:
        versions = self._worker_versions.get(worker["address"])
        differences = version_differences(here, versions, ON_WORKERS) if versions else []
        return {**worker, "versions": _shown(versions or {}), "version_differences": differences}


def _shown(versions: Mapping[str, str | None]) -> dict[str, str | None]:
    return {name: versions[name] for name in SHOWN_VERSIONS if versions.get(name)}


class Snapshots:
    """
    Keeps the last reading for a while.

    :param read: Takes a new one.
    :param clock: Tells the time, in seconds.
    """

    def __init__(self, read: Callable[[], Reading], clock: Callable[[], float] = time.monotonic) -> None:
        self._read, self._clock = read, clock
        self._lock = threading.Lock()
        self._kept: Reading | None = None
        self._at = 0.0

    def get(self) -> Reading:
        """
        Return a reading that is not older than :data:`KEPT`; the last one while a new one is being taken.

        Who waits holds a thread of the API server, and it has few.
        """
        kept = self._kept
        if not self._lock.acquire(blocking=kept is None) and kept is not None:
            return kept
        try:
            if self._kept is None or self._clock() - self._at > KEPT:
                self._kept = self._read()
                self._at = self._clock()
            return self._kept
        finally:
            self._lock.release()

    def forget(self) -> None:
        """Have the next one taken anew."""
        with self._lock:
            self._kept = None
