"""The executor: Airflow's contract on one side, the link to a Dask cluster on the other."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.configuration import conf
from airflow.executors.base_executor import BaseExecutor

from airflow_eks_dask import compat
from airflow_eks_dask.executors import in_flight
from airflow_eks_dask.executors.settings import DaskSettings
from airflow_eks_dask.worker.protocol import Capacity, Outcome, Submission

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow.models.taskinstance import TaskInstance

    from airflow_eks_dask.executors.cluster_link import ClusterLink, Event

_CALLBACK_PRIORITY = 2**31
"""Callbacks and connection tests go before tasks, as with the executors Airflow ships."""


class _WhenEmbedded:
    """
    A class attribute that is true while no cluster address is configured.

    Airflow asks the class, not an instance: ``airflow standalone`` would replace an executor that is not local, and
    the scheduler serves the logs of one whose tasks run beside it.
    """

    def __get__(self, instance: object, owner: type) -> bool:
        return not conf.get("dask", "cluster_address", fallback="")


class DaskExecutor(BaseExecutor):
    """
    Runs Airflow's workloads on a Dask cluster.

    Without an address in ``[dask] cluster_address`` it starts a cluster of its own on this machine.

    :param parallelism: How many workloads may be in flight, whatever the cluster offers.
    :param team_name: Team whose configuration applies.
    """

    is_local = _WhenEmbedded()
    serve_logs = _WhenEmbedded()
    supports_callbacks = True
    supports_connection_test = True
    pre_assigns_external_executor_id: ClassVar[bool] = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._link: ClusterLink | None = None
        self._in_flight: in_flight.InFlight[Any] = in_flight.InFlight()
        self._capacity = Capacity()

    def start(self) -> None:
        """
        Start connecting to the cluster; tasks wait until it is there.

        :raises AirflowConfigException: The configuration can't work.
        """
        # The API server and the command line make an executor too, and never start it.
        from airflow_eks_dask.executors.cluster_link import ClusterLink

        self._settings = DaskSettings.from_configuration(self.conf)
        self._link = ClusterLink(self._settings)
        self._link.start()

    @property
    def slots_available(self) -> int:
        """Workloads the cluster can start now: what waits beyond that waits in Airflow, by priority."""
        queued = int(super().slots_occupied) - len(self.running)
        return max(0, min(int(super().slots_available), self._capacity.free - self._in_flight.unconfirmed - queued))

    def sync(self) -> None:
        """Take in what happened on the cluster since the last heartbeat."""
        if self._link is None:
            return
        try:
            for event in self._link.events():
                self._carry_out(self._handle(event))
        except Exception:  # it would end the Airflow scheduler, which calls this without a guard
            self.log.exception("DaskExecutor could not take in what happened on the cluster")

    def _process_workloads(self, workload_items: Sequence[Any]) -> None:
        submissions: dict[Any, Submission] = {}
        for workload in workload_items:
            key = compat.workload_key(workload)
            try:
                submissions[key] = self._submission(workload)
            except Exception as error:  # one that cannot be written down must not end the Airflow scheduler
                self.log.exception("Workload %s could not be submitted", key)
                self.fail(key, f"it could not be submitted to Dask: {error}")
            compat.forget_queued(self, key)
        self.running.update(submissions)
        self._carry_out(self._in_flight.submit(submissions))

    def _submission(self, workload: Any) -> Submission:
        priority = workload.ti.priority_weight if hasattr(workload, "ti") else _CALLBACK_PRIORITY
        payload = workload.model_dump_json().encode()
        external_id = compat.external_id(workload)
        if external_id is None:  # queued by something other than the scheduler
            external_id = str(uuid.uuid4())
            self.running_state(compat.workload_key(workload), external_id)
        return Submission(external_id, payload, priority)

    def _handle(self, event: Event) -> list[in_flight.Instruction[Any]]:
        from airflow_eks_dask.executors import cluster_link

        match event:
            case Outcome():
                return self._in_flight.ended(event)
            case Capacity():
                self._capacity = event
            case cluster_link.Confirmed(keys):
                self._in_flight.confirmed(keys)
            case cluster_link.Answered(asked, present, ended):
                return self._in_flight.answered(asked, present, ended)
            case cluster_link.Connected():
                return self._in_flight.connected()
            case cluster_link.Disconnected():
                self._capacity = Capacity()
        return []

    def _carry_out(self, instructions: Iterable[in_flight.Instruction[Any]]) -> None:
        for instruction in instructions:
            match instruction:
                case in_flight.Report(workload, True, _):
                    self.success(workload)
                case in_flight.Report(workload, False, reason):
                    self.log.error("Workload %s failed: %s", workload, reason)
                    self.fail(workload, reason)
                case in_flight.Send(submissions) if self._link:
                    self._link.submit(submissions)
                case in_flight.Ask(keys) if self._link:
                    self._link.ask(keys)
                case in_flight.Revoke(keys) if self._link:
                    self._link.revoke(keys)

    def revoke_task(self, *, ti: TaskInstance) -> None:
        """End a task on the cluster, or keep it from starting there. Nothing is reported for it."""
        compat.forget_queued(self, ti.key)
        self.running.discard(ti.key)
        self._carry_out(self._in_flight.revoke(ti.key))

    def try_adopt_task_instances(self, tis: Sequence[TaskInstance]) -> Sequence[TaskInstance]:
        """
        Take over tasks of an Airflow scheduler that is gone, where the cluster may still run them.

        :return: Those that cannot be taken over: all of an embedded cluster, which ended with its Airflow scheduler.
        """
        if self._link is None or self._settings.is_embedded:
            return tis
        adopted = {ti.key: ti.external_executor_id for ti in tis if ti.external_executor_id}
        self.running.update(adopted)
        self._carry_out(self._in_flight.adopt(adopted))
        return [ti for ti in tis if ti.key not in adopted]

    def end(self) -> None:
        """Let the tasks of an embedded cluster finish, for a while; those of another cluster run on."""
        if self._link is None:
            return
        deadline = time.monotonic() + self._settings.shutdown_timeout
        if self._settings.is_embedded and self._in_flight:
            self.log.info(
                "Waiting up to %.0f s for %d workloads", self._settings.shutdown_timeout, len(self._in_flight)
            )
            while self._in_flight and time.monotonic() < deadline:
                time.sleep(0.1)
                self.sync()
        self.terminate()

    def terminate(self) -> None:
        """Let go of the cluster at once, and end it if it is the embedded one."""
        if self._link is not None:
            self._link.stop()
            self._link = None
