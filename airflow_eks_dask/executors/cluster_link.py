"""
The connection to one Dask cluster, kept by a thread with an event loop of its own.

The Airflow scheduler's thread only leaves messages and picks up events: nothing it calls here waits for the network.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections import deque
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from distributed import Client

from airflow_eks_dask.executors.embedded import EmbeddedCluster
from airflow_eks_dask.worker.protocol import CLIENT_NAME, TOPIC, Capacity, Outcome
from airflow_eks_dask.worker.scheduler_plugin import WorkloadSchedulerPlugin

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from airflow_eks_dask.endpoint import Endpoint
    from airflow_eks_dask.executors.in_flight import Ask
    from airflow_eks_dask.executors.log_keeper import LogKeeper
    from airflow_eks_dask.executors.settings import DaskSettings
    from airflow_eks_dask.worker.protocol import Submission

log = logging.getLogger(__name__)

RECONNECT_DELAY, RECONNECT_DELAY_LIMIT = 0.5, 30.0
PING_INTERVAL = 2.0
PING_TIMEOUT = 15.0
CANCEL_INTERVAL = 1.0
FORGOTTEN_GRACE = 10.0
"""Seconds after which the workers of a Dask scheduler that is gone have ended, with all that they ran."""


@dataclass(frozen=True, slots=True)
class Connected:
    """There is a connection; nothing is known of what happened before it."""

    address: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """There is no connection, any more or yet."""

    reason: str


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The cluster has taken these workloads."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Revoked:
    """The cluster has been told to end these workloads."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Answered:
    """What the cluster knows of the keys it was asked for."""

    asked: Ask
    present: tuple[str, ...]
    ended: tuple[Outcome, ...]


Event = Connected | Disconnected | Confirmed | Revoked | Answered | Outcome | Capacity


