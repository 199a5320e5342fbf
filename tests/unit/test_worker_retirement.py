"""What happens to workers that drain, by who wanted it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from airflow_eks_dask.worker.retirement import Retirement


class Scheduler:
    """What retirement uses of a Dask scheduler, with two workers."""

    def __init__(self) -> None:
        self.workers = {a: SimpleNamespace(address=a, name=a.upper()) for a in ("a", "b")}
        self.sent: list[dict] = []
        self.retired: list[dict] = []
        self.refuses = False

    def send_all(self, _: dict, messages: dict) -> None:
        self.sent.append(messages)

    async def retire_workers(self, **arguments) -> dict:
        self.retired.append(arguments)
        if self.refuses:
            return {}
        wanted = arguments.get("workers") or [name.lower() for name in arguments.get("names") or ()]
        return {address: self.workers.pop(address) for address in wanted}


@pytest.fixture
def scheduler():
    return Scheduler()


@pytest.fixture
def draining():
    return set()


@pytest.fixture
def retirement(scheduler, draining):
    return Retirement(scheduler, draining.add, draining.discard)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_a_drained_worker_is_closed_once(retirement, scheduler, draining):
    async def scenario():
        assert retirement.drain_and_close("a") is None
        assert retirement.drain_and_close("a") is None
        assert draining == {"a"}
        retirement.drained("a")
        retirement.drained("a")
        await settle()
        assert scheduler.retired == [{"workers": ["a"], "close_workers": True}]

    asyncio.run(scenario())


def test_a_drain_can_be_taken_back_until_the_worker_is_closed(retirement, draining):
    async def scenario():
        assert "not draining" in retirement.cancel("a")
        retirement.drain_and_close("a")
        assert retirement.cancel("a") is None
        assert draining == set()
        retirement.drain_and_close("a")
        retirement.drained("a")
        assert "being closed" in retirement.cancel("a")

    asyncio.run(scenario())


def test_a_worker_that_leaves_by_itself_is_told_and_not_retired(retirement, scheduler):
    retirement.leaves_by_itself("a")
    retirement.drain_and_close("a")
    retirement.drained("a")
    assert scheduler.sent == [{"a": [{"op": "airflow-drained"}]}]
    assert scheduler.retired == []
    assert "told to stop" in retirement.cancel("a")


@pytest.mark.parametrize("chosen", [{"workers": ["a"]}, {"names": ["A"]}], ids=str)
def test_dask_retires_a_worker_after_it_has_drained(retirement, scheduler, draining, chosen):
    async def scenario():
        retiring = asyncio.ensure_future(retirement.retire_workers(**chosen, remove=True))
        await settle()
        assert draining == {"a"}
        assert not scheduler.retired
        assert "Dask retires it" in retirement.cancel("a")
        retirement.drained("a")
        assert list(await retiring) == ["a"]
        assert scheduler.retired == [{"workers": None, "names": None, **chosen, "remove": True}]

    asyncio.run(scenario())


def test_a_worker_that_dask_could_not_retire_serves_again(retirement, scheduler, draining):
    async def scenario():
        scheduler.refuses = True
        retiring = asyncio.ensure_future(retirement.retire_workers(workers=["a"]))
        await settle()
        retirement.drained("a")
        assert await retiring == {}
        assert draining == set()

    asyncio.run(scenario())


def test_a_worker_lost_while_it_drains_keeps_nobody_waiting(retirement, scheduler):
    async def scenario():
        retiring = asyncio.ensure_future(retirement.retire_workers(workers=["a"]))
        await settle()
        retirement.gone("a")
        await asyncio.wait_for(retiring, 5)

    asyncio.run(scenario())


def test_a_drained_worker_that_holds_the_only_data_stays_and_says_so(retirement, scheduler, caplog):
    async def scenario():
        scheduler.refuses = True
        retirement.drain_and_close("a")
        retirement.drained("a")
        await settle()
        assert "holds data" in caplog.text
        retirement.drain_and_close("a")
        retirement.drained("a")
        await settle()
        assert len(scheduler.retired) == 2, "it is tried again"
        assert retirement.cancel("a") is None

    asyncio.run(scenario())


def test_where_dask_chooses_nothing_is_drained(retirement, scheduler, draining):
    asyncio.run(retirement.retire_workers(n=1))
    assert draining == set()
    assert scheduler.retired == [{"workers": None, "names": None, "n": 1}]
