"""How a worker leaves: what it waits for, and for how long."""

from __future__ import annotations

import asyncio

from airflow_eks_dask.worker import departure as departure_module
from airflow_eks_dask.worker.departure import Departure


class Scene:
    """A departure, and what it has done."""

    def __init__(self, timeout: float = 60) -> None:
        self.done: list[str] = []
        self.departure = Departure("w1", timeout, lambda: self.done.append("announced"), self.end_all)

    def end_all(self, reason: str) -> None:
        self.done.append(reason)
        self.departure.drained()


def run(scenario) -> None:
    asyncio.run(asyncio.wait_for(scenario, 30))


def test_leaves_when_the_scheduler_says_that_all_is_known():
    async def scenario():
        scene = Scene()
        scene.departure.start()
        assert scene.departure.started
        assert not await scene.departure.done(0)
        scene.departure.drained()
        assert await scene.departure.done()
        assert scene.done == ["announced"]

    run(scenario())


def test_starting_twice_announces_once():
    async def scenario():
        scene = Scene()
        scene.departure.start()
        scene.departure.start()
        scene.departure.drained()
        assert await scene.departure.done()
        assert scene.done == ["announced"]

    run(scenario())


def test_what_does_not_end_in_time_is_ended():
    async def scenario():
        scene = Scene(timeout=0.01)
        scene.departure.start()
        assert await scene.departure.done()
        assert scene.done == ["announced", "its worker w1 was told to stop, and it did not end in 0.01 s"]

    run(scenario())


def test_a_hurry_ends_what_runs():
    async def scenario():
        scene = Scene()
        scene.departure.start()
        scene.departure.hurry()
        assert await scene.departure.done()
        assert scene.done[1:] == ["its worker w1 was told to stop, and told again before it had ended"]

    run(scenario())


def test_a_scheduler_that_says_nothing_does_not_keep_the_worker(monkeypatch, caplog):
    monkeypatch.setattr(departure_module, "LAST_WAIT", 0.01)

    async def scenario():
        departure = Departure("w1", 0.01, lambda: None, lambda _: None)
        departure.start()
        assert await departure.done()

    run(scenario())
    assert "did not confirm" in caplog.text


def test_one_that_has_not_begun_is_not_done():
    async def scenario():
        assert not await Scene().departure.done()

    run(scenario())
