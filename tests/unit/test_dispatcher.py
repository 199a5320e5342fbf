"""The dispatcher, by example and by property: whatever happens in whatever order, a workload runs once."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from airflow_eks_dask.worker import dispatcher as dispatcher_module
from airflow_eks_dask.worker.dispatcher import Dispatcher, End, Report, Run
from airflow_eks_dask.worker.protocol import Capacity, Outcome, Submission


def submission(key: str, priority: int = 0) -> Submission:
    return Submission(key, b"payload", priority)


def started(instructions: list) -> dict[str, str]:
    return {i.submission.key: i.worker for i in instructions if isinstance(i, Run)}


def reported(instructions: list) -> list[Outcome]:
    return [i.outcome for i in instructions if isinstance(i, Report)]


@pytest.fixture
def cluster() -> Dispatcher:
    """Two workers, two slots each."""
    dispatcher = Dispatcher()
    dispatcher.worker_ready("a", "A", 2)
    dispatcher.worker_ready("b", "B", 2)
    return dispatcher


def test_spreads_work_that_comes_one_by_one(cluster):
    placed = [started(cluster.submit([submission(key)]))[key] for key in "1234"]
    assert Counter(placed) == {"a": 2, "b": 2}


def test_what_finds_no_slot_waits_and_goes_by_priority(cluster):
    cluster.submit([submission(key) for key in "1234"])
    assert cluster.submit([submission("low", 1), submission("high", 9)]) == []
    assert cluster.capacity == Capacity(workers=2, slots=4, free=0)
    worker = "a"
    key = next(iter(cluster._workers[worker].running))
    assert started(cluster.finished(Outcome(key, True, None, worker))) == {"high": "a"}


def test_a_key_is_taken_once(cluster):
    assert started(cluster.submit([submission("1"), submission("1")])).keys() == {"1"}
    assert cluster.submit([submission("1")]) == []


def test_a_key_that_ended_is_reported_again_and_not_run(cluster):
    worker = started(cluster.submit([submission("1")]))["1"]
    outcome = Outcome("1", False, "it broke", worker)
    assert reported(cluster.finished(outcome)) == [outcome]
    assert cluster.submit([submission("1")]) == [Report(outcome)]


def test_a_lost_worker_fails_what_it_ran_and_nothing_else(cluster):
    workers = started(cluster.submit([submission(key) for key in "1234"]))
    lost = reported(cluster.worker_lost("a"))
    assert {outcome.key for outcome in lost} == {key for key, worker in workers.items() if worker == "a"}
    assert all(outcome.reason == "worker A at a lost while running it" for outcome in lost)
    assert cluster.capacity == Capacity(workers=1, slots=2, free=0)


def test_an_outcome_after_the_worker_was_lost_does_not_count(cluster):
    workers = started(cluster.submit([submission("1")]))
    cluster.worker_lost(workers["1"])
    assert cluster.finished(Outcome("1", True, None, workers["1"])) == []


def test_a_worker_out_of_service_keeps_what_it_runs_and_gets_nothing_new(cluster):
    cluster.submit([submission(key) for key in "1234"])
    assert cluster.worker_ready("a", "A", 0) == []
    assert cluster.capacity.slots == 2
    running = [key for key, worker in cluster._running.items() if worker == "a"]
    assert not started(cluster.finished(Outcome(running[0], True, None, "a")) + cluster.submit([submission("5")]))


def test_what_a_worker_says_it_runs_is_not_started_again():
    dispatcher = Dispatcher()
    dispatcher.submit([submission("1")])
    assert started(dispatcher.worker_ready("a", "A", 2, running=["1"])) == {}
    assert dispatcher.known(["1"]) == (["1"], [])


def test_revoking_ends_what_runs_and_forgets_what_waits(cluster):
    workers = started(cluster.submit([submission(key) for key in "1234"]))
    cluster.submit([submission("5")])
    assert cluster.revoke(["1", "5", "unheard of"]) == [End(workers["1"], "1")]
    assert started(cluster.finished(Outcome("1", False, "ended", workers["1"]))) == {}


def test_outcomes_are_kept_in_bounded_number(cluster, monkeypatch):
    monkeypatch.setattr(dispatcher_module, "OUTCOMES_KEPT", 3)
    for number in range(5):
        worker = started(cluster.submit([submission(str(number))]))[str(number)]
        cluster.finished(Outcome(str(number), True, None, worker))
    _, ended = cluster.known(map(str, range(5)))
    assert [outcome.key for outcome in ended] == ["2", "3", "4"]


class AnyOrder(RuleBasedStateMachine):
    """Whatever comes in whatever order: each key runs at most once, and ends at most once."""

    keys = Bundle("keys")
    workers = Bundle("workers")

    def __init__(self) -> None:
        super().__init__()
        self.dispatcher = Dispatcher()
        self.number = 0
        self.started: dict[str, str] = {}
        self.ended: dict[str, Outcome] = {}
        self.revoked: set[str] = set()
        self.submitted: set[str] = set()
        self.slots: dict[str, int] = {}

    def take(self, instructions: list) -> None:
        for instruction in instructions:
            match instruction:
                case Run(worker, submitted):
                    assert submitted.key not in self.started, "started twice"
                    assert submitted.key not in self.revoked, "started after it was revoked"
                    assert worker in self.slots, "started on a worker that is gone"
                    self.started[submitted.key] = worker
                case Report(outcome):
                    assert self.ended.setdefault(outcome.key, outcome) == outcome, "two different ends"

    @rule(target=keys, priority=st.integers(0, 3))
    def submit(self, priority):
        self.number += 1
        key = str(self.number)
        self.submitted.add(key)
        self.take(self.dispatcher.submit([submission(key, priority)]))
        return key

    @rule(key=keys)
    def submit_again(self, key):
        self.take(self.dispatcher.submit([submission(key)]))

    @rule(target=workers, slots=st.integers(0, 3))
    def worker_comes(self, slots):
        self.number += 1
        address = f"worker-{self.number}"
        self.slots[address] = slots
        self.take(self.dispatcher.worker_ready(address, address, slots))
        return address

    @rule(address=workers, slots=st.integers(0, 3))
    def worker_changes(self, address, slots):
        self.slots[address] = slots
        self.take(self.dispatcher.worker_ready(address, address, slots))

    @rule(address=consumes(workers))
    def worker_dies(self, address):
        del self.slots[address]
        self.take(self.dispatcher.worker_lost(address))
        assert not [key for key, worker in self.started.items() if worker == address and key not in self.ended]

    @rule(key=keys, success=st.booleans())
    def finish(self, key, success):
        self.take(self.dispatcher.finished(Outcome(key, success, None, self.started.get(key, "nobody"))))

    @rule(key=keys)
    def revoke(self, key):
        if key not in self.started:
            self.revoked.add(key)
        self.take(self.dispatcher.revoke([key]))

    @invariant()
    def nothing_is_forgotten(self):
        present, ended = self.dispatcher.known(self.submitted)
        assert set(present) | {outcome.key for outcome in ended} == self.submitted
        assert set(present) == self.submitted - self.revoked - set(self.ended)

    @invariant()
    def no_slot_is_empty_while_work_waits(self):
        running = Counter(worker for key, worker in self.started.items() if key not in self.ended)
        free = sum(max(0, slots - running[worker]) for worker, slots in self.slots.items())
        waiting = self.submitted - self.revoked - set(self.started)
        assert not (free and waiting)
        assert self.dispatcher.capacity.slots == sum(self.slots.values())


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
