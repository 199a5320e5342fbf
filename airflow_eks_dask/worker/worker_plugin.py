"""The plugin that lets a Dask worker run Airflow workloads."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from distributed.core import Status
from distributed.diagnostics.plugin import WorkerPlugin

from airflow_eks_dask.worker import log_file
from airflow_eks_dask.worker.departure import Departure
from airflow_eks_dask.worker.launcher_process import Description, Ended, LauncherProcess
from airflow_eks_dask.worker.protocol import PLUGIN_NAME, SLOTS_RESOURCE, WorkerOptions
from airflow_eks_dask.worker.stop_signals import StopSignals, is_dask_command, is_left_to_default

if TYPE_CHECKING:
    import signal
    from collections.abc import Coroutine

    from distributed.security import Security
    from distributed.worker import Worker

log = logging.getLogger(__name__)

END_GRACE = 10.0
"""Seconds a workload has to end by itself when asked to."""

LAST_GRACE = 3.0
"""Seconds it has when its worker leaves and has waited already."""

RESTART_DELAY, RESTART_DELAY_LIMIT = 1.0, 60.0


def environment_of_workloads(worker_environment: dict[str, str], address: str, security: Security) -> dict[str, str]:
    """
    Make the environment that workloads run in.

    :param worker_environment: The Dask worker's own.
    :param address: Of the Dask scheduler, where :func:`airflow_eks_dask.get_client` and a plain
        ``distributed.Client()`` find it.
    :param security: The worker's TLS files, which such a client shows too.
    """
    environment = {
        **worker_environment,
        "DASK_SCHEDULER_ADDRESS": address,
        "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_ENABLED": "False",
    }
    # Set by an Airflow scheduler that started this worker; workloads would look for secrets in its database.
    environment.pop("_AIRFLOW_PROCESS_CONTEXT", None)
    files = {
        "DASK_DISTRIBUTED__COMM__TLS__CA_FILE": security.tls_ca_file,  # type: ignore[attr-defined]
        "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT": security.tls_worker_cert,  # type: ignore[attr-defined]
        "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY": security.tls_worker_key,  # type: ignore[attr-defined]
    }
    # distributed accepts certificates and keys as text too, and those have no place in an environment.
    return environment | {variable: path for variable, path in files.items() if path and "\n" not in path}


class WorkloadWorkerPlugin(WorkerPlugin):
    """
    Keeps a warm launcher beside the worker and runs workloads through it.

    :param options: What the executor asks for.
    """

    name = PLUGIN_NAME
    idempotent = True

    def __init__(self, options: WorkerOptions) -> None:
        self.options = options

    def setup(self, worker: Worker) -> None:
        """Add the handlers and start the launcher; slots are offered when it is warm."""
        self.worker = worker
        self._launcher: LauncherProcess | None = None
        self._description = Description()
        self._offered = 0
        self._background: set[asyncio.Task[None]] = set()
        self._departure = Departure(str(worker.name), self.options.drain_timeout, self._announce, self._end_all)
        worker.stream_handlers.update(
            {"airflow-run": self.run, "airflow-end": self.end, "airflow-drained": self._departure.drained}
        )
        worker.handlers.update({"airflow_leave": self.leave, "airflow_read_log": self.read_log})
        self._signals = self._watch_signals()
        self._keeper = asyncio.ensure_future(self._keep_launcher())

    async def teardown(self, worker: Worker) -> None:
        """End the launcher and what it runs."""
        # Dask's own handlers would cut short the end of a worker that closes already, and it would never come.
        if self._signals is not None and not self._is_ending:
            self._signals.uninstall()
        self._keeper.cancel()
        with suppress(asyncio.CancelledError):
            await self._keeper
        if self._launcher is not None:
            await self._launcher.close(f"its worker {worker.name} was closed while running it")
            # How they ended is told before the stream to the Dask scheduler is closed.
            if self._background:
                await asyncio.wait(self._background, timeout=LAST_GRACE)

    def run(self, key: str, payload: bytes) -> None:
        """Run a workload (message from the Dask scheduler)."""
        self._in_background(self._run(key, payload))

    def end(self, key: str) -> None:
        """End a workload (message from the Dask scheduler)."""
        if self._launcher is not None:
            self._in_background(self._launcher.end(key, END_GRACE, "ended at Airflow's request"))

    async def leave(self, at_once: bool = False, wait: float = 0) -> bool:
        """
        Take nothing new and let what runs finish (call by the nanny, which then closes this worker).

        :param at_once: Whether to end what runs instead.
        :param wait: Seconds to wait for that.
        :return: Whether nothing runs any more and the Dask scheduler knows how everything ended.
        """
        self._departure.start()
        if at_once:
            self._departure.hurry()
        return await self._departure.done(wait)

    async def read_log(self, path: str, offset: int, limit: int) -> dict[str, Any]:
        """Read part of a workload's log, as :func:`.log_file.read` does (call by the Dask scheduler)."""
        folder = self._description.log_folder
        if folder is None:
            return {"error": f"worker {self.worker.name} knows no log folder: its launcher has not been ready yet"}
        try:
            return await asyncio.to_thread(log_file.read, Path(folder), path, offset, limit)
        except ValueError as error:
            return {"error": str(error)}
        except OSError as error:
            return {"error": f"log {path!r} could not be read on worker {self.worker.name}: {error.strerror}"}

    async def _run(self, key: str, payload: bytes) -> None:
        if self._launcher is None:
            ended = Ended(False, "the launcher of its worker had just ended")
        else:
            ended = await self._launcher.run(key, payload)
        self._tell("airflow-finished", key=key, success=ended.success, reason=ended.reason)

    async def _keep_launcher(self) -> None:
        delay = RESTART_DELAY
        while True:
            try:
                self._launcher = await LauncherProcess.start(self._environment(), self.options)
            except (OSError, RuntimeError, ValueError, asyncio.TimeoutError) as error:
                log.error("The launcher of workloads did not start: %s. Next try in %.0f s.", error, delay)
            else:
                self._description = self._launcher.description
                log.info(
                    "Ready for Airflow workloads: %d slots, queues %s, launcher pid %d",
                    self._slots(),
                    ", ".join(self._queues()),
                    self._launcher.pid,
                )
                delay = RESTART_DELAY
                self._offer(self._slots())
                exit_code = await self._launcher.wait()
                self._launcher = None
                self._offer(0)
                log.error("The launcher of workloads ended with %d. Next start in %.0f s.", exit_code, delay)
            await asyncio.sleep(delay * random.uniform(0.5, 1))  # noqa: S311 - jitter
            delay = min(delay * 2, RESTART_DELAY_LIMIT)

    def _slots(self) -> int:
        own = self.worker.state.total_resources.get(SLOTS_RESOURCE)
        return int(own or self.options.slots or 2 * self.worker.state.nthreads)

    def _queues(self) -> tuple[str, ...]:
        return self._description.queues or (self.options.default_queue,)

    def _offer(self, slots: int) -> None:
        self._offered = slots
        resources = self.worker.state.total_resources
        self._tell(
            "airflow-worker-ready",
            name=str(self.worker.name),
            slots=slots,
            running=list(self._launcher.running) if self._launcher else [],
            queues=self._queues(),
            resources={name: amount for name, amount in resources.items() if name != SLOTS_RESOURCE},
            draining=self._departure.started,
            launcher_memory=self._description.memory,
        )

    def _announce(self) -> None:
        self._offer(self._offered)

    def _end_all(self, reason: str) -> None:
        if self._launcher is not None:
            for key in list(self._launcher.running):
                self._in_background(self._launcher.end(key, LAST_GRACE, reason))

    def _watch_signals(self) -> StopSignals | None:
        # A process that hosts workers among other things keeps its handlers.
        if not is_dask_command() and not (self.worker.nanny and is_left_to_default()):
            return None
        signals = StopSignals(asyncio.get_running_loop(), self._heard, pass_on=False)
        signals.install()
        return signals

    @property
    def _is_ending(self) -> bool:
        """Whether the process ends with the worker, which closes: because the Dask scheduler does, for example."""
        return self.worker.nanny is None and self.worker.status in (Status.closing, Status.closed)

    def _heard(self, number: signal.Signals, times: int) -> None:
        if self._is_ending:
            log.info("%s: closing already.", number.name)
        elif times > 1:
            self._departure.hurry()
        else:
            log.info("%s: closing when the Airflow workloads have ended. Once more: at once.", number.name)
            self._in_background(self._leave_and_close(number.name))

    async def _leave_and_close(self, reason: str) -> None:
        self._departure.start()
        await self._departure.done()
        # Closing waits for this plugin's background work, and so must not be part of it.
        self._closing = asyncio.ensure_future(self.worker.close(nanny=False, reason=reason))

    def _environment(self) -> dict[str, str]:
        address = self.worker.scheduler.address
        return environment_of_workloads(dict(os.environ), address, self.worker.security)

    def _tell(self, operation: str, **message: Any) -> None:
        self.worker.batched_send({"op": operation, **message})

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._background.add(task)  # the event loop alone would not keep it alive
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._background.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("A workload could not be handled", exc_info=error)
