"""
Which worker has room for which workload: slots, queues and resources, without the workloads' own histories.

Workloads with the same demand, a queue and amounts of resources, form a group. Each group knows the workers that have
room for it right now, so that finding one does not depend on how many workers there are or how much waits.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from airflow_eks_dask.worker.protocol import Capacity

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

GROUPS_KEPT = 256
"""Groups that are remembered while nothing waits in them, to spare the search through all workers."""

_FREE_LIMIT = 1_024
"""Workers with more free slots than this are not told apart."""

_DIGITS = 9
"""Decimal places of resource amounts that count: sums of floats are inexact beyond."""

_SLACK = 64


class Demand(NamedTuple):
    """What a workload needs of a worker besides a slot."""

    queue: str
    resources: tuple[tuple[str, float], ...] = ()

    @classmethod
    def of(cls, queue: str, resources: Mapping[str, float]) -> Demand:
        """Make equal demands equal: amounts of nothing don't count, nor does the order."""
        amounts = sorted((name, round(amount, _DIGITS)) for name, amount in resources.items())
        return cls(queue, tuple((name, amount) for name, amount in amounts if amount))


@dataclass(slots=True)
class Worker:
    """A worker, as far as placing workloads on it goes."""

    address: str
    name: str
    slots: int = 0
    queues: frozenset[str] = frozenset()
    resources: dict[str, float] = field(default_factory=dict)
    draining: bool = False
    running: dict[str, Demand] = field(default_factory=dict)
    _held: dict[str, float] = field(default_factory=dict)

    @property
    def serves(self) -> bool:
        """Whether it takes workloads at all."""
        return self.slots > 0 and not self.draining

    @property
    def free(self) -> int:
        """Slots that a workload could get now."""
        return max(0, self.slots - len(self.running)) if self.serves else 0

    def room_for(self, demand: Demand) -> int:
        """Return the number of free slots if the worker serves the queue and has the resources free, else 0."""
        if demand.queue not in self.queues:
            return 0
        held = self._held
        fits = all(
            round(self.resources.get(name, 0) - held.get(name, 0) - amount, _DIGITS) >= 0
            for name, amount in demand.resources
        )
        return self.free if fits else 0

    def take(self, key: str, demand: Demand) -> None:
        """Give a slot and resources to a workload."""
        self.running[key] = demand
        for name, amount in demand.resources:
            self._held[name] = round(self._held.get(name, 0) + amount, _DIGITS)

    def give_back(self, key: str) -> None:
        """Take them back."""
        for name, amount in self.running.pop(key).resources:
            self._held[name] = round(self._held[name] - amount, _DIGITS)


class _Candidates:
    """The workers with room for one group, by free slots."""

    def __init__(self) -> None:
        self._by_free: defaultdict[int, dict[str, None]] = defaultdict(dict)
        self._free: dict[str, int] = {}
        self._top = 0

    def note(self, address: str, free: int) -> None:
        free = min(free, _FREE_LIMIT)
        before = self._free.get(address, 0)
        if before == free:
            return
        if before:
            del self._by_free[before][address]
            del self._free[address]
        if free:
            self._by_free[free][address] = None
            self._free[address] = free
            self._top = max(self._top, free)

    def most_free(self) -> str | None:
        while self._top and not self._by_free[self._top]:
            self._top -= 1
        return next(iter(self._by_free[self._top])) if self._top else None


class Group:
    """Workloads that wait for the same, highest priority first, and the workers with room for them."""

    def __init__(self, demand: Demand) -> None:
        self.demand = demand
        self.candidates = _Candidates()
        self.waiting: dict[str, tuple[int, int]] = {}
        # Hints: an entry counts only if ``waiting`` says the same.
        self._heap: list[tuple[tuple[int, int], str]] = []

    def add(self, key: str, priority: int, sequence: int) -> None:
        """Have a workload wait; a lower sequence goes first among equals."""
        self.waiting[key] = rank = (-priority, sequence)
        heapq.heappush(self._heap, (rank, key))

    def remove(self, key: str) -> None:
        """Have it wait no longer."""
        del self.waiting[key]
        if len(self._heap) > 2 * len(self.waiting) + _SLACK:
            self._heap = [(rank, key) for key, rank in self.waiting.items()]
            heapq.heapify(self._heap)

    def first(self) -> tuple[tuple[int, int], str] | None:
        """Return rank and key of what goes next."""
        while self._heap:
            rank, key = self._heap[0]
            if self.waiting.get(key) == rank:
                return rank, key
            heapq.heappop(self._heap)
        return None


