"""``airflow eks-dask drain``: let a worker finish what it runs, take nothing new, and leave."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console

from airflow_eks_dask.cli._errors import CommandError, UsageError, reported
from airflow_eks_dask.cli._scheduler import scheduler_of
from airflow_eks_dask.cli._show import print_json, workload_name

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping

    from airflow_eks_dask.hooks.dask_scheduler import SchedulerCalls

POLL_INTERVAL = 0.5
NAMED = 5
"""How many of the workloads that a worker still runs are named."""


@dataclass(frozen=True)
class Draining:
    """
    How far a worker has come.

    :param worker: Its address.
    :param name: Its name.
    :param state: ``running``, ``draining`` or ``left``.
    :param running: What it still runs, as people call it.
    """

    worker: str
    name: str
    state: str
    running: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.state == "left":
            return f"{self.name} has left"
        if self.state != "draining":
            return f"{self.name} takes workloads again"
        if not self.running:
            return f"{self.name} runs nothing any more, and leaves"
        more = [f"and {len(self.running) - NAMED} more"] if len(self.running) > NAMED else []
        return f"{self.name} leaves when these have ended: {', '.join([*self.running[:NAMED], *more])}"


def drain(args: Namespace) -> None:
    """
    Run the command.

    :param args: ``address``, ``cancel``, ``output``, ``timeout``, ``wait``, ``worker``, as defined in ``definition``.
    :raises SystemExit: 1 if it failed or the worker had not left in time, 2 if the arguments make no sense, 130 if
        waiting was ended with Ctrl-C.
    """
    with reported("drain"):
        if args.cancel and args.wait:
            raise UsageError("--cancel waits for nothing: leave out --wait")
        if args.timeout is not None and not args.wait:
            raise UsageError("--timeout says how long to wait: it goes with --wait")
        # What is to be read by programs is not mixed with progress.
        console = Console(stderr=args.output == "json", soft_wrap=True, highlight=False)
        with scheduler_of(args.address) as (_, scheduler):
            result = _drain(scheduler, args, console)
        if args.output == "json":
            print_json({"worker": result.worker, "name": result.name, "state": result.state, "running": result.running})
        else:
            console.print(str(result), markup=False)


def progress_of(state: Mapping[str, Any], address: str, name: str) -> Draining:
    """
    Say how far a worker has come.

    :param state: The answer of ``airflow_status``.
    :param address: The worker's, which, unlike its name, no successor gets.
    :param name: What to call it if it has left.
    """
    for worker in state["workers"]:
        if worker["address"] == address:
            running = tuple(workload_name(workload) for workload in worker["running"])
            return Draining(address, worker["name"], worker["state"], running)
    return Draining(address, name, "left")


def _drain(scheduler: SchedulerCalls, args: Namespace, console: Console) -> Draining:
    address = scheduler.drain(args.worker, cancel=args.cancel)
    progress = progress_of(scheduler.status(), address, args.worker)
    if not args.wait:
        return progress
    try:
        return _wait(scheduler, progress, args.timeout, console)
    except KeyboardInterrupt:
        Console(stderr=True, soft_wrap=True, highlight=False).print(
            f"{progress.name} goes on draining. To take it back: airflow eks-dask drain {progress.name} --cancel",
            markup=False,
        )
        raise SystemExit(130) from None


def _wait(scheduler: SchedulerCalls, progress: Draining, timeout: float | None, console: Console) -> Draining:
    deadline = None if timeout is None else time.monotonic() + timeout
    shown = ""
    while progress.state != "left":
        if progress.state != "draining":
            raise CommandError(f"{progress.name} no longer drains: somebody has taken that back")
        if deadline is not None and time.monotonic() > deadline:
            raise CommandError(f"not within {timeout:g} s, and it goes on: {progress}")
        if str(progress) != shown:
            shown = str(progress)
            console.print(shown, markup=False)
        time.sleep(POLL_INTERVAL)
        progress = progress_of(scheduler.status(), progress.worker, progress.name)
    return progress
