"""The dispatcher, by example."""

from __future__ import annotations

import pickle
import sys
from collections import Counter

import pytest

from airflow_eks_dask.worker import dispatcher as dispatcher_module
from airflow_eks_dask.worker import placement
from airflow_eks_dask.worker.dispatcher import Dispatcher, Drained, End, Log, Report, Run
from airflow_eks_dask.worker.protocol import Capacity, Outcome, Submission

pytestmark = pytest.mark.any_airflow


def submission(key: str, priority: int = 0, queue: str = "default", **resources: float) -> Submission:
    return Submission(key, b"payload", priority, queue, resources, f"{key}.log", f"dag.{key}")


def started(instructions: list) -> dict[str, str]:
    return {i.submission.key: i.worker for i in instructions if isinstance(i, Run)}


def reported(instructions: list) -> list[Outcome]:
    return [i.outcome for i in instructions if isinstance(i, Report)]


def running_on(dispatcher: Dispatcher, address: str) -> list[str]:
    return [run["key"] for worker in dispatcher.workers() if worker["address"] == address for run in worker["running"]]


def end(dispatcher: Dispatcher, key: str, address: str) -> list:
    return dispatcher.finished(Outcome(key, True, None, address))


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
    assert cluster.capacity == Capacity(workers=2, slots=4, free=0, queues={"default": 0}, waiting={"default": 2})
    key = running_on(cluster, "a")[0]
    assert started(cluster.finished(Outcome(key, True, None, "a"))) == {"high": "a"}


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
    assert cluster.capacity == Capacity(workers=1, slots=2, free=0, queues={"default": 0})


def test_an_outcome_after_the_worker_was_lost_does_not_count(cluster):
    workers = started(cluster.submit([submission("1")]))
    cluster.worker_lost(workers["1"])
    assert cluster.finished(Outcome("1", True, None, workers["1"])) == []


def test_a_worker_out_of_service_keeps_what_it_runs_and_gets_nothing_new(cluster):
    cluster.submit([submission(key) for key in "1234"])
    assert cluster.worker_ready("a", "A", 0) == []
    assert cluster.capacity.slots == 2
    running = running_on(cluster, "a")
    assert not started(end(cluster, running[0], "a") + cluster.submit([submission("5")]))


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


def test_a_workload_goes_to_a_worker_that_serves_its_queue(cluster):
    cluster.worker_ready("g", "G", 1, queues=["gpu", "default"])
    assert started(cluster.submit([submission("1", queue="gpu")])) == {"1": "g"}
    assert cluster.submit([submission("2", queue="gpu")]) == []
    assert started(end(cluster, "1", "g")) == {"2": "g"}


def test_a_blocked_queue_blocks_no_other_and_takes_no_free_slot(cluster):
    cluster.submit([submission(f"nobody's {n}", priority=9, queue="nobody") for n in range(10)])
    assert cluster.capacity == Capacity(2, 4, free=4, queues={"default": 4}, waiting={"nobody": 10})
    assert started(cluster.submit([submission("1")])).keys() == {"1"}
    cluster.worker_ready("n", "N", 1, queues=["nobody"])
    assert cluster.capacity.queues == {"default": 3, "nobody": 0}
    assert running_on(cluster, "n") == ["nobody's 0"]


def test_queues_are_served_by_priority_where_a_worker_serves_several():
    dispatcher = Dispatcher()
    dispatcher.worker_ready("a", "A", 1, queues=["x", "y"])
    dispatcher.submit([submission("running", queue="x")])
    dispatcher.submit([submission("x", 1, queue="x"), submission("y", 2, queue="y"), submission("later", 2, queue="x")])
    order = []
    key = "running"
    for _ in range(3):
        (key,) = started(end(dispatcher, key, "a"))
        order.append(key)
    assert order == ["y", "later", "x"]


def test_a_worker_may_change_its_queues():
    dispatcher = Dispatcher()
    dispatcher.worker_ready("a", "A", 2, queues=["x"])
    dispatcher.submit([submission("1", queue="y")])
    assert started(dispatcher.worker_ready("a", "A", 2, queues=["y"])) == {"1": "a"}
    assert dispatcher.capacity.queues == {"y": 1}
    assert dispatcher.submit([submission("2", queue="x")]) == []


def test_resources_are_held_while_a_workload_runs():
    dispatcher = Dispatcher()
    dispatcher.worker_ready("a", "A", 5, resources={"GPU": 2, "memory": 0.3})
    first = dispatcher.submit([submission("1", GPU=1), submission("2", GPU=1), submission("3", GPU=1)])
    assert started(first) == {"1": "a", "2": "a"}
    assert started(dispatcher.submit([submission("plain")])) == {"plain": "a"}
    assert started(end(dispatcher, "2", "a")) == {"3": "a"}


def test_amounts_add_up_exactly():
    dispatcher = Dispatcher()
    dispatcher.worker_ready("a", "A", 9, resources={"memory": 0.3})
    for round_ in range(5):
        keys = [f"{round_}-{n}" for n in range(4)]
        assert started(dispatcher.submit([submission(key, memory=0.1) for key in keys])).keys() == set(keys[:3])
        dispatcher.revoke(keys[3:])
        for key in keys[:3]:
            end(dispatcher, key, "a")


