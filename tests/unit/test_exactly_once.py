"""
Executor and dispatcher, with everything between them that may be late, out of order or lost.

What stands on both ends is the real thing: :class:`.Cluster` with its :class:`.InFlight`, and :class:`.Dispatcher`.
The network between them is this file's. A connection keeps what it carries until it is cut; calls overtake each other,
as each has a stream of its own in Dask, and what was under way at a cut may arrive after the next connection is made.
"""

from __future__ import annotations

import logging
import sys
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from airflow_eks_dask.executors.cluster import Cluster
from airflow_eks_dask.executors.cluster_link import Answered, Confirmed, Connected, Disconnected, Revoked
from airflow_eks_dask.executors.in_flight import Adoption, Ask, Release
from airflow_eks_dask.worker import dispatcher as dispatching
from airflow_eks_dask.worker.dispatcher import Dispatcher
from airflow_eks_dask.worker.protocol import Outcome, Submission

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

pytestmark = pytest.mark.any_airflow


@pytest.fixture(autouse=True)
def quiet():
    """Spare a failure's report the warnings of thousands of outages."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


RECONNECT_TIMEOUT = 100.0
INDEX = st.integers(0, 7)
# How many messages arrive, and a seed for their order.
ORDER = st.tuples(st.integers(0, 40), st.integers(0, 255))


@dataclass(eq=False)
class Worker:
    """A Dask worker: what is on its way to it and from it, and the processes it runs."""

    address: str
    slots: int
    has_launcher: bool = True
    inbox: deque[Any] = field(default_factory=deque)
    outbox: deque[Callable[[Dispatcher], list[Any]]] = field(default_factory=deque)
    # True once asked to end.
    processes: dict[str, bool] = field(default_factory=dict)


class DaskScheduler:
    """One life of a Dask scheduler."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.dispatcher = Dispatcher()
        self.workers: dict[str, Worker] = {}
        self.connections: list[Connection] = []
        # Calls whose connection was cut after they had left.
        self.stragglers: list[Call] = []
        self.revoked: set[str] = set()

    def carry_out(self, instructions: Iterable[Any]) -> None:
        published: list[Any] = []
        drained: list[Worker] = []
        for instruction in instructions:
            match instruction:
                case dispatching.Run(address, submission):
                    assert submission.key not in self.revoked, "sent to a worker after it was revoked"
                    self.workers[address].inbox.append(("run", submission.key))
                case dispatching.End(address, key):
                    self.workers[address].inbox.append(("end", key))
                case dispatching.Report(outcome):
                    published.append(outcome)
                case dispatching.Drained(address):
                    drained.append(self.workers[address])
        for connection in self.connections:
            connection.publications.extend([*published, self.dispatcher.capacity])
        for worker in drained:
            self.retire(worker)

    def retire(self, worker: Worker) -> None:
        assert not worker.processes, "sent away while it runs something"
        assert not [key for what, key in worker.inbox if what == "run"], "sent away with something on its way to it"
        self.lose(worker)

    def lose(self, worker: Worker) -> None:
        del self.workers[worker.address]
        self.carry_out(self.dispatcher.worker_lost(worker.address))

    def handle(self, call: Call) -> Any:
        what, argument = call
        if what == "submit":
            self.carry_out(self.dispatcher.submit(argument))
            return Confirmed(tuple(submission.key for submission in argument))
        if what == "revoke":
            self.revoked.update(argument)
            self.carry_out(self.dispatcher.revoke(argument))
            return Revoked(tuple(argument))
        present, ended = self.dispatcher.known(argument.keys, argument.fence)
        return Answered(argument, tuple(present), tuple(ended))


Call = tuple[str, Any]


class Connection:
    """What is under way between an executor and a Dask scheduler: calls in any order, publications in theirs."""

    def __init__(self, scheduler: DaskScheduler) -> None:
        self.scheduler = scheduler
        self.calls: list[Call] = []
        self.answers: list[Any] = []
        self.publications: deque[Any] = deque()
        scheduler.connections.append(self)

    def cut(self, *, arrives: Callable[[Call], bool]) -> None:
        if self in self.scheduler.connections:
            self.scheduler.connections.remove(self)
            self.scheduler.stragglers += filter(arrives, self.calls)
        self.calls, self.answers = [], []
        self.publications.clear()

    @property
    def is_cut(self) -> bool:
        return self not in self.scheduler.connections


