"""A Dask cluster in processes of its own, started as a user would, by hand."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, Any

from distributed.core import rpc

from airflow_eks_dask.executors.embedded import QUIET_CONFIG
from airflow_eks_dask.local.ports import free_port
from airflow_eks_dask.local.processes import Child, ProcessSet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

QUIET = {f"DASK_{name.replace('.', '__').upper()}": str(value) for name, value in QUIET_CONFIG.items()}
"""What the embedded cluster does without takes a tenth of this machine here, too."""


class DaskCluster:
    """
    ``dask scheduler`` and ``dask worker`` processes.

    :param directory: For their logs.
    :param environment: Changes to their environment.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str] | None = None) -> None:
        self.directory = directory
        self.environment = {**os.environ, **(environment or {})}
        self.port = free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.processes = ProcessSet()
        self.scheduler: Child | None = None
        self.workers: list[Child] = []

    def start_scheduler(self) -> Child:
        """Start the scheduler, at the same address each time."""
        self.scheduler = self._start("scheduler", "scheduler", "--host", "127.0.0.1", "--port", str(self.port))
        return self.scheduler

    def start_worker(self, *options: str, within: tuple[str, ...] = (), **environment: str) -> Child:
        """
        Start one worker.

        :param within: A command that starts the command behind it.
        :param environment: Further changes to its environment.
        """
        name = f"worker-{len(self.workers)}"
        command = ("worker", self.address, "--host", "127.0.0.1", "--name", name, *options)
        worker = self._start(name, *command, within=within, **environment)
        self.workers.append(worker)
        return worker

    def call(self, handler: str, **arguments: Any) -> Any:
        """Call a handler of the scheduler by its name."""

        async def call() -> Any:
            async with rpc(self.address) as scheduler:
                return await asyncio.wait_for(getattr(scheduler, handler)(**arguments), 60)

        return asyncio.run(call())

    def log(self) -> str:
        """Return what all of them have printed."""
        return "".join(file.read_text() for file in sorted(self.directory.glob("dask-*.log")))

    def stop(self, grace: float = 5) -> None:
        """
        End all processes.

        :param grace: Seconds that they have before they are killed.
        """
        self.processes.close(grace=grace)
        self.workers.clear()

    def _start(self, name: str, *command: str, within: tuple[str, ...] = (), **environment: str) -> Child:
        dashboard = ["--dashboard-address", "127.0.0.1:0"]
        return self.processes.start(
            name,
            [*within, sys.executable, "-m", "dask", *command, *dashboard],
            log_file=self.directory / f"dask-{name}.log",
            env={**self.environment, **QUIET, **environment},
            cwd=self.directory,
        )