class ClusterLink:
    """
    Keeps a connection, and makes it again whenever it is lost.

    :param endpoint: Where the cluster is; None for an embedded one, which is started.
    :param settings: The executor's.
    :param log_keeper: What brings logs home; None to leave them where they are.
    """

    def __init__(self, endpoint: Endpoint | None, settings: DaskSettings, log_keeper: LogKeeper | None = None) -> None:
        self._endpoint = endpoint
        self._settings = settings
        self._log_keeper = log_keeper
        self._events: deque[Event] = deque()
        self._thread = threading.Thread(target=self._run, name="dask-cluster-link", daemon=True)
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._failure: asyncio.Future[str] = self._loop.create_future()
        self._client: Client | None = None
        self._embedded: EmbeddedCluster | None = None
        self._background: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start connecting."""
        self._thread.start()

    def stop(self, timeout: float = 30) -> None:
        """
        End the connection, and the embedded cluster if there is one.

        :param timeout: Seconds to wait for that; 0 leaves it to the thread.
        """
        with suppress(RuntimeError):  # the loop has ended already
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout)
        if timeout and self._thread.is_alive():
            log.warning("The connection to Dask did not end within %.0f s", timeout)

    def events(self) -> list[Event]:
        """Take the events since the last call, oldest first."""
        taken = []
        while self._events:
            taken.append(self._events.popleft())
        return taken

    def submit(self, submissions: Sequence[Submission]) -> None:
        """Send workloads, in one message. Without a connection nothing is sent, and nothing confirmed."""
        self._send(self._submit(submissions))

    def revoke(self, keys: Sequence[str]) -> None:
        """Have workloads ended."""
        self._send(self._revoke(keys))

    def ask(self, question: Ask) -> None:
        """Ask what became of workloads."""
        self._send(self._ask(question))

    def bring_log_home(self, key: str) -> None:
        """Copy the log of a workload that has ended from its worker to this machine, if it is not here."""
        if self._log_keeper is not None:
            self._send(self._log_keeper.bring_home(key, self._call))

    def _send(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            self._loop.call_soon_threadsafe(self._in_background, work)
        except RuntimeError:  # stopping
            work.close()

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._background.add(task)
        task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()):
            # Whatever got lost is asked for, or sent again, after the next connection.
            self._fail(f"a message to it failed: {str(error) or type(error).__name__}")

    def _fail(self, reason: str) -> None:
        if not self._failure.done():
            self._failure.set_result(reason)

    async def _submit(self, submissions: Sequence[Submission]) -> None:
        if self._client is not None:
            batch = [asdict(submission) for submission in submissions]
            capacity = await self._call("airflow_submit", submissions=batch)
            self._events.append(Confirmed(tuple(submission.key for submission in submissions)))
            self._events.append(Capacity(**capacity))

    async def _revoke(self, keys: Sequence[str]) -> None:
        if self._client is not None:
            await self._call("airflow_revoke", keys=list(keys))
            self._events.append(Revoked(tuple(keys)))

    async def _ask(self, question: Ask) -> None:
        client = self._client
        if question.again:
            await asyncio.sleep(FORGOTTEN_GRACE)
        # After another connection everything is asked for anew.
        if client is not None and client is self._client:
            answer = await self._call("airflow_known", keys=list(question.keys), fence=list(question.fence))
            ended = tuple(Outcome(**outcome) for outcome in answer["ended"])
            self._events.append(Answered(question, tuple(answer["present"]), ended))

    async def _call(self, handler: str, **arguments: Any) -> Any:
        return await asyncio.wait_for(getattr(self._rpc(), handler)(**arguments), PING_TIMEOUT)

    def _rpc(self) -> Any:
        """Return what calls the handlers of the Dask scheduler by their names."""
        if self._client is None or self._client.scheduler is None:
            raise ConnectionError("not connected")
        return self._client.scheduler

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._main())
        finally:
            self._loop.close()

    async def _main(self) -> None:
        stopping = self._loop.create_task(self._stop.wait())
        linking = self._loop.create_task(self._keep_connected())
        await asyncio.wait({stopping, linking}, return_when=asyncio.FIRST_COMPLETED)
        await _end({linking, stopping, *self._background})
        await self._disconnect()
        if self._embedded is not None:
            await self._embedded.stop()

    async def _keep_connected(self) -> None:
        delay = RECONNECT_DELAY
        while True:
            try:
                self._client = await self._connect()
            except Exception as error:  # noqa: BLE001 - whatever it is, the Airflow scheduler lives and tasks wait
                reason = str(error) or _wordless(error)
                log.warning("No Dask cluster%s: %s. Tasks wait. Next try in %.1f s.", self._where(), reason, delay)
                self._events.append(Disconnected(reason))
                await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - jitter
                delay = min(2 * delay, RECONNECT_DELAY_LIMIT)
                continue
            delay = RECONNECT_DELAY
            address = str(self._rpc().address)
            log.info("Connected to the Dask scheduler at %s", address)
            self._failure = self._loop.create_future()
            self._events.append(Connected(address))
            reason = await self._watch()
            log.warning("Lost the Dask scheduler at %s: %s", address, reason)
            self._events.append(Disconnected(reason))
            await self._disconnect()

    def _where(self) -> str:
        return f" at {self._endpoint.address}" if self._endpoint else ""

    async def _connect(self) -> Client:
        client = Client(
            await self._address(),
            security=self._endpoint.security() if self._endpoint else None,
            timeout=self._settings.connect_timeout,
            asynchronous=True,
            set_as_default=False,
            name=CLIENT_NAME,
        )
        try:
            await client
            client.subscribe_topic(TOPIC, self._receive)
            plugin = WorkloadSchedulerPlugin(self._settings.worker_options)
            await asyncio.wait_for(client.register_plugin(plugin), PING_TIMEOUT)
        except BaseException:
            await self._close(client)
            raise
        return client

    async def _address(self) -> str:
        if self._endpoint is not None:
            return self._endpoint.address
        if self._embedded is not None and not self._embedded.is_running:
            await self._embedded.stop()
            self._embedded = None
        if self._embedded is None:
            self._embedded = await EmbeddedCluster.start(self._settings.embedded_workers)
        return self._embedded.address

    async def _watch(self) -> str:
        """Return, with the reason, once the connection is lost. A silent peer counts as lost too."""
        while True:
            if self._client is None or self._client.status != "running":
                return "the connection was closed"
            try:
                self._receive_capacity(await self._call("airflow_capacity"))
            except asyncio.TimeoutError:
                return f"it has not answered for {PING_TIMEOUT:.0f} s"
            except Exception as error:  # noqa: BLE001 - a call this simple fails only with the connection
                return str(error) or type(error).__name__
            await asyncio.wait({self._failure}, timeout=PING_INTERVAL)
            if self._failure.done():
                return self._failure.result()

    def _receive(self, event: tuple[float, dict[str, Any]]) -> None:
        _, message = event
        if "outcome" in message:
            self._events.append(Outcome(**message["outcome"]))
        elif "capacity" in message:
            self._receive_capacity(message["capacity"])

    def _receive_capacity(self, capacity: dict[str, Any]) -> None:
        self._events.append(Capacity(**capacity))

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await self._close(client)

    @staticmethod
    async def _close(client: Client) -> None:
        try:
            await asyncio.wait_for(client.close(timeout=2), 5)
        except Exception as error:  # noqa: BLE001 - it is given up either way
            log.debug("Closing a Dask client: %s", error)


async def _end(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel tasks until all have ended: before Python 3.12, ``wait_for`` loses a cancel that comes with an answer."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_INTERVAL)
    await asyncio.gather(*tasks, return_exceptions=True)


def _wordless(error: BaseException) -> str:
    """Say what went wrong where the error itself says nothing."""
    return "it has not answered in time" if isinstance(error, asyncio.TimeoutError) else type(error).__name__
