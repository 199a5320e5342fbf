"""One Dask cluster as the executor uses it: the link to it, what is in flight on it, what it offers."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from airflow_eks_dask.executors import in_flight
from airflow_eks_dask.executors.changes import CLUSTER_CONNECTED, CLUSTER_LOST, CLUSTER_UNREACHED, Change
from airflow_eks_dask.executors.in_flight import InFlight, Release, Report
from airflow_eks_dask.worker.protocol import Capacity, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from airflow_eks_dask.endpoint import Endpoint
    from airflow_eks_dask.executors.cluster_link import ClusterLink, Event
    from airflow_eks_dask.executors.in_flight import Adoption, Instruction
    from airflow_eks_dask.worker.protocol import Submission

log = logging.getLogger(__name__)

K = TypeVar("K")

_NOT_YET = "not yet connected"
_EMBEDDED_NAME = "the embedded cluster"


def cluster_name(endpoint: Endpoint | None) -> str:
    """
    Return what people know a cluster by.

    :param endpoint: None for the embedded one.
    """
    return f"the cluster at {endpoint.address}" if endpoint else _EMBEDDED_NAME


class Cluster(Generic[K]):
    """
    A cluster with its link. All methods belong to one thread, and none waits for the network.

    :param name: What people know it by.
    :param link: Not yet started.
    :param reconnect_timeout: Seconds without a connection after which what is in flight counts as failed.
    :param clock: Seconds that only go forward.
    """

    def __init__(
        self, name: str, link: ClusterLink, reconnect_timeout: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self.capacity = Capacity()
        self.is_connected = False
        self.fault: str | None = _NOT_YET
        self._link = link
        self._in_flight: InFlight[K] = InFlight()
        self._reconnect_timeout = reconnect_timeout
        self._clock = clock
        self._disconnected_at = clock()
        self._unserved: dict[str, int] = {}
        self._found_unserved: list[tuple[K, str]] = []
        self._changes: list[Change] = []
        link.start()

    def __len__(self) -> int:
        return len(self._in_flight)

    @property
    def unanswered_adoptions(self) -> int:
        """How many adopted workloads nothing has been heard about."""
        return self._in_flight.unanswered_adoptions

    def newly_unserved(self) -> list[tuple[K, str]]:
        """Take the workloads, with their queues, found since the last call to wait for a queue nobody serves."""
        found, self._found_unserved = self._found_unserved, []
        return found

    def changes(self) -> list[Change]:
        """Take what happened to the connection since the last call."""
        changes, self._changes = self._changes, []
        return changes

    def room(self, queue: str | None = None) -> int:
        """
        Return how many more workloads the cluster can start now.

        :param queue: With this queue; None for any.
        """
        free = self.capacity.free if queue is None else min(self.capacity.free, self.capacity.queues.get(queue, 0))
        return max(0, free - self._in_flight.unconfirmed)

    def submit(self, submissions: Mapping[K, Submission]) -> None:
        """Have workloads run."""
        self._carry_out(self._in_flight.submit(submissions))

    def adopt(self, workloads: Mapping[K, Adoption]) -> None:
        """Take over workloads of another executor."""
        self._carry_out(self._in_flight.adopt(workloads))

    def revoke(self, workload: K) -> None:
        """Have a workload ended; nothing is reported for it."""
        self._carry_out(self._in_flight.revoke(workload))

    def withdraw(self) -> dict[K, Submission]:
        """Take back what the cluster has not been sent."""
        return self._in_flight.withdraw()

    def sync(self) -> list[Report[K] | Release[K]]:
        """Take in what happened since the last call and return what Airflow is to be told."""
        told: list[Report[K] | Release[K]] = []
        for event in self._link.events():
            told += self._carry_out(self._handle(event))
        away = self._clock() - self._disconnected_at
        if not self.is_connected and away > self._reconnect_timeout:
            reason = f"the Dask scheduler of {self.name} has been unreachable for {away:.0f} s: {self.fault}"
            told += self._carry_out(self._in_flight.give_up(reason))
        return told

    def stop(self, timeout: float = 30) -> None:
        """
        Let go of the cluster; an embedded one ends.

        :param timeout: Seconds to wait for that.
        """
        self._link.stop(timeout)

    def _handle(self, event: Event) -> list[Instruction[K]]:
        from airflow_eks_dask.executors import cluster_link

        match event:
            case Outcome():
                return self._in_flight.ended(event)
            case Capacity():
                self._take_capacity(event)
            case cluster_link.Confirmed(keys):
                self._in_flight.confirmed(keys)
            case cluster_link.Revoked(keys):
                self._in_flight.revoked(keys)
            case cluster_link.Answered(asked, present, ended):
                return self._in_flight.answered(asked, present, ended)
            case cluster_link.Connected():
                self.is_connected, self.fault = True, None
                self._changes.append(Change(CLUSTER_CONNECTED, {"cluster": self.name}))
                return self._in_flight.connected()
            case cluster_link.Disconnected(reason):
                self._disconnect(reason)
        return []

    def _disconnect(self, reason: str) -> None:
        if self.is_connected:
            self._disconnected_at = self._clock()
        # Of those that follow, each is one more attempt to connect.
        if self.is_connected or self.fault == _NOT_YET:
            event = CLUSTER_LOST if self.is_connected else CLUSTER_UNREACHED
            self._changes.append(Change(event, {"cluster": self.name, "reason": reason}))
        self.is_connected, self.fault = False, reason
        self.capacity = Capacity()
        self._in_flight.disconnected()

    def _take_capacity(self, capacity: Capacity) -> None:
        # One that was under way when the connection broke says nothing about what can be reached.
        if not self.is_connected:
            return
        self.capacity = capacity
        unserved = {queue: count for queue, count in capacity.waiting.items() if queue not in capacity.queues}
        for queue in sorted(unserved.keys() - self._unserved.keys()):
            log.warning(
                "Workloads wait for queue %r, which no worker of %s serves. Start one with AIRFLOW__DASK__QUEUES=%s.",
                queue,
                self.name,
                queue,
            )
        if unserved and unserved != self._unserved:
            self._found_unserved += self._in_flight.first_waits(unserved)
        self._unserved = unserved

    def _carry_out(self, instructions: Iterable[Instruction[K]]) -> list[Report[K] | Release[K]]:
        told: list[Report[K] | Release[K]] = []
        for instruction in instructions:
            match instruction:
                case Report():
                    told.append(instruction)
                    if instruction.has_log:
                        self._link.bring_log_home(instruction.key)
                case Release():
                    told.append(instruction)
                case in_flight.Send(submissions):
                    self._link.submit(submissions)
                case in_flight.Ask():
                    self._link.ask(instruction)
                case in_flight.Revoke(keys):
                    self._link.revoke(keys)
        return told

    def describe(self) -> dict[str, Any]:
        """Return what there is to know about it, for people."""
        in_flight, unconfirmed = len(self._in_flight), self._in_flight.unconfirmed
        return describe(self.name, self.capacity, self.fault, in_flight, unconfirmed)


def describe(
    name: str | None, capacity: Capacity, fault: str | None, in_flight: int, unconfirmed: int
) -> dict[str, Any]:
    """
    Return what there is to know about a cluster, for people.

    :param name: None if it is not known which cluster it is.
    :param fault: Why there is no connection; None if there is one.
    :param in_flight: How many workloads are meant for it.
    :param unconfirmed: How many of them it is not known to have.
    """
    return {
        "cluster": name,
        "connected": fault is None,
        "fault": fault,
        "in_flight": in_flight,
        "unconfirmed": unconfirmed,
        "workers": capacity.workers,
        "slots": capacity.slots,
        "free": capacity.free,
        "waiting": dict(capacity.waiting),
    }
