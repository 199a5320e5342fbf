"""
The dispatcher's place on the Dask scheduler: handlers in, messages out.

Built as distributed's own extensions are (its P2P shuffle, for one): a scheduler plugin that adds handlers and
brings its worker plugin along.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.protocol.pickle import dumps

from airflow_eks_dask.worker.dispatcher import Dispatcher, Drained, End, Instruction, Report, Run
from airflow_eks_dask.worker.nanny_plugin import DrainingNannyPlugin
from airflow_eks_dask.worker.protocol import (
    LOG_LIMIT,
    PLUGIN_NAME,
    TOPIC,
    Capacity,
    Outcome,
    Submission,
    WorkerOptions,
)
from airflow_eks_dask.worker.retirement import Retirement
from airflow_eks_dask.worker.worker_plugin import WorkloadWorkerPlugin

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from distributed.scheduler import Scheduler, WorkerState

log = logging.getLogger(__name__)

WAITING_SHOWN = 1_000
LOG_TIMEOUT = 10.0

P = ParamSpec("P")


def _survives_errors(handler: Callable[P, None]) -> Callable[P, None]:
    """Keep an error in one message from closing the stream that all of a worker's messages come through."""

    @wraps(handler)
    def logged(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            handler(*args, **kwargs)
        except Exception:  # an error that ends here costs one message; one that leaves ends the worker
            log.exception("%s failed", handler.__name__)

    return logged


class WorkloadSchedulerPlugin(SchedulerPlugin):
    """
    Runs Airflow workloads on the workers of this Dask cluster.

    :param options: For its workers.
    """

    name = PLUGIN_NAME
    # A second executor, or the same one coming back, must find the workloads of the first.
    idempotent = True

    def __init__(self, options: WorkerOptions) -> None:
        self.worker_plugin = WorkloadWorkerPlugin(options)

    async def start(self, scheduler: Scheduler) -> None:
        """Add the handlers, then put the plugins on every worker and nanny, present and future."""
        self.scheduler = scheduler
        self.dispatcher = Dispatcher()
        self._retirement = Retirement(scheduler, self._start_drain, self._cancel_drain)
        self._launcher_memory: dict[str, int | None] = {}
        self._published = Capacity()
        scheduler.handlers.update(
            {
                "airflow_submit": self.submit,
                "airflow_revoke": self.revoke,
                "airflow_known": self.known,
                "airflow_capacity": self.capacity,
                "airflow_status": self.status,
                "airflow_drain": self.drain,
                "airflow_log": self.log,
                # What Dask itself and its deployment tools call to take workers away.
                "retire_workers": self._retirement.retire_workers,
            }
        )
        scheduler.stream_handlers.update(
            {
                "airflow-worker-ready": _survives_errors(self.worker_ready),
                "airflow-finished": _survives_errors(self.finished),
            }
        )
        await scheduler.register_nanny_plugin(None, dumps(DrainingNannyPlugin()), name=PLUGIN_NAME, idempotent=True)
        await scheduler.register_worker_plugin(None, dumps(self.worker_plugin), name=PLUGIN_NAME, idempotent=True)

    def submit(self, submissions: list[dict[str, Any]]) -> dict[str, Any]:
        """Take a batch of workloads; answer with the capacity left."""
        self._carry_out(self.dispatcher.submit(Submission(**submission) for submission in submissions))
        return asdict(self.dispatcher.capacity)

    def revoke(self, keys: list[str]) -> None:
        """End these workloads."""
        self._carry_out(self.dispatcher.revoke(keys))

    def known(self, keys: list[str], fence: Sequence[str] = ()) -> dict[str, Any]:
        """Tell an executor that was away what became of its workloads; see :meth:`.Dispatcher.known`."""
        present, ended = self.dispatcher.known(keys, fence)
        return {"present": present, "ended": [asdict(outcome) for outcome in ended]}

    def capacity(self) -> dict[str, Any]:
        """Answer with the capacity; also how an executor learns that this scheduler is alive."""
        return asdict(self.dispatcher.capacity)

    def status(self) -> dict[str, Any]:
        """
        Describe workers and workloads, in data that JSON can hold.

        :return: ``workers`` with what they run, what is ``waiting`` (the first thousand, and ``waiting_total``),
            ``capacity``, and ``outcomes``: how many are remembered. Memory is in bytes, time in seconds since 1970.
        """
        ready = {worker["address"]: worker for worker in self.dispatcher.workers()}
        return {
            "workers": [self._worker_status(worker, ready.get(worker.address)) for worker in self._dask_workers()],
            "waiting": self.dispatcher.waiting(WAITING_SHOWN),
            "waiting_total": self.dispatcher.waiting_total,
            "capacity": asdict(self.dispatcher.capacity),
            "outcomes": self.dispatcher.outcomes_kept,
        }

    def drain(self, worker: str, cancel: bool = False) -> dict[str, Any]:
        """
        Have a worker take nothing new, finish what it runs, and then leave, its nanny too.

        :param worker: Its address or name.
        :param cancel: Take that back.
        :return: The worker's ``address`` and its ``state``; or an ``error``, in words for the person who asked.
        """
        known = self._dask_workers()
        address = next((w.address for w in known if str(worker) in (w.address, str(w.name))), None)
        if address is None:
            names = ", ".join(f"{w.name} ({w.address})" for w in known) or "none at all"
            return {"error": f"there is no worker {worker}; there are: {names}"}
        problem = self._retirement.cancel(address) if cancel else self._retirement.drain_and_close(address)
        return {"error": problem} if problem else {"address": address, "state": "running" if cancel else "draining"}

    async def log(self, key: str, offset: int = 0, limit: int = LOG_LIMIT) -> dict[str, Any]:
        """
        Read part of the log of a workload that runs, or has run on a worker that is still there.

        :param offset: Where to start, in bytes.
        :param limit: Bytes at most; no answer holds more than :data:`.protocol.LOG_LIMIT`.
        :return: ``data``, the log's ``size``, the ``offset`` and the ``log_path``; or an ``error``, in words for the
            person who asked.
        """
        try:
            where = self.dispatcher.log(key)
            worker = self.scheduler.rpc(where.worker)
            reading = worker.airflow_read_log(path=where.path, offset=offset, limit=limit)
            answer: dict[str, Any] = await asyncio.wait_for(reading, LOG_TIMEOUT)
        except LookupError as error:
            return {"error": str(error)}
        except asyncio.TimeoutError:
            return {"error": f"the worker at {where.worker} did not answer within {LOG_TIMEOUT:g} s; try again"}
        except OSError as error:
            return {"error": f"the worker at {where.worker} could not be asked: {error}"}
        return answer if "error" in answer else {**answer, "log_path": where.path, "worker": where.worker}

    def worker_ready(
        self,
        worker: str,
        *,
        name: str,
        slots: int,
        running: list[str],
        queues: list[str],
        resources: dict[str, float],
        draining: bool,
        launcher_memory: int | None,
    ) -> None:
        """Note what a worker offers; a worker that says it is draining leaves by itself."""
        if worker not in self.scheduler.workers:
            return
        self._launcher_memory[worker] = launcher_memory
        if draining:
            self._retirement.leaves_by_itself(worker)
        offer = self.dispatcher.worker_ready(
            worker, name, slots, queues=queues, resources=resources, draining=draining, running=running
        )
        self._carry_out(offer)

    def finished(self, worker: str, key: str, success: bool, reason: str | None) -> None:
        """Note how a workload ended."""
        self._carry_out(self.dispatcher.finished(Outcome(key, success, reason, worker)))

    def remove_worker(self, scheduler: Scheduler, worker: str, **kwargs: Any) -> None:
        """Report what the worker was running as lost."""
        self._launcher_memory.pop(worker, None)
        self._carry_out(self.dispatcher.worker_lost(worker))
        self._retirement.gone(worker)

    def valid_workers_downscaling(self, scheduler: Scheduler, workers: list[WorkerState]) -> list[WorkerState]:
        """Keep adaptive scaling from closing a worker that runs a workload."""
        busy = self.dispatcher.busy_workers
        return [worker for worker in workers if worker.address not in busy]

    def _dask_workers(self) -> list[WorkerState]:
        return list(self.scheduler.workers.values())

    def _worker_status(self, worker: WorkerState, ready: dict[str, Any] | None) -> dict[str, Any]:
        starting = {"slots": 0, "free": 0, "queues": [], "resources": {}, "state": "starting", "running": []}
        memory = self._launcher_memory.get(worker.address)
        status = {"address": worker.address, **starting, **(ready or {}), "name": str(worker.name)}
        slots = status["slots"]
        return {
            **status,
            "host": worker.host,
            "launcher_memory": memory,
            "idle_memory_per_slot": memory // slots if memory and slots else None,
        }

    def _start_drain(self, address: str) -> None:
        if self.dispatcher.find_worker(address) is None:  # its launcher is not ready yet
            name = str(self.scheduler.workers[address].name)
            self._carry_out(self.dispatcher.worker_ready(address, name, 0, queues=(), draining=True))
        else:
            self._carry_out(self.dispatcher.drain(address))

    def _cancel_drain(self, address: str) -> None:
        self._carry_out(self.dispatcher.cancel_drain(address))

    def _carry_out(self, instructions: list[Instruction]) -> None:
        to_workers: dict[str, list[dict[str, Any]]] = {}
        for instruction in instructions:
            match instruction:
                case Run(worker, submission):
                    message = {"op": "airflow-run", "key": submission.key, "payload": submission.payload}
                    to_workers.setdefault(worker, []).append(message)
                case End(worker, key):
                    to_workers.setdefault(worker, []).append({"op": "airflow-end", "key": key})
                case Report(outcome):
                    self.scheduler.log_event(TOPIC, {"outcome": asdict(outcome)})
                case Drained(worker):
                    self._retirement.drained(worker)
        self.scheduler.send_all({}, to_workers)
        if (capacity := self.dispatcher.capacity) != self._published:
            self._published = capacity
            self.scheduler.log_event(TOPIC, {"capacity": asdict(capacity)})
