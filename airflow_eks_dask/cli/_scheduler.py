"""How commands connect to a Dask scheduler."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_eks_dask.hooks.dask_cluster import find_cluster
from airflow_eks_dask.hooks.dask_scheduler import connected

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eks_dask.hooks.dask_cluster import Cluster
    from airflow_eks_dask.hooks.dask_scheduler import SchedulerCalls


@contextmanager
def scheduler_of(address: str | None) -> Iterator[tuple[Cluster, SchedulerCalls]]:
    """
    Find the cluster a command is about, and connect to its scheduler for a while.

    :param address: Of the Dask scheduler, as given; None for what the configuration leads to.
    :raises ClusterError: There is none, or no connection to it.
    """
    # What matters of it is in the errors.
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    cluster = find_cluster(address)
    with connected(cluster) as scheduler:
        yield cluster, scheduler
