"""The executor: Airflow's contract on one side, the lanes and their clusters on the other."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.configuration import conf
from airflow.executors.base_executor import BaseExecutor
from airflow.utils.state import TaskInstanceState

from airflow_eks_dask import compat
from airflow_eks_dask.executors import requirements, task_log
from airflow_eks_dask.executors.changes import QUEUE_NOT_SERVED, Journal
from airflow_eks_dask.executors.in_flight import Adoption, Release, Report
from airflow_eks_dask.executors.settings import DEFAULT_LANE, DaskSettings
from airflow_eks_dask.worker.protocol import Submission

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow.models.taskinstance import TaskInstance

    from airflow_eks_dask.endpoint import Endpoint
    from airflow_eks_dask.executors.cluster import Cluster
    from airflow_eks_dask.executors.lanes import Lanes

_CALLBACK_PRIORITY = 2**31
"""Callbacks and connection tests go before tasks, as with the executors Airflow ships."""

_ADOPTION_TIMEOUT = 10.0
"""Seconds to wait for what clusters know of tasks that are to be adopted; the Airflow scheduler waits too."""


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
    Runs Airflow's workloads on Dask clusters.

    Where they are: ``[dask] cluster_address``; else the connection ``[dask] connection_id``; else the executor starts
    an embedded cluster on this machine.

    :param parallelism: How many workloads may be in flight, whatever the clusters offer.
    :param team_name: Team whose configuration applies.
    """

    is_local = _WhenEmbedded()
    serve_logs = _WhenEmbedded()
    supports_callbacks = True
    supports_connection_test = True
    supports_multi_team = True
    pre_assigns_external_executor_id: ClassVar[bool] = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The API server and the command line make an executor too, and never start it.
        self._lanes: Lanes[Any] | None = None
        self._kept_events: list[Any] = []
        self._journal = Journal(type(self).__name__)

    def start(self) -> None:
        """
        Start connecting to the clusters; tasks wait until they are there.

        :raises AirflowConfigException: The configuration can't work.
        """
        from airflow_eks_dask.executors.connection_watch import ConnectionWatch
        from airflow_eks_dask.executors.demand import DemandWatch
        from airflow_eks_dask.executors.lanes import Lanes

        self._settings = settings = DaskSettings.from_configuration(self.conf)
        self._demand = DemandWatch()
        self._lanes = Lanes(settings.lanes, settings.default_queue, self._new_cluster)
        connections = dict(settings.lanes)
        if settings.endpoint is not None:
            self._lanes.point(DEFAULT_LANE, settings.endpoint)
        elif settings.connection_id:
            connections[DEFAULT_LANE] = settings.connection_id
        self._connections = ConnectionWatch(connections, settings.connection_check_interval)
        self._connections.start()
        self._follow_connections()
        if not self._lanes.knows(DEFAULT_LANE):
            self._lanes.point(DEFAULT_LANE, None)

    def _new_cluster(self, endpoint: Endpoint | None) -> Cluster[Any]:
        from airflow_eks_dask.executors.cluster import Cluster, cluster_name
        from airflow_eks_dask.executors.cluster_link import ClusterLink
        from airflow_eks_dask.executors.log_keeper import LogKeeper

        ships = endpoint and self._settings.ship_logs and not conf.getboolean("logging", "remote_logging")
        folder, limit = Path(conf.get_mandatory_value("logging", "base_log_folder")), self._settings.ship_logs * 2**20
        link = ClusterLink(endpoint, self._settings, LogKeeper(folder, int(limit)) if ships else None)
        return Cluster(cluster_name(endpoint), link, self._settings.reconnect_timeout)

    def _follow_connections(self) -> None:
        if self._lanes is None:
            return
        for lane, whereabouts in self._connections.news().items():
            if whereabouts.endpoint is not None or lane == DEFAULT_LANE:
                self._lanes.point(lane, whereabouts.endpoint)
            else:
                self._lanes.forget(lane)

    @property
    def slots_available(self) -> int:
        """Workloads the clusters can start now: what waits beyond that waits in Airflow, by priority."""
        if self._lanes is None:
            return int(super().slots_available)
        queued = int(super().slots_occupied) - len(self.running)
        return max(0, min(int(super().slots_available), self._lanes.room(self._demand.counts) - queued))

    def sync(self) -> None:
        """Take in what happened on the clusters since the last heartbeat."""
        if self._lanes is None:
            return
        try:
            self._follow_connections()
            self._tell_airflow(self._lanes.sync())
            self._write_audit_log(self._lanes)
            self._emit_gauges(self._lanes)
        except Exception:  # it would end the Airflow scheduler, which calls this without a guard
            self.log.exception("DaskExecutor could not take in what happened on the clusters")

    def _process_workloads(self, workload_items: Sequence[Any]) -> None:
        if self._lanes is None:
            return
        by_lane: dict[str, dict[Any, Submission]] = {}
        for workload in workload_items:
            key = compat.workload_key(workload)
            try:
                lane, submission = self._submission(self._lanes, workload)
            except Exception as error:  # one that cannot be written down must not end the Airflow scheduler
                self.log.exception("Workload %s could not be submitted", key)
                self.fail(key, f"it could not be submitted to Dask: {error}")
            else:
                by_lane.setdefault(lane, {})[key] = submission
            compat.forget_queued(self, key)
        for lane, submissions in by_lane.items():
            self.running.update(submissions)
            self._lanes.submit(lane, submissions)

    def _submission(self, lanes: Lanes[Any], workload: Any) -> tuple[str, Submission]:
        about = compat.describe_workload(workload)
        external_id = about.external_id
        if external_id is None:  # queued by something other than the scheduler
            external_id = str(uuid.uuid4())
            self.running_state(compat.workload_key(workload), external_id)
        lane, queue = lanes.route(about.queue or self._settings.default_queue)
        submission = Submission(
            external_id,
            workload.model_dump_json().encode(),
            priority=_CALLBACK_PRIORITY if about.priority is None else about.priority,
            queue=queue,
            resources=requirements.read(about.executor_config).resources,
            log_path=about.log_path,
            label=about.label,
        )
        return lane, submission

    def _tell_airflow(self, messages: Iterable[Report[Any] | Release[Any]]) -> None:
        for message in messages:
            match message:
                case Report(workload, True):
                    self.success(workload)
                case Report(workload, False, reason):
                    self.log.error("Workload %s failed: %s", workload, reason)
                    self.fail(workload, reason)
                case Release(workload, reason):  # too late to hand it back to Airflow as not adopted
                    self.log.error("Workload %s failed before it started: %s", workload, reason)
                    self.fail(workload, reason)

    def _write_audit_log(self, lanes: Lanes[Any]) -> None:
        """Say what happened to lanes and clusters, and of tasks, once for each, that no worker serves their queue."""
        self._task_event_logs.extend(self._journal.entries(lanes.changes()))
        for workload, queue, cluster in lanes.newly_unserved():
            extra = f"It waits for queue {queue!r}, which no worker of {cluster} serves"
            self.log_task_event(event=QUEUE_NOT_SERVED, extra=extra, ti_key=workload)
        # Airflow writes them later, from a generator: without another reference they are gone by then, and empty.
        self._kept_events = list(self._task_event_logs) or self._kept_events

    def _emit_gauges(self, lanes: Lanes[Any]) -> None:
        for row in lanes.describe():
            for lane in row["lanes"]:
                tags = {"lane": lane, "executor_class_name": type(self).__name__}
                if self.team_name:
                    tags["team_name"] = self.team_name
                for name in ("workers", "slots", "free", "in_flight"):
                    compat.gauge(f"dask_executor.{name}", row[name], tags)
                compat.gauge("dask_executor.connected", int(row["connected"]), tags)

    def revoke_task(self, *, ti: TaskInstance) -> None:
        """End a task on its cluster, or keep it from starting there. Nothing is reported for it."""
        compat.forget_queued(self, ti.key)
        self.running.discard(ti.key)
        if self._lanes is not None:
            self._lanes.revoke(ti.key)

    def try_adopt_task_instances(self, tis: Sequence[TaskInstance]) -> Sequence[TaskInstance]:
        """
        Take over tasks of an Airflow scheduler that is gone, where a cluster still has them.

        :return: Those that can't be taken over, which Airflow starts again: of an embedded cluster, as it ended with
            its Airflow scheduler, and those that never reached a cluster.
        """
        if self._lanes is None:
            return tis
        by_lane: dict[str, dict[Any, Adoption]] = {}
        for ti in tis:
            lane, _ = self._lanes.route(ti.queue or self._settings.default_queue)
            if ti.external_executor_id and self._lanes.knows(lane) and not self._lanes.is_embedded(lane):
                adoption = Adoption(ti.external_executor_id, started=ti.state != TaskInstanceState.QUEUED)
                by_lane.setdefault(lane, {})[ti.key] = adoption
        for lane, adoptions in by_lane.items():
            self.running.update(adoptions)
            self._lanes.adopt(lane, adoptions)
        released = self._await_adoptions(self._lanes)
        self.running.difference_update(released)
        adopted = {key for adoptions in by_lane.values() for key in adoptions} - released
        self.log.info("Adopted %d of %d tasks; the others start again", len(adopted), len(tis))
        return [ti for ti in tis if ti.key not in adopted]

    def _await_adoptions(self, lanes: Lanes[Any]) -> set[Any]:
        """Return those of the tasks to adopt that no cluster has had; one unheard of in time counts as adopted."""
        deadline = time.monotonic() + _ADOPTION_TIMEOUT
        released = set()
        while lanes.unanswered_adoptions and time.monotonic() < deadline:
            time.sleep(0.05)
            messages = lanes.sync()
            released |= {message.workload for message in messages if isinstance(message, Release)}
            self._tell_airflow(message for message in messages if isinstance(message, Report))
        return released

    def get_task_log(self, ti: TaskInstance, try_number: int) -> tuple[list[str], list[str]]:
        """
        Return the log that a running task has written so far, read through the connection to its cluster.

        Airflow's API server calls this, in a process of its own, for tasks that run.

        :param ti: The task.
        :param try_number: The try whose log is wanted; only the present one runs.
        :return: Where the log was read, and its lines.
        """
        try:
            return task_log.read(DaskSettings.from_configuration(self.conf), ti, try_number)
        except Exception as error:  # noqa: BLE001 - a cluster that is away must not break the page
            self.log.warning("The log of %s could not be read from its cluster: %s", ti.key, error)
            return [f"The log could not be read from the Dask cluster: {error}"], []

    def debug_dump(self) -> None:
        """Log what this executor knows; Airflow asks for it on SIGUSR2."""
        super().debug_dump()  # type: ignore[no-untyped-call]
        for row in self._lanes.describe() if self._lanes is not None else ():
            self.log.info("DaskExecutor: %s", row)

    def end(self) -> None:
        """Let the tasks of an embedded cluster finish, for a while; those of other clusters run on."""
        if self._lanes is None:
            return
        timeout = self._settings.shutdown_timeout
        if self._lanes.running_embedded:
            self.log.info("Waiting up to %.0f s for %d workloads", timeout, self._lanes.running_embedded)
        deadline = time.monotonic() + timeout
        while self._lanes.running_embedded and time.monotonic() < deadline:
            time.sleep(0.1)
            self.sync()
        self.terminate()

    def terminate(self) -> None:
        """Let go of the clusters at once, and end the embedded one."""
        if self._lanes is not None:
            self._connections.stop()
            self._demand.stop()
            self._lanes.stop()
            self._lanes = None
