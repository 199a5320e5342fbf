"""Whether a Dask cluster can run the tasks of this Airflow, found out by asking it."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
import time
from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_eks_dask.hooks.dask import AIRFLOW, PACKAGE, local_versions, plain_versions, version_differences
from airflow_eks_dask.worker import probe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence

    from distributed import Client

    from airflow_eks_dask.endpoint import Endpoint
    from airflow_eks_dask.worker.protocol import WorkerOptions

log = logging.getLogger(__name__)

T = TypeVar("T")

ON_SCHEDULER = ("python", "dask", "distributed", PACKAGE)
ON_WORKERS = (*ON_SCHEDULER, AIRFLOW)
ASKED = [PACKAGE, AIRFLOW]
"""What Dask does not tell of itself."""

CONNECT_TIMEOUT = 10.0
CALL_TIMEOUT = 30.0
ROUND_TRIP_TIMEOUT = 120.0
RETRY_DELAY, RETRY_DELAY_LIMIT = 1.0, 15.0
UNREACHABLE_AFTER = 60.0
"""Seconds without a connection after which nothing runs on a cluster: its workers end with its scheduler."""

REPEAT_AFTER = 60.0
"""Seconds after which the same line of progress is logged again."""


class DaskClusterError(Exception):
    """A Dask cluster cannot run the tasks of this Airflow; the message says why and what to do."""


class DaskUnreachableError(DaskClusterError):
    """There was no connection for as long as it was tried."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """
    What is asked of a Dask cluster.

    :param endpoint: Where it is.
    :param options: For its workers, the same as the executor's.
    :param minimum_slots: How many Airflow workloads it has to be able to run at a time.
    :param timeout: Seconds until it has to be so.
    :param poll_interval: Seconds between two looks.
    :param execution_api: Whether its workers have to reach Airflow's execution API.
    """

    endpoint: Endpoint
    options: WorkerOptions
    minimum_slots: int = 1
    timeout: float = 600
    poll_interval: float = 2
    execution_api: bool = True


@dataclass(frozen=True, kw_only=True)
class Checked:
    """
    What was found.

    :param address: Of the Dask scheduler.
    :param versions: Of its packages, by name.
    :param workers: Names of the workers that are ready.
    :param slots: How many Airflow workloads they run at a time.
    :param seconds: What a round trip through all of them took.
    """

    address: str
    versions: dict[str, str | None]
    workers: list[str]
    slots: int
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return it as data that JSON can hold. There is no secret in it."""
        return asdict(self)


def run(check: Check) -> Checked:
    """
    Find out whether a cluster can run tasks, waiting for it to come up.

    Its scheduler gets the plugin that the executor brings, so that its workers warm up and offer slots; an executor
    that comes later finds it there. Then a function goes to each worker and back.

    :raises DaskClusterError: It cannot, or is not ready in time.
    """
    deadline = time.monotonic() + check.timeout
    return asyncio.run(_until_connected(check.endpoint, deadline, lambda client: _examine(client, check, deadline)))


def wait_for_executor(endpoint: Endpoint, *, present: bool, timeout: float, poll_interval: float = 2) -> None:
    """
    Wait until an executor is connected to a cluster, or none is any more.

    :param endpoint: Where the cluster is.
    :param present: Whether to wait for its coming; else for its going, which is when all that it runs there has ended.
    :param timeout: Seconds.
    :raises DaskUnreachableError: The cluster is not reached; if it is about its going, not for a minute.
    :raises DaskClusterError: Not in time.
    """
    deadline = time.monotonic() + timeout
    asyncio.run(
        _until_connected(
            endpoint,
            deadline,
            lambda client: _watch_executors(client, present, deadline, poll_interval),
            patience=timeout if present else min(timeout, UNREACHABLE_AFTER),
        )
    )