@pytest.mark.parametrize("resources", [{"GPU": -1}, {"GPU": float("nan")}, {"GPU": "1"}, {"airflow": 2}], ids=str)
def test_a_demand_that_makes_no_sense_fails_alone(cluster, resources):
    bad = Submission("bad", b"", resources=resources)
    instructions = cluster.submit([bad, submission("good")])
    assert started(instructions).keys() == {"good"}
    (outcome,) = reported(instructions)
    assert not outcome.success
    assert next(iter(resources)) in outcome.reason


def test_a_draining_worker_finishes_what_it_runs_and_gets_nothing_new(cluster):
    workers = started(cluster.submit([submission(key) for key in "1234"]))
    mine = [key for key, worker in workers.items() if worker == "a"]
    assert cluster.drain("a") == []
    cluster.submit([submission("5")])
    assert end(cluster, mine[0], "a") == [Report(Outcome(mine[0], True, None, "a"))]
    assert end(cluster, mine[1], "a") == [Report(Outcome(mine[1], True, None, "a")), Drained("a")]
    assert cluster.capacity == Capacity(1, 2, 0, {"default": 0}, {"default": 1})
    assert started(cluster.cancel_drain("a")) == {"5": "a"}


def test_a_draining_worker_stays_so_when_its_launcher_comes_back(cluster):
    assert cluster.drain("a") == [Drained("a")]
    assert cluster.worker_ready("a", "A", 2) == [Drained("a")]
    assert set(started(cluster.submit([submission(key) for key in "12345"])).values()) == {"b"}


def test_a_log_is_found_while_it_can_be_read(cluster, monkeypatch):
    monkeypatch.setattr(dispatcher_module, "OUTCOMES_KEPT", 2)
    workers = started(cluster.submit([submission(key) for key in "1234"]))
    assert cluster.log("1") == Log(workers["1"], "1.log")
    end(cluster, "1", workers["1"])
    assert cluster.log("1") == Log(workers["1"], "1.log")
    cluster.submit([submission("waiting", queue="nobody")])
    cluster.revoke(["waiting"])
    for key, says in {"unheard of": "knows no workload", "waiting": "never ran"}.items():
        with pytest.raises(LookupError, match=says):
            cluster.log(key)
    cluster.worker_lost(workers["1"])
    with pytest.raises(LookupError):
        cluster.log("1")


def test_the_payload_is_forgotten_once_it_is_sent(cluster):
    cluster.submit([Submission("1", b"eyJ-a-token")])
    assert b"eyJ-a-token" not in pickle.dumps(
        (cluster._running, cluster._waiting, cluster._outcomes, cluster._pool.workers)
    )


def test_the_cost_of_an_event_does_not_grow_with_what_waits_or_how_many_workers_there_are():
    def cost(workers: int, waiting: int) -> int:
        """Count the calls made for one submission and one end."""
        dispatcher = Dispatcher()
        for number in range(workers):
            dispatcher.worker_ready(str(number), str(number), 4, queues=["x", "y"])
        dispatcher.submit(submission(f"waits {n}", queue="y" if n % 2 else "nobody") for n in range(waiting))
        # Only the first of its kind looks at every worker.
        dispatcher.submit([submission("first", queue="x")])
        dispatcher.revoke(["first"])
        running = running_on(dispatcher, "0")[0]
        calls = 0

        def count_calls(*_: object) -> None:
            nonlocal calls
            calls += 1

        sys.setprofile(count_calls)
        try:
            dispatcher.submit([submission("one", queue="x")])
            end(dispatcher, running, "0")
        finally:
            sys.setprofile(None)
        return calls

    assert cost(workers=500, waiting=10_000) < 2 * cost(workers=5, waiting=100)


def test_groups_that_are_empty_are_forgotten_and_made_again(monkeypatch):
    monkeypatch.setattr(placement, "GROUPS_KEPT", 2)
    dispatcher = Dispatcher()
    dispatcher.worker_ready("a", "A", 1, resources={"r": 9})
    for amount in (1, 2, 3, 4, 1, 2):
        key = f"{amount} {dispatcher.outcomes_kept}"
        assert started(dispatcher.submit([submission(key, r=amount)])) == {key: "a"}
        end(dispatcher, key, "a")
    assert len(dispatcher._pool._groups) <= 2


def test_what_is_revoked_before_it_arrives_never_runs():
    dispatcher = Dispatcher()
    dispatcher.worker_ready("w", "w", 1)
    assert dispatcher.revoke(["k"]) == []
    (report,) = dispatcher.submit([submission("k")])
    assert (report.outcome.success, report.outcome.reason) == (False, "revoked before it arrived")


def test_what_was_given_back_to_airflow_is_refused_when_it_arrives():
    dispatcher = Dispatcher()
    dispatcher.worker_ready("w", "w", 2)
    dispatcher.submit([submission("here")])
    assert dispatcher.known(["here", "late"], fence=["here", "late"]) == (["here"], [])
    (report,) = dispatcher.submit([submission("late")])
    assert not report.outcome.success
    assert dispatcher.known(["here"]) == (["here"], [])


def test_what_is_revoked_while_it_waits_leaves_nothing_behind(cluster):
    for number in range(1_000):
        cluster.submit([submission(str(number), queue="nobody")])
        cluster.revoke([str(number)])
    assert cluster.capacity.waiting == {}
    (group,) = (g for g in cluster._pool._groups.values() if g.demand.queue == "nobody")
    assert len(group._heap) < 100
