"""
Which cluster a workload goes to.

A lane is a name and a cluster. Where a lane's cluster is may change while Airflow runs: new work then goes to the new
cluster, and the former one is kept until what runs there has ended.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_eks_dask.executors.changes import CLUSTER_LEFT, LANE_LOST, LANE_MOVED, Change
from airflow_eks_dask.executors.cluster import cluster_name, describe
from airflow_eks_dask.executors.settings import DEFAULT_LANE, LOCAL_LANE
from airflow_eks_dask.worker.protocol import Capacity

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping

    from airflow_eks_dask.endpoint import Endpoint
    from airflow_eks_dask.executors.cluster import Cluster
    from airflow_eks_dask.executors.in_flight import Adoption, Release, Report
    from airflow_eks_dask.worker.protocol import Submission

log = logging.getLogger(__name__)

K = TypeVar("K")


def route(queue: str, lanes: Container[str], default_queue: str) -> tuple[str, str]:
    """
    Return the lane of a queue, and the name of the queue on that lane's cluster.

    :param queue: As the task has it: ``lane``, ``lane/queue``, or a queue of the default lane.
    :param lanes: The names of all lanes.
    :param default_queue: The queue of a workload that names a lane only.
    """
    lane, _, rest = queue.partition("/")
    return (lane, rest or default_queue) if lane in lanes else (DEFAULT_LANE, queue)


class Lanes(Generic[K]):
    """
    The lanes of an executor, and the clusters that they use or have used.

    :param names: The lanes beside ``default`` and ``local``.
    :param default_queue: The queue of a workload that names a lane only.
    :param new_cluster: Makes a cluster; given no endpoint, an embedded one.
    """

    def __init__(
        self, names: Iterable[str], default_queue: str, new_cluster: Callable[[Endpoint | None], Cluster[K]]
    ) -> None:
        self._default_queue = default_queue
        self._new_cluster = new_cluster
        self._targets: dict[str, Endpoint | None] = {}
        self._clusters: dict[Endpoint | None, Cluster[K]] = {}
        # Of lanes whose cluster is not known (yet).
        self._waiting: dict[str, dict[K, Submission]] = {name: {} for name in (DEFAULT_LANE, LOCAL_LANE, *names)}
        self._targets[LOCAL_LANE] = None
        self._changes: list[Change] = []

    def __len__(self) -> int:
        return sum(map(len, self._clusters.values())) + sum(map(len, self._waiting.values()))

    def route(self, queue: str) -> tuple[str, str]:
        """Return the lane of a queue, and the name of the queue on that lane's cluster: see :func:`route`."""
        return route(queue, self._waiting, self._default_queue)

    def point(self, lane: str, endpoint: Endpoint | None) -> None:
        """
        Say where a lane's cluster is, at first or anew.

        :param endpoint: None for the embedded cluster.
        """
        if lane in self._targets and self._targets[lane] == endpoint:
            return
        former = self._targets.get(lane)
        moved = lane in self._targets
        self._targets[lane] = endpoint
        name = cluster_name(endpoint)
        log.info("Lane %s: new tasks run on %s", lane, name)
        about = {"lane": lane, "cluster": name, "former": cluster_name(former) if moved else None}
        self._changes.append(Change(LANE_MOVED, about))
        held = self._waiting[lane]
        self._waiting[lane] = {}
        if moved and former not in self._targets.values() and former in self._clusters:
            held |= self._clusters[former].withdraw()
        self._cluster(endpoint).submit(held)

    def forget(self, lane: str) -> None:
        """Note that it is not known any more where a lane's cluster is: what runs there goes on, new work waits."""
        if lane not in self._targets:
            return
        former = self._targets.pop(lane)
        self._changes.append(Change(LANE_LOST, {"lane": lane, "former": cluster_name(former)}))
        if former is not None and former in self._clusters and former not in self._targets.values():
            self._waiting[lane] |= self._clusters[former].withdraw()

    def is_embedded(self, lane: str) -> bool:
        """Tell whether a lane's workloads run on the embedded cluster."""
        return lane in self._targets and self._targets[lane] is None

    def submit(self, lane: str, submissions: Mapping[K, Submission]) -> None:
        """Have workloads run in a lane."""
        if lane in self._targets:
            self._cluster(self._targets[lane]).submit(submissions)
        else:
            log.warning("It is not known where the cluster of lane %r is: %d workloads wait", lane, len(submissions))
            self._waiting[lane] |= submissions

    def adopt(self, lane: str, workloads: Mapping[K, Adoption]) -> None:
        """Take over workloads of another executor."""
        self._cluster(self._targets[lane]).adopt(workloads)

    def knows(self, lane: str) -> bool:
        """Tell whether it is known where a lane's cluster is."""
        return lane in self._targets

    def revoke(self, workload: K) -> None:
        """Have a workload ended, wherever it is; nothing is reported for it."""
        for waiting in self._waiting.values():
            waiting.pop(workload, None)
        for cluster in self._clusters.values():
            cluster.revoke(workload)

    def room(self, demand: Callable[[], Mapping[str, int]]) -> int:
        """
        Return how many workloads to take from Airflow now.

        As many as the default queue has room for; and of other queues and lanes, where there are any, as many as wait
        for them: Airflow sends tasks by priority, and would fill room offered in vain with tasks for elsewhere.

        :param demand: Tells how many tasks wait in Airflow, by queue; called only if it matters.
        """
        room = self._room(DEFAULT_LANE, self._default_queue)
        if not self._has_other_places():
            return room
        places: dict[tuple[str, str], int] = {}
        for queue, count in demand().items():
            place = self.route(queue)
            if place != (DEFAULT_LANE, self._default_queue) and place[0] in self._targets:
                places[place] = places.get(place, 0) + count
        wanted: dict[Endpoint | None, int] = {}
        for (lane, queue), count in places.items():
            target = self._targets[lane]
            wanted[target] = wanted.get(target, 0) + min(count, self._room(lane, queue))
        others = 0
        for target, count in wanted.items():
            taken = room if target == self._targets[DEFAULT_LANE] else 0
            others += min(count, max(0, self._room_of(target) - taken))
        return room + others

    def _has_other_places(self) -> bool:
        served = self._clusters[self._targets[DEFAULT_LANE]].capacity.queues if self._knows_default() else {}
        return len(set(self._targets.values())) > 1 or bool(set(served) - {self._default_queue})

    def _knows_default(self) -> bool:
        return DEFAULT_LANE in self._targets and self._targets[DEFAULT_LANE] in self._clusters

    def _room(self, lane: str, queue: str) -> int:
        return self._room_of(self._targets[lane], queue) if lane in self._targets else 0

    def _room_of(self, target: Endpoint | None, queue: str | None = None) -> int:
        cluster = self._clusters.get(target)
        # The embedded cluster of a lane that was not used so far starts with the first workload.
        return 1 if cluster is None else cluster.room(queue)

    @property
    def unanswered_adoptions(self) -> int:
        """How many adopted workloads nothing has been heard about."""
        return sum(cluster.unanswered_adoptions for cluster in self._clusters.values())

    def newly_unserved(self) -> list[tuple[K, str, str]]:
        """Take the workloads found to wait for a queue nobody serves: with the queue, and the cluster's name."""
        return [
            (workload, queue, cluster.name)
            for cluster in self._clusters.values()
            for workload, queue in cluster.newly_unserved()
        ]

    def changes(self) -> list[Change]:
        """Take what happened to lanes and clusters since the last call."""
        changes, self._changes = self._changes, []
        return changes + [change for cluster in self._clusters.values() for change in cluster.changes()]

    @property
    def running_embedded(self) -> int:
        """How many workloads the embedded cluster has."""
        return len(self._clusters[None]) if None in self._clusters else 0

    def sync(self) -> list[Report[K] | Release[K]]:
        """Take in what happened on all clusters, and return what Airflow is to be told."""
        told = [message for cluster in self._clusters.values() for message in cluster.sync()]
        current = set(self._targets.values())
        for endpoint in [each for each in self._clusters if each not in current and not len(self._clusters[each])]:
            cluster = self._clusters.pop(endpoint)
            log.info("Nothing runs on %s any more; let go of it", cluster.name)
            self._changes += [*cluster.changes(), Change(CLUSTER_LEFT, {"cluster": cluster.name})]
            cluster.stop(timeout=0)
        return told

    def stop(self) -> None:
        """Let go of all clusters; the embedded one ends."""
        for cluster in self._clusters.values():
            cluster.stop()
        self._clusters.clear()

    def describe(self) -> list[dict[str, Any]]:
        """Return what there is to know about lanes and clusters, for people; a former cluster has no lane."""
        rows = [
            {**cluster.describe(), "lanes": [lane for lane, target in self._targets.items() if target == endpoint]}
            for endpoint, cluster in self._clusters.items()
        ]
        waiting = [
            {
                **describe(None, Capacity(), "it is not known where it is", len(workloads), len(workloads)),
                "lanes": [lane],
            }
            for lane, workloads in self._waiting.items()
            if lane not in self._targets
        ]
        return rows + waiting

    def _cluster(self, endpoint: Endpoint | None) -> Cluster[K]:
        cluster = self._clusters.get(endpoint)
        if cluster is None:
            cluster = self._clusters[endpoint] = self._new_cluster(endpoint)
        return cluster