async def _until_connected(
    endpoint: Endpoint,
    deadline: float,
    work: Callable[[Client], Coroutine[Any, Any, T]],
    patience: float = float("inf"),
) -> T:
    """
    Do something with a client, again after lost connections, until it is done or time is over.

    :param patience: Seconds without a connection after which it is given up.
    """
    delay, progress = RETRY_DELAY, _Progress()
    give_up = min(deadline, time.monotonic() + patience)
    while True:
        try:
            async with _connected(endpoint) as client:
                delay, give_up = RETRY_DELAY, deadline
                return await work(client)
        except (OSError, asyncio.TimeoutError) as error:
            reason = str(error) or f"the Dask scheduler at {endpoint.address} has not answered in time"
        give_up = min(give_up, time.monotonic() + patience)
        if time.monotonic() + delay > give_up:
            raise DaskUnreachableError(f"{reason}. It was tried again until the time was over") from None
        progress.tell(f"Not yet, will try again: {reason}")
        await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - jitter
        delay = min(2 * delay, RETRY_DELAY_LIMIT)


@asynccontextmanager
async def _connected(endpoint: Endpoint) -> AsyncIterator[Client]:
    client = await endpoint.connect_async(timeout=CONNECT_TIMEOUT, name="airflow-check")
    try:
        yield client
    finally:
        try:
            await asyncio.wait_for(client.close(timeout=2), 5)
        except Exception as error:  # noqa: BLE001 - nothing depends on it any more
            log.debug("Closing a Dask client: %s", error)


async def _examine(client: Client, check: Check, deadline: float) -> Checked:
    from airflow_eks_dask.worker.scheduler_plugin import WorkloadSchedulerPlugin

    scheduler: Any = client.scheduler
    here = await asyncio.to_thread(local_versions)
    there = plain_versions((await _within(scheduler.versions(packages=ASKED)))["packages"])
    if differences := version_differences(here, there, ON_SCHEDULER):
        raise _mismatch(check.endpoint, {"its scheduler": differences})
    # Dask can't send what the versions above don't agree about.
    await _within(client.register_plugin(WorkloadSchedulerPlugin(check.options)))
    ready = await _slots(scheduler, check, here, deadline)
    started = time.monotonic()
    await _round_trip(client, check, ready)
    return Checked(
        address=check.endpoint.address,
        versions={package: there.get(package) for package in ON_WORKERS},
        workers=sorted(worker["name"] for worker in ready),
        slots=sum(worker["slots"] for worker in ready),
        seconds=round(time.monotonic() - started, 3),
    )


async def _slots(scheduler: Any, check: Check, here: Mapping[str, str | None], deadline: float) -> list[dict[str, Any]]:
    """Return the workers that are ready, once they have slots enough."""
    progress = _Progress()
    while True:
        await _compare_workers(scheduler, check.endpoint, here)
        workers = (await _status(scheduler))["workers"]
        ready = [worker for worker in workers if worker["slots"] and worker["state"] == "running"]
        slots = sum(worker["slots"] for worker in ready)
        if ready and slots >= check.minimum_slots:
            log.info("%d workers are ready, with %d slots", len(ready), slots)
            return ready
        said = f"{len(workers)} workers, {len(ready)} of them ready, with {slots} of {check.minimum_slots} slots"
        if time.monotonic() > deadline:
            raise DaskClusterError(
                f"Dask cluster at {check.endpoint.address}: {said} when the time was over. "
                + (
                    "The logs of its workers say why they are not ready"
                    if workers
                    else "No worker has come: do they know its address, and have certificates of its authority?"
                )
            )
        progress.tell(f"Waiting for slots: {said}")
        await asyncio.sleep(check.poll_interval)


async def _status(scheduler: Any) -> dict[str, Any]:
    status = await _within(scheduler.airflow_status())
    if status is None:  # what Dask answers to a call it does not know
        raise ConnectionError("The Dask scheduler has been started anew meanwhile")
    return dict(status)