class Link:
    """What :class:`.ClusterLink` is to the executor, with this file's network."""

    def __init__(self) -> None:
        # Left by the executor's thread and not yet taken by the link's.
        self.left: deque[Call] = deque()
        self.happened: deque[Any] = deque()
        self.connection: Connection | None = None

    def start(self) -> None: ...

    def stop(self, timeout: float = 30) -> None: ...

    def bring_log_home(self, key: str) -> None: ...

    def events(self) -> list[Any]:
        taken = list(self.happened)
        self.happened.clear()
        return taken

    def submit(self, submissions: Iterable[Submission]) -> None:
        self.left.append(("submit", tuple(submissions)))

    def revoke(self, keys: Iterable[str]) -> None:
        self.left.append(("revoke", tuple(keys)))

    def ask(self, question: Ask) -> None:
        self.left.append(("ask", question))

    def take_one(self) -> None:
        call = self.left.popleft()
        if self.connection is not None and not self.connection.is_cut:
            self.connection.calls.append(call)

    def connect(self, scheduler: DaskScheduler) -> None:
        self.connection = Connection(scheduler)
        self.happened += [Connected("tcp://test"), scheduler.dispatcher.capacity]

    def notice(self) -> None:
        self.connection = None
        self.happened.append(Disconnected("cut"))


