"""The dispatcher by property: whatever happens in whatever order, a workload runs once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from airflow_eks_dask.worker.dispatcher import Dispatcher, Drained, Report, Run
from airflow_eks_dask.worker.protocol import Capacity, Outcome, Submission

pytestmark = pytest.mark.any_airflow

QUEUES = st.sampled_from(["default", "other", "nobody"])
OFFERS = {
    "slots": st.integers(0, 3),
    "queues": st.sets(st.sampled_from(["default", "other"]), min_size=1),
    "gpus": st.sampled_from([0, 1, 1.5]),
}


@dataclass
class Offer:
    """What the machine below knows of a worker."""

    slots: int
    queues: set[str]
    gpus: float
    draining: bool = False


class AnyOrder(RuleBasedStateMachine):
    """Whatever comes in whatever order: each key runs at most once, where it fits, and ends at most once."""

    keys = Bundle("keys")
    workers = Bundle("workers")

    def __init__(self) -> None:
        super().__init__()
        self.dispatcher = Dispatcher()
        self.number = 0
        self.submitted: dict[str, Submission] = {}
        self.started: dict[str, str] = {}
        self.ended: dict[str, Outcome] = {}
        self.revoked: set[str] = set()
        self.offers: dict[str, Offer] = {}

    def take(self, instructions: list) -> None:
        for instruction in instructions:
            match instruction:
                case Run(worker, submitted):
                    assert submitted.key not in self.started, "started twice"
                    assert submitted.key not in self.revoked, "started after it was revoked"
                    assert worker in self.offers, "started on a worker that is gone"
                    assert self.room(worker, submitted), "started where there is no room for it"
                    self.started[submitted.key] = worker
                case Report(outcome):
                    assert self.ended.setdefault(outcome.key, outcome) == outcome, "two different ends"
                case Drained(worker):
                    assert self.offers[worker].draining
                    assert not self.running(worker), "drained while it runs something"

    def running(self, worker: str) -> list[Submission]:
        return [self.submitted[key] for key, at in self.started.items() if at == worker and key not in self.ended]

    def room(self, worker: str, wanted: Submission) -> bool:
        offer, running = self.offers[worker], self.running(worker)
        gpus = sum(one.resources.get("GPU", 0) for one in running)
        return (
            not offer.draining
            and wanted.queue in offer.queues
            and len(running) < offer.slots
            # A worker may have come back with less than it has given away: that is no matter to who wants none.
            and (not wanted.resources.get("GPU") or wanted.resources["GPU"] <= offer.gpus - gpus)
        )

    def offer(self, address: str, **offer: Any) -> None:
        draining = self.offers[address].draining if address in self.offers else False
        self.offers[address] = Offer(**offer, draining=draining)
        resources = {"GPU": offer["gpus"]} if offer["gpus"] else {}
        self.take(
            self.dispatcher.worker_ready(address, address, offer["slots"], queues=offer["queues"], resources=resources)
        )

    @rule(target=keys, priority=st.integers(0, 3), queue=QUEUES, gpus=st.sampled_from([0, 0, 0.5, 1]))
    def submit(self, priority, queue, gpus):
        self.number += 1
        key = str(self.number)
        self.submitted[key] = Submission(key, b"payload", priority, queue, {"GPU": gpus})
        self.take(self.dispatcher.submit([self.submitted[key]]))
        return key

    @rule(key=keys)
    def submit_again(self, key):
        self.take(self.dispatcher.submit([self.submitted[key]]))

    @rule(target=workers, **OFFERS)
    def worker_comes(self, **offer):
        self.number += 1
        address = f"worker-{self.number}"
        self.offer(address, **offer)
        return address

    @rule(address=workers, **OFFERS)
    def worker_changes_or_rejoins(self, address, **offer):
        self.offer(address, **offer)

    @rule(address=workers)
    def worker_dies(self, address):
        self.offers.pop(address, None)
        self.take(self.dispatcher.worker_lost(address))
        assert not self.running(address)

    @rule(address=workers, draining=st.booleans())
    def drain_or_cancel(self, address, draining):
        if address in self.offers:
            self.offers[address].draining = draining
        self.take((self.dispatcher.drain if draining else self.dispatcher.cancel_drain)(address))

    @rule(key=keys, success=st.booleans())
    def finish(self, key, success):
        outcome = Outcome(key, success, None, self.started.get(key, "nobody"))
        instructions = self.dispatcher.finished(outcome)
        # The end comes first; what starts in the freed slot comes after it.
        assert not instructions or instructions[0] == Report(outcome)
        self.take(instructions)

    @rule(key=keys)
    def revoke(self, key):
        if key not in self.started:
            self.revoked.add(key)
        self.take(self.dispatcher.revoke([key]))

    @invariant()
    def nothing_is_forgotten(self):
        present, ended = self.dispatcher.known(self.submitted)
        assert set(present) | {outcome.key for outcome in ended} == set(self.submitted)
        assert set(present) == set(self.submitted) - self.revoked - set(self.ended)

    @invariant()
    def nothing_waits_while_a_worker_has_room_for_it(self):
        for key in set(self.submitted) - self.revoked - set(self.started):
            assert not [worker for worker in self.offers if self.room(worker, self.submitted[key])], key

    @invariant()
    def capacity_is_what_one_would_count(self):
        serving = {address: o for address, o in self.offers.items() if o.slots and not o.draining}
        free = {address: max(0, o.slots - len(self.running(address))) for address, o in serving.items()}
        queues = {
            queue: sum(free[address] for address, o in serving.items() if queue in o.queues)
            for queue in set().union(*(o.queues for o in serving.values()))
        }
        waiting = Counter(self.submitted[key].queue for key in set(self.submitted) - self.revoked - set(self.started))
        slots = sum(o.slots for o in serving.values())
        assert self.dispatcher.capacity == Capacity(len(serving), slots, sum(free.values()), queues, dict(waiting))


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
