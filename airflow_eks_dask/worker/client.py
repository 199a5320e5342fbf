"""A client of the cluster that a task runs on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distributed import Client


def get_client(*, timeout: float = 30) -> Client:
    """
    Return a client of the Dask cluster that runs this task.

    Computations get the cluster's threads: an Airflow workload holds a slot, not a thread, so they finish even while
    every slot is taken. Use it as a context manager::

        with airflow_eks_dask.get_client():
            total = dask.dataframe.read_parquet(path).distance.sum().compute()

    :param timeout: Seconds to wait for the connection.
    :raises RuntimeError: Outside a task that :class:`~airflow_eks_dask.DaskExecutor` runs.
    :raises OSError: The Dask scheduler did not answer in time.
    """
    address = os.environ.get("DASK_SCHEDULER_ADDRESS")
    if not address:
        raise RuntimeError(
            "get_client() works inside a task that runs on Dask, and this process is none: the environment has no "
            "DASK_SCHEDULER_ADDRESS. Is [core] executor = airflow_eks_dask.DaskExecutor?"
        )
    from distributed import Client

    # TLS files come the same way as the address, as Dask configuration in the environment.
    return Client(address, timeout=timeout, set_as_default=True)
