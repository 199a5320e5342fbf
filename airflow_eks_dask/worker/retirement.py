"""Taking workers away from the cluster once they have drained."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from distributed.scheduler import Scheduler

log = logging.getLogger(__name__)


class Retirement:
    """
    Knows why each draining worker drains, and so what is to happen when it has.

    :param scheduler: The Dask scheduler.
    :param drain: Has the worker at an address take nothing new; :meth:`drained` is called when it runs nothing.
    :param cancel_drain: Has it take workloads again.
    """

    def __init__(self, scheduler: Scheduler, drain: Callable[[str], None], cancel_drain: Callable[[str], None]) -> None:
        self._scheduler = scheduler
        self._drain = drain
        self._cancel_drain = cancel_drain
        self._leaving_by_themselves: set[str] = set()
        self._to_close: set[str] = set()
        self._closing: dict[str, asyncio.Task[None]] = {}
        self._awaited: dict[str, list[asyncio.Future[None]]] = {}

    def drain_and_close(self, address: str) -> str | None:
        """Drain a worker, then close it. Return what is against it, if something is."""
        if address not in self._leaving_by_themselves and address not in self._closing:
            self._to_close.add(address)
            self._drain(address)
        return None

    def cancel(self, address: str) -> str | None:
        """Take a drain back. Return what is against it, if something is."""
        if address in self._leaving_by_themselves:
            return f"the worker at {address} leaves because its process was told to stop: that cannot be taken back"
        if address in self._awaited:
            return f"the worker at {address} leaves because Dask retires it: that cannot be taken back"
        if address in self._closing:
            return f"the worker at {address} has drained and is being closed: start another"
        if address not in self._to_close:
            return f"the worker at {address} is not draining"
        self._to_close.discard(address)
        self._cancel_drain(address)
        return None

    def leaves_by_itself(self, address: str) -> None:
        """Note that a worker drains because its process was told to stop; it waits to be told that it has."""
        self._leaving_by_themselves.add(address)

    def drained(self, address: str) -> None:
        """Do what was to happen once a worker runs nothing."""
        self._let_go_on(address)
        if address in self._leaving_by_themselves:
            self._scheduler.send_all({}, {address: [{"op": "airflow-drained"}]})
        elif address in self._to_close and address not in self._closing:
            self._closing[address] = asyncio.ensure_future(self._close(address))

    def gone(self, address: str) -> None:
        """Note that a worker has left, or was lost."""
        self._let_go_on(address)
        self._leaving_by_themselves.discard(address)
        self._to_close.discard(address)

    async def retire_workers(
        self, workers: list[str] | None = None, names: list[Any] | None = None, **options: Any
    ) -> dict[str, Any]:
        """
        Retire workers as Dask does, after they have drained.

        Dask clients and deployments call it, and workers at the end of their lifetime. Without ``workers`` and
        ``names`` Dask chooses, among those that run nothing.
        """
        chosen = self._addresses(workers, names)
        retired: dict[str, Any] = {}
        try:
            await asyncio.gather(*(self._wait_until_drained(address) for address in chosen))
            # Dask's overloads part the ways to choose workers; what the caller gave is passed on as it is.
            retire: Callable[..., Awaitable[dict[str, Any]]] = self._scheduler.retire_workers
            retired = await retire(workers=workers, names=names, **options)
        finally:
            for address in chosen:
                self._awaited.pop(address, None)
                if address not in retired and not self._leaves(address):
                    self._cancel_drain(address)
        return retired

    async def _wait_until_drained(self, address: str) -> None:
        future = asyncio.get_running_loop().create_future()
        self._awaited.setdefault(address, []).append(future)
        self._drain(address)
        await future

    async def _close(self, address: str) -> None:
        try:
            retired = await self._scheduler.retire_workers(workers=[address], close_workers=True)
        finally:
            self._closing.pop(address, None)
        if address in self._scheduler.workers and not retired:
            log.error(
                "The worker at %s has drained, but holds data of Dask computations that no other worker can take. "
                "It stays, without Airflow workloads: start another worker and drain it again.",
                address,
            )

    def _addresses(self, workers: list[str] | None, names: list[Any] | None) -> list[str]:
        wanted = {str(name) for name in names or ()}
        return [
            worker.address
            for worker in self._scheduler.workers.values()
            if worker.address in (workers or ()) or str(worker.name) in wanted
        ]

    def _leaves(self, address: str) -> bool:
        return address in self._to_close or address in self._leaving_by_themselves

    def _let_go_on(self, address: str) -> None:
        for future in self._awaited.get(address, ()):
            if not future.done():
                future.set_result(None)
