"""
What executors, the Dask scheduler and Dask workers say to each other about workloads.

Handlers on the Dask scheduler, called by name: ``airflow_submit``, ``airflow_revoke``, ``airflow_known``,
``airflow_capacity``, ``airflow_status``, ``airflow_drain`` and ``airflow_log``; see :mod:`.scheduler_plugin`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

PLUGIN_NAME = "airflow-eks-dask"
"""Name of the plugin on the Dask scheduler and on each worker."""

TOPIC = "airflow-eks-dask"
"""Dask topic on which the scheduler plugin publishes :class:`Outcome` and :class:`Capacity` messages."""

CLIENT_NAME = "airflow-executor"
"""What executors call themselves on the Dask scheduler."""

SLOTS_RESOURCE = "airflow"
"""Dask resource by which one worker sets its own number of slots: ``dask worker --resources airflow=8``."""

LOG_LIMIT = 1 << 20
"""Bytes of a log that one answer of ``airflow_log`` holds at most."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """
    What the executor asks of each worker.

    :param slots: Workloads at a time, on a worker that was not started with a number of its own; 0 means two for
        each of its threads.
    :param preload_modules: Python modules that are imported once, for all workloads.
    :param workload_module: What runs workloads, as :mod:`.airflow_workload` does.
    :param default_queue: The queue of a worker whose own configuration names none.
    :param drain_timeout: Seconds that a worker asked to end (SIGTERM) gives to what it runs.
    """

    slots: int = 0
    preload_modules: tuple[str, ...] = ()
    workload_module: str = "airflow_eks_dask.worker.airflow_workload"
    default_queue: str = "default"
    drain_timeout: float = 600


@dataclass(frozen=True, slots=True)
class Submission:
    """
    One workload on its way to a worker.

    :param key: What identifies this run everywhere: Airflow's ``external_executor_id`` for a task.
    :param payload: The workload as JSON. It carries Airflow's token and is therefore never shown.
    :param priority: Higher goes first among those that wait.
    :param queue: Only a worker that serves this queue runs it.
    :param resources: Amounts of the worker's Dask resources that it holds while it runs.
    :param log_path: Where its log is, below the worker's log folder; None if it has none.
    :param label: What people call it. It is shown, and so holds no secret.
    """

    key: str
    payload: bytes = field(repr=False)
    priority: int = 0
    queue: str = "default"
    resources: dict[str, float] = field(default_factory=dict)
    log_path: str | None = None
    label: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    How a workload ended, reported once.

    :param key: The submission's key.
    :param success: Whether the workload process did its work. The state of the Airflow task is its own affair.
    :param reason: Why not, in words for the person who reads the task's event log.
    :param worker: Address of the worker that ran it; None if it never got to one.
    """

    key: str
    success: bool
    reason: str | None = None
    worker: str | None = None


@dataclass(frozen=True, slots=True)
class Capacity:
    """
    What the cluster can run.

    :param workers: Number of workers ready for workloads.
    :param slots: Slots of all of them.
    :param free: Slots neither taken nor waited for by a workload that could run there.
    :param queues: Free slots by queue, over the workers that serve it; 0 for a queue whose workers are all full.
    :param waiting: Workloads that are on no worker yet, by queue.
    """

    workers: int = 0
    slots: int = 0
    free: int = 0
    queues: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)
