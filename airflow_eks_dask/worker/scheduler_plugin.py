"""
The dispatcher's place on the Dask scheduler: handlers in, messages out.

Built as distributed's own extensions are (its P2P shuffle, for one): a scheduler plugin that adds handlers and
brings its worker plugin along.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.protocol.pickle import dumps

from airflow_eks_dask.worker.dispatcher import Dispatcher, End, Instruction, Report, Run
from airflow_eks_dask.worker.protocol import PLUGIN_NAME, TOPIC, Capacity, Outcome, Submission, WorkerOptions
from airflow_eks_dask.worker.worker_plugin import WorkloadWorkerPlugin

if TYPE_CHECKING:
    from collections.abc import Callable

    from distributed.scheduler import Scheduler, WorkerState

log = logging.getLogger(__name__)

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
        """Add the handlers, then put the worker plugin on every worker, present and future."""
        self.scheduler = scheduler
        self.dispatcher = Dispatcher()
        self._published = Capacity()
        scheduler.handlers.update(
            {
                "airflow_submit": self.submit,
                "airflow_revoke": self.revoke,
                "airflow_known": self.known,
                "airflow_capacity": self.capacity,
            }
        )
        scheduler.stream_handlers.update(
            {
                "airflow-worker-ready": _survives_errors(self.worker_ready),
                "airflow-finished": _survives_errors(self.finished),
            }
        )
        await scheduler.register_worker_plugin(None, dumps(self.worker_plugin), name=PLUGIN_NAME, idempotent=True)

    def submit(self, submissions: list[dict[str, Any]]) -> dict[str, Any]:
        """Take a batch of workloads; answer with the capacity left."""
        self._carry_out(self.dispatcher.submit(Submission(**submission) for submission in submissions))
        return asdict(self.dispatcher.capacity)

    def revoke(self, keys: list[str]) -> None:
        """End these workloads."""
        self._carry_out(self.dispatcher.revoke(keys))

    def known(self, keys: list[str]) -> dict[str, Any]:
        """Tell an executor that was away what became of its workloads."""
        present, ended = self.dispatcher.known(keys)
        return {"present": present, "ended": [asdict(outcome) for outcome in ended]}

    def capacity(self) -> dict[str, Any]:
        """Answer with the capacity; also how an executor learns that this scheduler is alive."""
        return asdict(self.dispatcher.capacity)

    def worker_ready(self, worker: str, name: str, slots: int, running: list[str]) -> None:
        """Note a worker's slots."""
        if worker in self.scheduler.workers:
            self._carry_out(self.dispatcher.worker_ready(worker, name, slots, running))

    def finished(self, worker: str, key: str, success: bool, reason: str | None) -> None:
        """Note how a workload ended."""
        self._carry_out(self.dispatcher.finished(Outcome(key, success, reason, worker)))

    def remove_worker(self, scheduler: Scheduler, worker: str, **kwargs: Any) -> None:
        """Report what the worker was running as lost."""
        self._carry_out(self.dispatcher.worker_lost(worker))

    def valid_workers_downscaling(self, scheduler: Scheduler, workers: list[WorkerState]) -> list[WorkerState]:
        """Keep adaptive scaling from closing a worker that runs a workload."""
        busy = self.dispatcher.busy_workers
        return [worker for worker in workers if worker.address not in busy]

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
        self.scheduler.send_all({}, to_workers)
        if self.dispatcher.capacity != self._published:
            self._published = self.dispatcher.capacity
            self.scheduler.log_event(TOPIC, {"capacity": asdict(self._published)})
