"""What executors, the Dask scheduler and Dask workers say to each other about workloads."""

from __future__ import annotations

from dataclasses import dataclass, field

PLUGIN_NAME = "airflow-eks-dask"
"""Name of the plugin on the Dask scheduler and on each worker."""

TOPIC = "airflow-eks-dask"
"""Dask topic on which the scheduler plugin publishes :class:`Outcome` and :class:`Capacity` messages."""

SLOTS_RESOURCE = "airflow"
"""Dask resource by which one worker sets its own number of slots: ``dask worker --resources airflow=8``."""


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """
    What the executor asks of each worker.

    :param slots: Workloads at a time, on a worker that was not started with a number of its own; 0 means two for
        each of its threads.
    :param preload_modules: Python modules that are imported once, for all workloads.
    :param workload_module: What runs workloads, as :mod:`.airflow_workload` does.
    """

    slots: int = 0
    preload_modules: tuple[str, ...] = ()
    workload_module: str = "airflow_eks_dask.worker.airflow_workload"


@dataclass(frozen=True, slots=True)
class Submission:
    """
    One workload on its way to a worker.

    :param key: What identifies this run everywhere: Airflow's ``external_executor_id`` for a task.
    :param payload: The workload as JSON. It carries Airflow's token and is therefore never shown.
    :param priority: Higher goes first among those that wait.
    """

    key: str
    payload: bytes = field(repr=False)
    priority: int = 0


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
    :param free: Slots neither taken nor waited for.
    """

    workers: int = 0
    slots: int = 0
    free: int = 0
