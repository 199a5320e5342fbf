"""
Which workload runs on which worker: a pure state machine, events in, instructions out.

It lives on the Dask scheduler and is the only place that starts workloads, which is what makes "runs once" true: a
key is sent to one worker, ever, and its outcome is kept for executors that come back asking. Dask's own tasks do
not serve here: Dask reruns a task whose worker died, runs a released key again, and places a task on a worker whose
resources are taken while another has room.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from airflow_eks_dask.worker.protocol import Capacity, Outcome, Submission

if TYPE_CHECKING:
    from collections.abc import Iterable

OUTCOMES_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class Run:
    """Start this workload on this worker."""

    worker: str
    submission: Submission


@dataclass(frozen=True, slots=True)
class End:
    """End this workload's processes on this worker."""

    worker: str
    key: str


@dataclass(frozen=True, slots=True)
class Report:
    """Tell the executors how a workload ended."""

    outcome: Outcome


Instruction = Run | End | Report


@dataclass(slots=True)
class _Worker:
    name: str
    slots: int
    running: set[str] = field(default_factory=set)

    @property
    def free(self) -> int:
        return self.slots - len(self.running)


class Dispatcher:
    """Workers with slots on one side, workloads on the other."""

    def __init__(self) -> None:
        self._workers: dict[str, _Worker] = {}
        self._waiting: dict[str, Submission] = {}
        self._running: dict[str, str] = {}
        self._outcomes: OrderedDict[str, Outcome] = OrderedDict()
        # Heaps hold hints: an entry counts only if it still says what the dictionaries say.
        self._by_priority: list[tuple[int, int, str]] = []
        self._by_free_slots: list[tuple[int, int, str]] = []
        self._sequence = count()
        self._slots = 0

    @property
    def capacity(self) -> Capacity:
        """The cluster's slots as they are now."""
        taken = len(self._running) + len(self._waiting)
        return Capacity(len(self._workers), self._slots, max(0, self._slots - taken))

    @property
    def busy_workers(self) -> set[str]:
        """Addresses of the workers that run something."""
        return {address for address, worker in self._workers.items() if worker.running}

    def submit(self, submissions: Iterable[Submission]) -> list[Instruction]:
        """
        Take workloads to run.

        A key already known is not taken again; if it has ended, its outcome is reported once more.
        """
        instructions: list[Instruction] = []
        for submission in submissions:
            key = submission.key
            if key in self._outcomes:
                instructions.append(Report(self._outcomes[key]))
            elif key not in self._waiting and key not in self._running:
                self._waiting[key] = submission
                heapq.heappush(self._by_priority, (-submission.priority, next(self._sequence), key))
        return instructions + self._dispatch()

    def worker_ready(self, address: str, name: str, slots: int, running: Iterable[str] = ()) -> list[Instruction]:
        """
        Note how many slots a worker offers, and what it already runs (after a restart of the Dask scheduler).

        :param slots: 0 takes the worker out of service; what it runs goes on.
        """
        worker = self._workers.setdefault(address, _Worker(name, 0))
        self._slots += slots - worker.slots
        worker.slots = slots
        for key in running:
            if key not in self._running and key not in self._outcomes:
                self._waiting.pop(key, None)
                self._running[key] = address
                worker.running.add(key)
        self._offer(address)
        return self._dispatch()

    def worker_lost(self, address: str) -> list[Instruction]:
        """Report everything a worker was running as lost: its processes have died with it."""
        worker = self._workers.pop(address, None)
        if worker is None:
            return []
        self._slots -= worker.slots
        reason = f"worker {worker.name} at {address} lost while running it"
        return [self._end(Outcome(key, False, reason, address)) for key in sorted(worker.running)]

    def finished(self, outcome: Outcome) -> list[Instruction]:
        """Note an outcome told by the worker. Only the first for a key counts."""
        if outcome.key in self._outcomes or self._running.get(outcome.key) != outcome.worker:
            return []
        return [self._end(outcome), *self._dispatch()]

    def revoke(self, keys: Iterable[str]) -> list[Instruction]:
        """End workloads. One that has not started never will; nothing is reported for it."""
        instructions: list[Instruction] = []
        for key in keys:
            if key in self._running:
                instructions.append(End(self._running[key], key))
            elif self._waiting.pop(key, None) is not None:
                self._keep(Outcome(key, False, "revoked before it started"))
        return instructions

    def known(self, keys: Iterable[str]) -> tuple[list[str], list[Outcome]]:
        """Tell which of these keys are waiting or running, and how those that ended did."""
        present, ended = [], []
        for key in keys:
            if key in self._outcomes:
                ended.append(self._outcomes[key])
            elif key in self._waiting or key in self._running:
                present.append(key)
        return present, ended

    def _dispatch(self) -> list[Instruction]:
        instructions: list[Instruction] = []
        while (submission := self._next_waiting()) and (address := self._most_free()):
            heapq.heappop(self._by_priority)
            del self._waiting[submission.key]
            self._running[submission.key] = address
            self._workers[address].running.add(submission.key)
            self._offer(address)
            instructions.append(Run(address, submission))
        return instructions

    def _next_waiting(self) -> Submission | None:
        while self._by_priority:
            submission = self._waiting.get(self._by_priority[0][2])
            if submission is not None:
                return submission
            heapq.heappop(self._by_priority)
        return None

    def _most_free(self) -> str | None:
        while self._by_free_slots:
            negative_free, _, address = self._by_free_slots[0]
            worker = self._workers.get(address)
            if worker is not None and worker.free == -negative_free:
                return address
            heapq.heappop(self._by_free_slots)
        return None

    def _offer(self, address: str) -> None:
        free = self._workers[address].free
        if free > 0:
            heapq.heappush(self._by_free_slots, (-free, next(self._sequence), address))

    def _end(self, outcome: Outcome) -> Report:
        address = self._running.pop(outcome.key)
        if address in self._workers:
            self._workers[address].running.discard(outcome.key)
            self._offer(address)
        self._keep(outcome)
        return Report(outcome)

    def _keep(self, outcome: Outcome) -> None:
        self._outcomes[outcome.key] = outcome
        while len(self._outcomes) > OUTCOMES_KEPT:
            self._outcomes.popitem(last=False)
