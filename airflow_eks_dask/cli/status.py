"""``airflow eks-dask status``: what a Dask cluster can run, and what waits for it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.text import Text

from airflow_eks_dask.cli._errors import reported
from airflow_eks_dask.cli._scheduler import scheduler_of
from airflow_eks_dask.cli._show import print_json, print_table, size
from airflow_eks_dask.hooks.dask import local_versions, version_differences
from airflow_eks_dask.hooks.dask_scheduler import SHOWN_VERSIONS, Queue, queues_of

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping, Sequence


def status(args: Namespace) -> None:
    """
    Run the command.

    :param args: ``address``, ``output``, as defined in ``definition``.
    :raises SystemExit: 1 if it failed, 2 if the arguments make no sense.
    """
    with reported("status"), scheduler_of(args.address) as (cluster, scheduler):
        summary = summarise(scheduler.status())
        there, here = scheduler.versions(), local_versions()
        about: dict[str, Any] = {
            "address": cluster.endpoint.address,
            "source": cluster.source,
            "dashboard": scheduler.dashboard(),
            "versions": {name: there.get(name) for name in SHOWN_VERSIONS},
            "version_differences": version_differences(here, there),
        }
    if args.output == "json":
        print_json({**about, **summary, "queues": [asdict(queue) for queue in summary["queues"]]})
    else:
        _show(about, summary)


def summarise(state: Mapping[str, Any]) -> dict[str, Any]:
    """
    Sum up what the plugin tells of its workers and of what waits.

    :param state: The answer of ``airflow_status``.
    """
    workers: Sequence[Mapping[str, Any]] = state["workers"]
    capacity = state["capacity"]
    return {
        "workers": len(workers),
        "draining": sum(worker["state"] == "draining" for worker in workers),
        "slots": capacity["slots"],
        "free": capacity["free"],
        "running": sum(len(worker["running"]) for worker in workers),
        "waiting": state.get("waiting_total", len(state["waiting"])),
        "queues": queues_of(capacity),
        "idle_memory_per_slot": idle_memory(workers),
        "outcomes": state["outcomes"],
    }


def idle_memory(workers: Sequence[Mapping[str, Any]]) -> int | None:
    """Return the memory that an idle slot takes, in bytes, on average; None if no worker has told."""
    known = [(worker["idle_memory_per_slot"], worker["slots"]) for worker in workers]
    known = [(memory, slots) for memory, slots in known if memory is not None and slots]
    total = sum(slots for _, slots in known)
    return round(sum(memory * slots for memory, slots in known) / total) if total else None


def _show(about: Mapping[str, Any], summary: Mapping[str, Any]) -> None:
    draining = f", {summary['draining']} draining" if summary["draining"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items() if version)
    rows: list[tuple[str, str | Text]] = [
        ("Dask scheduler", f"{about['address']} ({about['source']})"),
        ("Dashboard", about["dashboard"] or "-"),
        ("Versions", versions),
        ("Workers", f"{summary['workers']}{draining}"),
        ("Slots", f"{summary['slots']}, {summary['free']} free"),
        ("Workloads", f"{summary['running']} running, {summary['waiting']} waiting"),
        ("Memory per idle slot", size(summary["idle_memory_per_slot"])),
        ("Outcomes kept", str(summary["outcomes"])),
    ]
    if about["version_differences"]:
        rows.insert(3, ("Versions differ", Text("; ".join(about["version_differences"]), "red")))
    print_table(("cluster", ""), rows)
    print_table(("queue", "free slots", "waiting", "served"), [_row(queue) for queue in summary["queues"]])


def _row(queue: Queue) -> list[str | Text]:
    style = "" if queue.served else "red"
    served = "yes" if queue.served else "NO: no worker in service has it in [dask] queues"
    return [Text(text, style) for text in (queue.name, str(queue.free), str(queue.waiting), served)]