class World(RuleBasedStateMachine):
    """Airflow, the network and a Dask cluster, with faults at any moment; in the end all is well again."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.number = 0
        self.deaths = 0
        self.scheduler = DaskScheduler(self)
        # Those that have lost their Dask scheduler, or that it has given up, and have not ended yet.
        self.stray: list[Worker] = []
        # Airflow's database: which key each workload has now, and which of them have no end yet.
        self.key_of: dict[int, str] = {}
        self.open: set[int] = set()
        self.unwanted: set[str] = set()
        self.abandoned: set[str] = set()
        # What really happened.
        self.starts: dict[str, int] = {}
        self.ends: dict[str, bool] = {}
        # Something of theirs broke: they may have failed through no fault of their own, or been started anew.
        self.hit: set[str] = set()
        # Their Dask scheduler is gone, with what it knew.
        self.forgotten: set[str] = set()
        self.new_executor()

    # What Airflow does.

    def new_executor(self) -> None:
        self.link = Link()
        self.cluster: Cluster[int] = Cluster("test", self.link, RECONNECT_TIMEOUT, clock=lambda: self.now)

    @initialize(slots=st.integers(1, 2), connected=st.booleans())
    def begin(self, slots, connected):
        self.worker_comes(slots)
        self.a_message_of_a_worker_arrives(self.scheduler.workers["a"])
        if connected:
            self.connect()
            self.sync()

    def submission(self, workload: int) -> Submission:
        self.number += 1
        self.key_of[workload] = f"{workload}-{self.number}"
        return Submission(self.key_of[workload], b"")

    @rule(count=st.integers(1, 3), order=ORDER)
    def submit(self, count, order):
        self.submit_some(count)
        self.go_on(order)

    def submit_some(self, count: int) -> None:
        workloads = range(len(self.key_of), len(self.key_of) + count)
        self.open.update(workloads)
        if workloads:
            self.cluster.submit({workload: self.submission(workload) for workload in workloads})

    @precondition(lambda self: self.open)
    @rule(index=INDEX, order=ORDER)
    def revoke(self, index, order):
        self.revoke_one(pick(sorted(self.open), index))
        self.go_on(order)

    def revoke_one(self, workload: int) -> None:
        self.open.discard(workload)
        self.unwanted.add(self.key_of[workload])
        self.cluster.revoke(workload)

    def sync(self) -> None:
        disconnected_for_long = not self.cluster.is_connected
        told = self.cluster.sync()
        disconnected_for_long |= not self.cluster.is_connected
        for message in told:
            workload = message.workload
            assert workload in self.open, "told of something that Airflow does not wait for"
            key = self.key_of[workload]
            if isinstance(message, Release):
                assert key not in self.starts or key in self.forgotten, "given back although it was started"
                self.unwanted.add(key)
                self.cluster.submit({workload: self.submission(workload)})
                continue
            assert message.key == key, "told of a former run"
            if "unreachable" in (message.reason or ""):
                assert disconnected_for_long
                self.unwanted.add(key)
            elif message.success:
                assert self.ends[key], "reported a success that there was none of"
            else:
                assert key in self.hit or self.ends.get(key) is False, f"failed for no reason: {message.reason}"
            self.open.discard(workload)

    @precondition(lambda self: not self.cluster.is_connected)
    @rule()
    def the_reconnect_timeout_passes(self):
        self.now += RECONNECT_TIMEOUT + 1
        self.sync()

    @precondition(lambda self: self.cluster.is_connected)
    @rule(order=ORDER)
    def submit_and_revoke_at_once(self, order):
        self.submit_some(1)
        self.revoke_one(max(self.open))
        self.go_on(order)

    @rule(count=st.integers(0, 2), arrives=st.booleans(), order=ORDER)
    def the_airflow_scheduler_dies_and_another_adopts(self, count, arrives, order):
        """It dies with calls under way."""
        self.submit_some(count)
        while self.link.left:
            self.link.take_one()
        if self.link.connection is not None:
            self.link.connection.cut(arrives=lambda _: arrives)
        # It may not have got to telling the cluster.
        self.abandoned |= self.unwanted
        self.new_executor()
        adoptions = {w: Adoption(self.key_of[w], started=self.key_of[w] in self.starts) for w in sorted(self.open)}
        self.cluster.adopt(adoptions)
        self.go_on(order)

    # What the network does.

    @property
    def up(self) -> Connection | None:
        connection = self.link.connection
        return None if connection is None or connection.is_cut else connection

    @rule(order=ORDER)
    def things_go_on(self, order):
        self.go_on(order)

    @rule(order=ORDER)
    def things_go_on_too(self, order):
        """The same: much is to happen between two faults."""
        self.go_on(order)

    def go_on(self, order: tuple[int, int]) -> None:
        """Messages that may overtake others do."""
        count, seed = order
        random = Random(seed)
        for _ in range(count):
            if steps := self.possible_steps():
                random.choice(steps)(random.randrange(8))

    def possible_steps(self) -> list[Callable[[int], None]]:
        steps: list[Callable[[int], None]] = []
        if self.link.connection is None:
            steps.append(lambda _: self.connect())
        elif self.link.connection.is_cut:
            steps.append(lambda _: self.link.notice())
        if self.link.happened:
            steps.append(lambda _: self.sync())
        if self.link.left:
            steps.append(lambda _: self.link.take_one())
        if self.scheduler.stragglers:
            steps.append(self.a_straggler_arrives)
        if self.up and self.up.calls:
            steps.append(self.a_call_arrives)
        if self.up and self.up.answers:
            steps.append(self.an_answer_arrives)
        if self.up and self.up.publications:
            steps.append(self.a_publication_arrives)
        steps += [partial(self.a_message_of_a_worker_arrives, w) for w in self.scheduler.workers.values() if w.outbox]
        steps += [partial(self.a_message_reaches_a_worker, w) for w in self.all_workers if w.inbox]
        return steps

    def a_call_arrives(self, index: int) -> None:
        connection = self.up
        call = connection.calls.pop(index % len(connection.calls))
        connection.answers.append(connection.scheduler.handle(call))

    def an_answer_arrives(self, index: int) -> None:
        self.link.happened.append(self.up.answers.pop(index % len(self.up.answers)))

    def a_publication_arrives(self, index: int = 0) -> None:
        self.link.happened.append(self.up.publications.popleft())

    def a_straggler_arrives(self, index: int) -> None:
        stragglers = self.scheduler.stragglers
        self.scheduler.handle(stragglers.pop(index % len(stragglers)))

    def a_message_of_a_worker_arrives(self, worker: Worker, index: int = 0) -> None:
        self.scheduler.carry_out(worker.outbox.popleft()(self.scheduler.dispatcher))

    @precondition(lambda self: self.up)
    @rule(arrives=st.booleans(), count=st.integers(1, 2), order=ORDER)
    def the_link_reconnects_before_the_executor_notices(self, arrives, count, order):
        self.up.cut(arrives=lambda _: arrives)
        self.link.notice()
        self.connect()
        self.submit_some(count)
        self.go_on(order)

    @precondition(lambda self: self.up)
    @rule(arrives=st.booleans())
    def the_connection_is_cut(self, arrives):
        self.up.cut(arrives=lambda _: arrives)

    def connect(self) -> None:
        self.link.connect(self.scheduler)

    # What the Dask cluster does.

    @precondition(lambda self: len(self.scheduler.workers) < 3)
    @rule(slots=st.integers(1, 2))
    def worker_comes(self, slots):
        # A new worker may have the address of one that has just gone.
        address = next(a for a in ("a", "b", "c") if a not in self.scheduler.workers)
        worker = self.scheduler.workers[address] = Worker(address, slots)
        self.offer(worker)

    def offer(self, worker: Worker) -> None:
        slots, running = worker.slots if worker.has_launcher else 0, list(worker.processes)
        worker.outbox.append(
            lambda dispatcher: dispatcher.worker_ready(worker.address, worker.address, slots, running=running)
        )

    def a_message_reaches_a_worker(self, worker: Worker, index: int = 0) -> None:
        what, key = worker.inbox.popleft()
        if what == "run":
            self.start(worker, key)
        elif key in worker.processes:
            worker.processes[key] = True

    def start(self, worker: Worker, key: str) -> None:
        if not worker.has_launcher:
            self.hit.add(key)
            worker.outbox.append(finished(key, False, worker))
            return
        self.starts[key] = self.starts.get(key, 0) + 1
        assert self.starts[key] == 1 or key in self.forgotten, "started twice"
        # Airflow's API server refuses the second of two starts: of a key that was forgotten, that is its part.
        released = key in self.unwanted and key not in self.key_of.values()
        assert not released or key in self.forgotten, "started although it was given back"
        worker.processes[key] = False
        assert len(worker.processes) <= worker.slots, "more processes than slots"

    @property
    def all_workers(self) -> list[Worker]:
        return [*self.scheduler.workers.values(), *self.stray]

    @rule(index=INDEX, success=st.booleans())
    def a_process_ends(self, index, success):
        running = [(worker, key) for worker in self.all_workers for key in worker.processes]
        if running:
            self.end(*pick(running, index), success)

    def end(self, worker: Worker, key: str, success: bool) -> None:
        success &= not worker.processes.pop(key)
        self.ends[key] = success
        worker.outbox.append(finished(key, success, worker))

    @rule(index=INDEX)
    def a_launcher_dies(self, index):
        workers = [worker for worker in self.all_workers if worker.has_launcher]
        if workers:
            worker = pick(workers, index)
            worker.has_launcher = False
            for key in list(worker.processes):
                self.end(worker, key, False)
            self.offer(worker)

    @rule(index=INDEX)
    def a_launcher_comes_back(self, index):
        workers = [worker for worker in self.all_workers if not worker.has_launcher]
        if workers:
            worker = pick(workers, index)
            worker.has_launcher = True
            self.offer(worker)

    @precondition(lambda self: self.scheduler.workers)
    @rule(index=INDEX, at_once=st.booleans())
    def a_worker_is_lost(self, index, at_once):
        """It dies; or the Dask scheduler gives it up, and it learns that later."""
        worker = pick(list(self.scheduler.workers.values()), index)
        self.hit.update(worker.processes, (key for _, key in worker.inbox), self.running_according_to(worker))
        self.stray.append(worker)
        if at_once:
            self.a_stray_worker_ends(len(self.stray) - 1)
        self.scheduler.lose(worker)

    def running_according_to(self, worker: Worker) -> list[str]:
        described = self.scheduler.dispatcher.workers()
        return [run["key"] for each in described if each["address"] == worker.address for run in each["running"]]

    @precondition(lambda self: self.stray)
    @rule(index=INDEX)
    def a_stray_worker_ends(self, index):
        worker = self.stray.pop(index % len(self.stray))
        for key in list(worker.processes):
            self.end(worker, key, False)

    @precondition(lambda self: self.scheduler.workers)
    @rule(index=INDEX, back=st.booleans())
    def a_worker_drains_or_no_longer(self, index, back):
        address = pick(list(self.scheduler.workers), index)
        dispatcher = self.scheduler.dispatcher
        self.scheduler.carry_out(dispatcher.cancel_drain(address) if back else dispatcher.drain(address))

    # Rarely: what it knew is excused below.
    @precondition(lambda self: self.deaths < 1 and self.number > 5)
    @rule()
    def the_dask_scheduler_dies_and_another_starts(self):
        self.deaths += 1
        gone = self.scheduler
        self.forgotten.update(self.key_of.values(), self.starts)
        self.hit |= self.forgotten
        self.stray += gone.workers.values()
        self.scheduler = DaskScheduler(self)
        for connection in list(gone.connections):
            connection.cut(arrives=lambda _: False)

    # What must be true.

    @invariant()
    def what_airflow_waits_for_is_in_flight(self):
        assert len(self.cluster) == len(self.open)

    def teardown(self) -> None:
        """Mend everything, let everything happen, and look what is left."""
        if sys.exc_info()[0] is not None:
            return  # it has failed already
        for _ in range(5):
            self.settle(end=False)
        processes = [each for worker in self.scheduler.workers.values() for each in worker.processes.items()]
        spared = {key for key, told_to_end in processes if not told_to_end}
        assert not spared & self.unwanted - self.abandoned, "still runs although nobody wants it"
        for _ in range(50 + len(self.key_of)):
            self.settle(end=True)
            if not self.open and not self.busy():
                break
        assert not self.open, f"lost: {self.open}"
        assert len(self.cluster) == 0
        assert not self.busy(), "something is left over"
        capacity = self.scheduler.dispatcher.capacity
        draining = {each["address"] for each in self.scheduler.dispatcher.workers() if each["state"] == "draining"}
        slots = sum(worker.slots for address, worker in self.scheduler.workers.items() if address not in draining)
        assert (capacity.slots, capacity.free, capacity.waiting) == (slots, slots, {}), "a slot has leaked"

    def busy(self) -> bool:
        connection = self.link.connection
        under_way = connection is None or connection.calls or connection.answers or self.link.left
        at_workers = any(worker.processes or worker.inbox for worker in self.all_workers)
        at_workers |= any(worker.outbox for worker in self.scheduler.workers.values())
        return bool(under_way or at_workers or self.scheduler.stragglers or self.link.happened)

    def settle(self, *, end: bool) -> None:
        while self.stray:
            self.a_stray_worker_ends(0)
        if not any(worker.slots for worker in self.scheduler.workers.values()) or self.all_draining():
            address = f"new-{len(self.starts)}"
            self.scheduler.workers[address] = Worker(address, 2)
            self.offer(self.scheduler.workers[address])
        while not all(worker.has_launcher for worker in self.all_workers):
            self.a_launcher_comes_back(0)
        if self.link.connection is not None and self.link.connection.is_cut:
            self.link.notice()
        if self.link.connection is None:
            self.connect()
        self.sync()
        while self.link.left:
            self.link.take_one()
        while self.scheduler.stragglers:
            self.a_straggler_arrives(0)
        while self.up.calls:
            self.a_call_arrives(0)
        for worker in self.all_workers:
            while worker.inbox:
                self.a_message_reaches_a_worker(worker)
            for key in list(worker.processes) if end else ():
                self.end(worker, key, True)
            while worker.outbox and worker in self.scheduler.workers.values():
                self.a_message_of_a_worker_arrives(worker)
        while self.up.answers:
            self.an_answer_arrives(0)
        while self.up.publications:
            self.a_publication_arrives()
        self.sync()

    def all_draining(self) -> bool:
        return all(each["state"] == "draining" for each in self.scheduler.dispatcher.workers())


def pick(choices: list[Any], index: int) -> Any:
    return choices[index % len(choices)]


def finished(key: str, success: bool, worker: Worker) -> Callable[[Dispatcher], list[Any]]:
    outcome = Outcome(key, success, None if success else "it failed", worker.address)
    return lambda dispatcher: dispatcher.finished(outcome)


TestExactlyOnce = World.TestCase
TestExactlyOnce.settings = settings(
    max_examples=500, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
