"""Signals to a process of a worker."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from airflow_eks_dask.worker.stop_signals import NUMBERS, StopSignals, is_dask_command, is_left_to_default


@pytest.fixture(autouse=True)
def handlers():
    """Leave this process as it was."""
    before = {number: signal.getsignal(number) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Heard:
    """What a process is told about its signals."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[tuple[signal.Signals, int]] = asyncio.Queue()

    def __call__(self, *told) -> None:
        self.told.put_nowait(told)

    async def after(self, number: signal.Signals) -> tuple[signal.Signals, int]:
        os.kill(os.getpid(), number)
        return await self.told.get()


@pytest.mark.parametrize("pass_on", [True, False])
def test_counts_and_tells_and_passes_on_the_first(pass_on):
    async def scenario():
        passed, heard = [], Heard()
        for number in NUMBERS:
            signal.signal(number, lambda number, _: passed.append(number))
        signals = StopSignals(asyncio.get_running_loop(), heard, pass_on=pass_on)
        signals.install()
        assert await heard.after(signal.SIGTERM) == (signal.SIGTERM, 1)
        assert await heard.after(signal.SIGINT) == (signal.SIGINT, 2)
        assert passed == ([signal.SIGTERM] if pass_on else [])
        signals.uninstall()
        os.kill(os.getpid(), signal.SIGTERM)
        assert passed[-1] == signal.SIGTERM
        assert signals.count == 2

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_survives_that_dask_puts_back_what_it_found():
    async def scenario():
        heard = Heard()
        signal.signal(signal.SIGTERM, lambda *_: None)
        signals = StopSignals(asyncio.get_running_loop(), heard, pass_on=True)
        signals.install()
        await heard.after(signal.SIGTERM)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signals.install()
        assert await heard.after(signal.SIGTERM) == (signal.SIGTERM, 2)

    asyncio.run(asyncio.wait_for(scenario(), 10))


def test_a_process_that_is_no_dask_command_keeps_its_handlers():
    signal.signal(signal.SIGTERM, lambda *_: None)
    assert not is_dask_command()
    assert not is_left_to_default()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    assert not is_left_to_default()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    assert is_left_to_default()


def test_a_dask_command_is_known_by_its_handlers():
    from distributed._signals import wait_for_signals

    async def scenario():
        waiting = asyncio.ensure_future(wait_for_signals())
        await asyncio.sleep(0)
        assert is_dask_command()
        assert not await asyncio.to_thread(is_dask_command), "handlers can be set in the main thread only"
        waiting.cancel()

    asyncio.run(scenario())
