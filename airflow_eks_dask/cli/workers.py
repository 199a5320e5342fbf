"""``airflow eks-dask workers``: the workers of a Dask cluster, and what runs where."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rich.text import Text

from airflow_eks_dask.cli._errors import reported
from airflow_eks_dask.cli._scheduler import scheduler_of
from airflow_eks_dask.cli._show import age, print_json, print_table, workload_name

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping

COLUMNS = ("worker", "state", "free slots", "serves", "running, on which queue, how long")


def workers(args: Namespace) -> None:
    """
    Run the command.

    :param args: ``address``, ``output``, as defined in ``definition``.
    :raises SystemExit: 1 if it failed, 2 if the arguments make no sense.
    """
    with reported("workers"), scheduler_of(args.address) as (cluster, scheduler):
        found = sorted(scheduler.status()["workers"], key=lambda worker: (worker["name"], worker["address"]))
    if args.output == "json":
        print_json({"address": cluster.endpoint.address, "workers": found})
    elif found:
        now = time.time()
        print_table(COLUMNS, [row(worker, now) for worker in found])
    else:
        print_table(("No worker has joined",), [])


def row(worker: Mapping[str, Any], now: float) -> list[str | Text]:
    """
    Return a worker's row.

    :param worker: What ``airflow_status`` tells of it.
    :param now: Seconds since the epoch.
    """
    resources = [f"{name}={amount:g}" for name, amount in sorted(worker["resources"].items())]
    running = [
        f"{workload_name(workload)}, {workload['queue']}, {age(now - workload['since'])}"
        for workload in worker["running"]
    ]
    return [
        f"{worker['name']}\n{worker['address']}",
        Text(worker["state"], "" if worker["state"] == "running" else "yellow"),
        f"{worker['free']} of {worker['slots']}",
        "\n".join(filter(None, [", ".join(worker["queues"]), *resources])) or "-",
        "\n".join(running) or "-",
    ]