class _Share(NamedTuple):
    """What one worker adds to the totals."""

    slots: int
    free: int
    queues: frozenset[str]


_NOTHING = _Share(0, 0, frozenset())


class Pool:
    """All workers and groups, and their totals; after a change to a worker, :meth:`refresh` brings them up to date."""

    def __init__(self) -> None:
        self.workers: dict[str, Worker] = {}
        self._groups: dict[Demand, Group] = {}
        self._groups_of_queue: defaultdict[str, dict[Demand, Group]] = defaultdict(dict)
        self._shares: dict[str, _Share] = {}
        self._slots = 0
        self._free = 0
        self._serving: Counter[str] = Counter()
        self._free_of_queue: Counter[str] = Counter()

    def capacity(self, waiting: Mapping[str, int]) -> Capacity:
        """
        Return the totals.

        :param waiting: Workloads that wait, by queue. They take nothing off: a slot that one could use is not free.
        """
        queues = {queue: self._free_of_queue[queue] for queue in self._serving}
        return Capacity(len(self._shares), self._slots, self._free, queues, dict(waiting))

    def group(self, demand: Demand) -> Group:
        """Return the group of a demand."""
        group = self._groups.get(demand)
        if group is None:
            if len(self._groups) >= GROUPS_KEPT:
                self._forget_empty_groups()
            group = self._groups[demand] = self._groups_of_queue[demand.queue][demand] = Group(demand)
            for worker in self.workers.values():
                group.candidates.note(worker.address, worker.room_for(demand))
        return group

    def groups_of(self, queues: Iterable[str]) -> list[Group]:
        """Return the groups in which something waits for one of these queues."""
        return [
            group
            for queue in queues
            if queue in self._groups_of_queue
            for group in self._groups_of_queue[queue].values()
            if group.waiting
        ]

    def refresh(self, worker: Worker, queues_before: Iterable[str] = ()) -> None:
        """
        Take in that a worker has changed.

        :param queues_before: Those it served until now, if they have changed too.
        """
        self._count(worker.address, _Share(worker.slots, worker.free, worker.queues) if worker.serves else _NOTHING)
        for queue in worker.queues.union(queues_before):
            for demand, group in self._groups_of_queue.get(queue, {}).items():
                group.candidates.note(worker.address, worker.room_for(demand))

    def remove(self, address: str) -> Worker | None:
        """Forget a worker, and return it."""
        worker = self.workers.pop(address, None)
        if worker is not None:
            worker.slots = 0
            self.refresh(worker)
        return worker

    def _count(self, address: str, share: _Share) -> None:
        before = self._shares.pop(address, _NOTHING)
        if share is not _NOTHING:
            self._shares[address] = share
        self._slots += share.slots - before.slots
        self._free += share.free - before.free
        for queue in before.queues:
            self._free_of_queue[queue] -= before.free
            self._serving[queue] -= 1
        for queue in share.queues:
            self._free_of_queue[queue] += share.free
            self._serving[queue] += 1
        for queue in before.queues - share.queues:
            if not self._serving[queue]:
                del self._serving[queue], self._free_of_queue[queue]

    def _forget_empty_groups(self) -> None:
        for demand in [demand for demand, group in self._groups.items() if not group.waiting]:
            del self._groups[demand]
            del self._groups_of_queue[demand.queue][demand]
            if not self._groups_of_queue[demand.queue]:
                del self._groups_of_queue[demand.queue]
