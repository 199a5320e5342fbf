"""
The embedded cluster: a ``distributed.LocalCluster`` in a process of its own beside the Airflow scheduler.

Of its own, so that the Dask scheduler and the Airflow scheduler don't compete for one interpreter, and so that the
executor meets every cluster the same way: by its address. It ends when its control socket does, that is with the
Airflow scheduler, however that ends.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

START_TIMEOUT = 120.0
STOP_TIMEOUT = 10.0

QUIET_CONFIG = {
    # Fifty times a second by default, for a plot.
    "distributed.admin.tick.interval": "500ms",
    # A hundred times a second by default, for another.
    "distributed.worker.profile.enabled": False,
    # Twice a second by default, for more of them.
    "distributed.admin.system-monitor.interval": "2s",
    # Ten times a second by default: for what workers hold themselves, and no workload is in one.
    "distributed.worker.memory.monitor-interval": "500ms",
}
"""
What a cluster that mostly waits needs not do: it takes a fifth of the processor time of one where nothing runs. What
the user's own Dask configuration says about them holds.
"""

log = logging.getLogger(__name__)


@dataclass
class EmbeddedCluster:
    """
    A running embedded cluster, as the executor sees it.

    :param address: Of its Dask scheduler, on loopback.
    """

    address: str
    _process: subprocess.Popen[bytes]
    _control: socket.socket

    @classmethod
    async def start(cls, workers: int) -> EmbeddedCluster:
        """
        Start the cluster and wait for its address.

        :param workers: Number of worker processes.
        :raises OSError: It did not start.
        """
        # The cluster's own process does without Airflow.
        from airflow_eks_dask.hooks.dask_cluster import scheduler_files

        control, theirs = socket.socketpair()
        control.setblocking(False)
        directory = scheduler_files()
        directory.mkdir(parents=True, exist_ok=True)
        with theirs:
            process = subprocess.Popen(  # noqa: ASYNC220 - starting does not block
                [sys.executable, "-m", __name__, str(theirs.fileno()), str(workers), str(directory)],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        cluster = cls("", process, control)
        try:
            answer = await asyncio.wait_for(asyncio.get_running_loop().sock_recv(control, 4096), START_TIMEOUT)
            if not answer:
                raise OSError(f"the embedded Dask cluster ended with {process.wait()} while starting")
        except BaseException:
            # Still importing, it would not notice for seconds.
            process.kill()
            await cluster.stop()
            raise
        cluster.address = json.loads(answer)["address"]
        return cluster

    @property
    def is_running(self) -> bool:
        """Whether its process is alive."""
        return self._process.poll() is None

    async def stop(self) -> None:
        """End the cluster, its workers and what they run."""
        self._control.close()
        try:
            await asyncio.to_thread(self._process.wait, STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            log.warning("The embedded Dask cluster (pid %d) did not end by itself; killed", self._process.pid)
            self._process.kill()
            await asyncio.to_thread(self._process.wait)


def _forget_the_dead(directory: Path) -> None:
    """Remove the files of clusters that were killed."""
    for file in directory.glob("embedded-*.json"):
        pid = file.stem.rpartition("-")[2]
        if pid.isdigit() and not psutil.pid_exists(int(pid)):
            file.unlink(missing_ok=True)


async def _host(control: socket.socket, workers: int, directory: Path) -> None:
    import dask
    from distributed import LocalCluster

    dask.config.set(QUIET_CONFIG)
    dask.config.update(dask.config.config, dask.config.collect())
    control.setblocking(False)
    loop = asyncio.get_running_loop()
    async with LocalCluster(
        n_workers=workers,
        threads_per_worker=max(1, (os.cpu_count() or 1) // workers),
        processes=True,
        host="127.0.0.1",
        protocol="tcp://",
        # Health and metrics; the default would listen on every interface.
        dashboard_address="127.0.0.1:0",
        worker_dashboard_address="127.0.0.1:0",
        # By it the command line finds this cluster; Dask removes it at the end.
        scheduler_kwargs={"scheduler_file": str(directory / f"embedded-{os.getpid()}.json")},
        asynchronous=True,
    ) as cluster:
        with suppress(ConnectionError):
            await loop.sock_sendall(control, json.dumps({"address": cluster.scheduler_address}).encode())
            await loop.sock_recv(control, 1)


def main() -> None:
    """Host a cluster until the socket, whose descriptor is the first argument, reaches its end."""
    # Both are meant for the Airflow scheduler, which decides when this ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    directory = Path(sys.argv[3])
    _forget_the_dead(directory)
    asyncio.run(_host(control, int(sys.argv[2]), directory))


if __name__ == "__main__":
    main()
