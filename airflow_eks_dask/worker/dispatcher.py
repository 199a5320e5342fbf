"""
Which workload runs on which worker: a pure state machine, events in, instructions out.

It lives on the Dask scheduler and is the only place that starts workloads, which is what makes "runs once" true: a
key is sent to one worker, ever, and its outcome is kept for executors that come back asking. Dask's own tasks do
not serve here: Dask reruns a task whose worker died, runs a released key again, and places a task on a worker whose
resources are taken while another has room.
"""

from __future__ import annotations

import heapq
import math
import time
from collections import Counter, OrderedDict
from dataclasses import dataclass
from itertools import count, islice
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.worker.placement import Demand, Group, Pool, Worker
from airflow_eks_dask.worker.protocol import SLOTS_RESOURCE, Capacity, Outcome, Submission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

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


@dataclass(frozen=True, slots=True)
class Drained:
    """This draining worker runs nothing any more, and gets nothing: it may leave."""

    worker: str


Instruction = Run | End | Report | Drained


@dataclass(frozen=True, slots=True)
class Log:
    """Where a workload's log is: a worker, and a path below its log folder."""

    worker: str
    path: str


@dataclass(frozen=True, slots=True)
class _Waiting:
    submission: Submission
    group: Group
    since: float


@dataclass(frozen=True, slots=True)
class _Running:
    """All that is kept of a submission once its worker has it: the payload is not."""

    worker: str
    queue: str
    label: str
    log_path: str | None
    since: float