async def _compare_workers(scheduler: Any, endpoint: Endpoint, here: Mapping[str, str | None]) -> None:
    message = {"op": "versions", "packages": ASKED}
    answers = await _within(scheduler.broadcast(msg=message, on_error="ignore"))
    found = {
        f"worker {address}": differences
        for address, versions in answers.items()
        if versions and (differences := version_differences(here, plain_versions(versions["packages"]), ON_WORKERS))
    }
    if found:
        raise _mismatch(endpoint, found)


async def _round_trip(client: Client, check: Check, workers: Sequence[Mapping[str, Any]]) -> None:
    """Send a function to each worker and compare what comes back."""
    token = secrets.token_hex(8)
    futures = {
        worker["name"]: client.submit(
            probe.answer,
            token,
            check.execution_api,
            key=f"airflow-check-{token}-{number}",
            workers=[worker["address"]],
            allow_other_workers=False,
            pure=False,
            priority=1_000,
        )
        for number, worker in enumerate(workers)
    }
    try:
        answers = await asyncio.wait_for(client.gather(list(futures.values())), ROUND_TRIP_TIMEOUT)
    except asyncio.TimeoutError:
        late = ", ".join(name for name, future in futures.items() if not future.done())
        raise DaskClusterError(
            f"Dask cluster at {check.endpoint.address}: a function sent to its workers has not come back within "
            f"{ROUND_TRIP_TIMEOUT:g} s from {late}. Are all of their threads taken?"
        ) from None
    wrong = [name for name, said in zip(futures, answers, strict=True) if said["token"] != token]
    if wrong:
        raise DaskClusterError(f"Dask cluster at {check.endpoint.address}: {', '.join(wrong)} answered nonsense")
    unreached = [
        f"worker {name} on {said['host']}: {said['problem']}"
        for name, said in zip(futures, answers, strict=True)
        if said["problem"]
    ]
    if unreached:
        raise DaskClusterError(
            f"Workers of the Dask cluster at {check.endpoint.address} do not reach Airflow's execution API, without "
            "which no task runs: " + "; ".join(unreached) + ". Set [core] execution_api_server_url where they run"
        )


async def _watch_executors(client: Client, present: bool, deadline: float, poll_interval: float) -> None:
    progress, scheduler = _Progress(), client.scheduler
    while True:
        connected = await _within(client.run_on_scheduler(probe.executors))
        if bool(connected) is present:
            return
        said = "no executor has connected yet" if present else await _still_running(scheduler)
        if time.monotonic() > deadline:
            raise DaskClusterError(f"When the time was over, {said}")
        progress.tell(f"Waiting: {said}")
        await asyncio.sleep(poll_interval)


async def _still_running(scheduler: Any) -> str:
    status = await _within(scheduler.airflow_status())
    running = sum(len(worker["running"]) for worker in status["workers"]) if status else 0
    return f"an executor was still connected; {running} workloads ran there"


async def _within(work: Any) -> Any:
    return await asyncio.wait_for(work, CALL_TIMEOUT)


def _mismatch(endpoint: Endpoint, found: Mapping[str, Sequence[str]]) -> DaskClusterError:
    by_difference: dict[str, list[str]] = defaultdict(list)
    for place, differences in found.items():
        by_difference[", ".join(differences)].append(place)
    said = "; ".join(f"{', '.join(places)}: {what}" for what, places in by_difference.items())
    return DaskClusterError(
        f"Versions differ between this Airflow and the Dask cluster at {endpoint.address}: {said}. Install the same "
        "on both sides: with an image, the one of this version of airflow-eks-dask"
    )


class _Progress:
    """Logs a line when it is news, or has not been logged for a while."""

    def __init__(self) -> None:
        self._line, self._at = "", 0.0

    def tell(self, line: str) -> None:
        now = time.monotonic()
        if line != self._line or now - self._at > REPEAT_AFTER:
            log.info("%s", line)
            self._line, self._at = line, now
