"""A network that can be cut: a TCP proxy of the tests' own."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.local.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from typing_extensions import Self

CHUNK = 65_536


class Proxy:
    """
    Passes on to a port of this machine what it gets on another.

    :param target: The port to pass on to.
    :param host: IP address of this machine that it listens on.
    """

    def __init__(self, target: int, host: str = "127.0.0.1") -> None:
        self.target = target
        self.host = host
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.StreamWriter] = set()
        self._flows: asyncio.Event

    def __enter__(self) -> Self:
        self._thread.start()
        self._call(self._start())
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut(self) -> None:
        """Break all connections; new ones are refused."""
        self._call(self._close())

    def heal(self) -> None:
        """Let connections be made again, or go on."""
        self._call(self._start())

    def hush(self) -> None:
        """Pass nothing on any more, without a sign: as a firewall does that drops packets."""
        self._loop.call_soon_threadsafe(self._flows.clear)

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _start(self) -> None:
        if self._server is None:
            self._flows = asyncio.Event()
            self._server = await asyncio.start_server(self._accept, self.host, self.port)
        self._flows.set()

    async def _close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        self._server = None
        self._flows.set()
        for writer in list(self._connections):
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(writer)
        there: asyncio.StreamWriter | None = None
        try:
            back, there = await asyncio.open_connection("127.0.0.1", self.target)
            await asyncio.gather(self._pass_on(reader, there), self._pass_on(back, writer))
        except OSError:
            pass  # either side has gone, which the other one is about to see
        finally:
            self._connections.discard(writer)
            for end in (writer, there):
                if end is not None:
                    with suppress(OSError):
                        end.transport.abort()

    async def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(CHUNK):
            await self._flows.wait()
            sink.write(data)
            await sink.drain()
        # Half a connection serves neither Dask nor its peer.
        raise ConnectionResetError