class Dispatcher:
    """
    Workers with slots on one side, workloads on the other.

    :param clock: Gives the time in seconds since 1970, which is only ever shown.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._pool = Pool()
        self._waiting: dict[str, _Waiting] = {}
        self._running: dict[str, _Running] = {}
        self._outcomes: OrderedDict[str, tuple[Outcome, str | None]] = OrderedDict()
        self._sequence = count()
        self._waiting_of_queue: Counter[str] = Counter()

    @property
    def capacity(self) -> Capacity:
        """The cluster's slots as they are now."""
        return self._pool.capacity(self._waiting_of_queue)

    @property
    def busy_workers(self) -> set[str]:
        """Addresses of the workers that run something."""
        return {address for address, worker in self._pool.workers.items() if worker.running}

    def find_worker(self, address_or_name: str) -> str | None:
        """Return the address of a worker."""
        if address_or_name in self._pool.workers:
            return address_or_name
        named = (worker.address for worker in self._pool.workers.values() if worker.name == address_or_name)
        return next(named, None)

    def submit(self, submissions: Iterable[Submission]) -> list[Instruction]:
        """
        Take workloads to run.

        A key already known is not taken again; if it has ended, its outcome is reported once more.
        """
        instructions: list[Instruction] = []
        touched: dict[Demand, Group] = {}
        for submission in submissions:
            key = submission.key
            if key in self._outcomes:
                instructions.append(Report(self._outcomes[key][0]))
            elif key in self._waiting or key in self._running:
                continue
            elif problem := _problem(submission.resources):
                self._keep(Outcome(key, False, problem))
                instructions.append(Report(self._outcomes[key][0]))
            else:
                group = self._pool.group(Demand.of(submission.queue, submission.resources))
                group.add(key, submission.priority, next(self._sequence))
                self._waiting[key] = _Waiting(submission, group, self._clock())
                self._waiting_of_queue[submission.queue] += 1
                touched[group.demand] = group
        return instructions + self._dispatch(touched.values())

    def worker_ready(
        self,
        address: str,
        name: str,
        slots: int,
        *,
        queues: Iterable[str] = ("default",),
        resources: Mapping[str, float] | None = None,
        draining: bool = False,
        running: Iterable[str] = (),
    ) -> list[Instruction]:
        """
        Note what a worker offers, and what it already runs (after a restart of the Dask scheduler).

        :param slots: 0 takes the worker out of service; what it runs goes on.
        :param queues: Those it serves.
        :param resources: All it has, taken or not.
        :param draining: Whether it has been told to leave. Once draining, it stays so.
        """
        worker = self._pool.workers.setdefault(address, Worker(address, name))
        queues_before = worker.queues
        worker.slots, worker.queues, worker.resources = slots, frozenset(queues), dict(resources or {})
        worker.draining |= draining
        for key in running:
            if key not in self._running and key not in self._outcomes:
                self._adopt(key, worker)
        return self._changed(worker, queues_before)

    def worker_lost(self, address: str) -> list[Instruction]:
        """Report everything a worker was running as lost: its processes have died with it."""
        worker = self._pool.remove(address)
        if worker is None:
            return []
        reason = f"worker {worker.name} at {address} lost while running it"
        return [self._end(Outcome(key, False, reason, address)) for key in sorted(worker.running)]

    def drain(self, address: str) -> list[Instruction]:
        """Have a worker take nothing new; :class:`Drained` says when it runs nothing any more."""
        return self._set_draining(address, True)

    def cancel_drain(self, address: str) -> list[Instruction]:
        """Have a worker take workloads again."""
        return self._set_draining(address, False)

    def finished(self, outcome: Outcome) -> list[Instruction]:
        """Note an outcome told by the worker. Only the first for a key counts."""
        running = self._running.get(outcome.key)
        if running is None or running.worker != outcome.worker:
            return []
        worker = self._pool.workers[running.worker]
        worker.give_back(outcome.key)
        return [self._end(outcome), *self._changed(worker)]

    def revoke(self, keys: Iterable[str]) -> list[Instruction]:
        """End workloads. One that has not started never will; nothing is reported for it."""
        instructions: list[Instruction] = []
        for key in keys:
            if key in self._running:
                instructions.append(End(self._running[key].worker, key))
            elif key in self._waiting:
                self._no_longer_waiting(key)
                self._keep(Outcome(key, False, "revoked before it started"))
            elif key not in self._outcomes:
                # Its submission may be on its way yet: messages overtake each other.
                self._keep(Outcome(key, False, "revoked before it arrived"))
        return instructions

    def known(self, keys: Iterable[str], fence: Iterable[str] = ()) -> tuple[list[str], list[Outcome]]:
        """
        Tell which of these keys are waiting or running, and how those that ended did.

        :param fence: Those of them that, if they are not here, are refused should they come later: their executor is
            gone, and what it sent may be under way yet.
        """
        present, ended = [], []
        for key in keys:
            if key in self._outcomes:
                ended.append(self._outcomes[key][0])
            elif key in self._waiting or key in self._running:
                present.append(key)
        for key in fence:
            if key not in self._outcomes and key not in self._waiting and key not in self._running:
                self._keep(Outcome(key, False, "given back to Airflow before it arrived"))
        return present, ended

    def log(self, key: str) -> Log:
        """
        Tell where the log of a workload is.

        :raises LookupError: There is none that could be read, in words for the person who asked.
        """
        if key in self._waiting:
            raise LookupError(f"workload {key} is still waiting for a worker")
        if key in self._running:
            worker, path = self._running[key].worker, self._running[key].log_path
        elif key in self._outcomes:
            outcome, path = self._outcomes[key]
            if outcome.worker is None:
                raise LookupError(f"workload {key} never ran: {outcome.reason}")
            worker = outcome.worker
        else:
            raise LookupError(f"the Dask scheduler knows no workload {key}: it ended long ago, or was never here")
        if path is None:
            raise LookupError(f"workload {key} came without a log path")
        if worker not in self._pool.workers:
            raise LookupError(f"the worker at {worker}, which ran workload {key}, is gone")
        return Log(worker, path)

    def workers(self) -> list[dict[str, Any]]:
        """Describe the workers, in data that JSON can hold."""
        return [
            {
                "address": worker.address,
                "name": worker.name,
                "slots": worker.slots,
                "free": worker.free,
                "queues": sorted(worker.queues),
                "resources": dict(worker.resources),
                "state": "draining" if worker.draining else "running" if worker.slots else "starting",
                "running": [
                    {"key": key, "label": run.label, "queue": run.queue, "since": run.since}
                    for key, run in ((key, self._running[key]) for key in worker.running)
                ],
            }
            for worker in self._pool.workers.values()
        ]

    def waiting(self, limit: int) -> list[dict[str, Any]]:
        """
        Describe what waits, in data that JSON can hold.

        :param limit: How many at most: those that have waited longest.
        """
        return [
            {
                "key": key,
                "label": waiting.submission.label,
                "queue": waiting.submission.queue,
                "priority": waiting.submission.priority,
                "since": waiting.since,
            }
            for key, waiting in islice(self._waiting.items(), limit)
        ]

    @property
    def waiting_total(self) -> int:
        """Number of workloads that wait."""
        return len(self._waiting)

    @property
    def outcomes_kept(self) -> int:
        """Number of ended workloads that are remembered."""
        return len(self._outcomes)

    def _set_draining(self, address: str, draining: bool) -> list[Instruction]:
        worker = self._pool.workers.get(address)
        if worker is None:
            return []
        worker.draining = draining
        return self._changed(worker)

    def _changed(self, worker: Worker, queues_before: Iterable[str] = ()) -> list[Instruction]:
        self._pool.refresh(worker, queues_before)
        if worker.draining:
            return [] if worker.running else [Drained(worker.address)]
        return self._dispatch(self._pool.groups_of(worker.queues))

    def _dispatch(self, groups: Iterable[Group]) -> list[Instruction]:
        """Start what waits in these groups and has room: in no other can anything have changed."""
        instructions: list[Instruction] = []
        # No two ranks are equal, so groups themselves are never compared.
        heads = [(*first, group) for group in groups if (first := group.first())]
        heapq.heapify(heads)
        while heads:
            _, key, group = heapq.heappop(heads)
            address = group.candidates.most_free()
            if address is None:
                continue
            instructions.append(self._start(key, self._pool.workers[address]))
            if first := group.first():
                heapq.heappush(heads, (*first, group))
        return instructions

    def _start(self, key: str, worker: Worker) -> Run:
        waiting = self._no_longer_waiting(key)
        submission = waiting.submission
        self._running[key] = _Running(
            worker.address, submission.queue, submission.label, submission.log_path, self._clock()
        )
        worker.take(key, waiting.group.demand)
        self._pool.refresh(worker)
        return Run(worker.address, submission)

    def _adopt(self, key: str, worker: Worker) -> None:
        demand, queue, label, log_path = Demand(""), "", "", None
        if key in self._waiting:
            waiting = self._no_longer_waiting(key)
            demand, submission = waiting.group.demand, waiting.submission
            queue, label, log_path = submission.queue, submission.label, submission.log_path
        self._running[key] = _Running(worker.address, queue, label, log_path, self._clock())
        worker.take(key, demand)

    def _no_longer_waiting(self, key: str) -> _Waiting:
        waiting = self._waiting.pop(key)
        waiting.group.remove(key)
        queue = waiting.submission.queue
        self._waiting_of_queue[queue] -= 1
        if not self._waiting_of_queue[queue]:
            del self._waiting_of_queue[queue]
        return waiting

    def _end(self, outcome: Outcome) -> Report:
        running = self._running.pop(outcome.key)
        self._keep(outcome, running.log_path)
        return Report(outcome)

    def _keep(self, outcome: Outcome, log_path: str | None = None) -> None:
        self._outcomes[outcome.key] = (outcome, log_path)
        while len(self._outcomes) > OUTCOMES_KEPT:
            self._outcomes.popitem(last=False)


def _problem(resources: Mapping[str, float]) -> str | None:
    for name, amount in resources.items():
        if not isinstance(amount, (int, float)) or not 0 <= amount < math.inf:
            return f"it asks for {amount!r} of the resource {name}: must be a number, 0 or more"
        if name == SLOTS_RESOURCE:
            return (
                f"it asks for the resource {SLOTS_RESOURCE}: that is the workers' number of slots, and each takes one"
            )
    return None
