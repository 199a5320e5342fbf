"""
Queues: one task that needs much memory, among others that do not.

Percentiles can't be added up from parts as sums can: for exact ones, all trips of the year have to be in one place.
That is a task for a machine with much memory, while all others do with little:

1. **make**, once a month, makes the trips of a month and keeps the good ones. Any worker does.
2. **choose** asks the Dask scheduler which workers there are.
3. **exact** reads all trips. It has `queue="large"`, so only workers that serve this queue run it; and
   `executor_config={"dask": {"resources": {"MEMORY": 2e9}}}`, so that as many run on one worker at a time as it has
   memory for. Or, where no such worker is, **sampled** reads a share of the trips, on any worker.
4. **report** says what came of it, and whether it is exact.

A worker of the group is started with

`AIRFLOW__DASK__QUEUES=large dask worker ADDRESS --resources "MEMORY=16e9"`

and in the Helm chart is an entry of `workers` with `queues: [large]` and `daskResources: {MEMORY: 16e9}`. A group
with GPUs is the same: `queue="gpu"`, `{"GPU": 1}`, and workers with `--resources "GPU=2"`.

What if no worker serves the queue? A task with `queue="large"` waits, and its event log says "queue not served".
That is the right thing where workers come when they are needed; choose it by *Wait for one*.
"""

from __future__ import annotations

import json
import logging
from typing import Any, TypedDict

from airflow.sdk import Param, dag, get_current_context, task

from airflow_eks_dask.samples import forms

log = logging.getLogger(__name__)

QUEUE = "large"
RESOURCES = {"MEMORY": 2e9}
"""Dask resources that the task with all trips holds while it runs: 2 GB are enough for the most trips of the form."""

PARAMS = {
    "year": forms.year(),
    "rows": Param(
        240_000,
        type="integer",
        minimum=1_000,
        maximum=20_000_000,
        title="Trips",
        description="Number of raw trips in the year.",
    ),
    "seed": forms.seed(),
    "if_not_served": Param(
        "sample",
        type="string",
        enum=["sample", "wait"],
        values_display={"sample": "Take a sample", "wait": "Wait for one"},
        title="If there is no worker with much memory",
        description=f"Whether to read a sample of the trips on another worker, or to wait for one that serves the "
        f"queue {QUEUE}.",
    ),
    "share": Param(
        10,
        type="number",
        minimum=1,
        maximum=100,
        title="Size of a sample",
        description="Percentage of the trips that a sample has.",
    ),
    "data_dir": forms.data_dir("sample_queues"),
}


class Found(TypedDict):
    """Percentiles of the speed, and of how many trips."""

    exact: bool
    trips: int
    table: str


def folder() -> str:
    """Return the folder of this run's files."""
    from airflow_eks_dask.samples import files

    context = get_current_context()
    return files.run_folder(context["params"]["data_dir"], context["run_id"])


@task
def make(number: int) -> str:
    """Make the trips of a month, 1 to 12, and keep the good ones; return where they are."""
    from airflow_eks_dask.samples import files, taxi

    params = get_current_context()["params"]
    month, trips = taxi.trips_of_month(params["year"], number, params["rows"], params["seed"])
    good, bad = taxi.split_trips(trips, month)
    log.info("%s: %d good trips, %d bad ones", month, good.num_rows, bad.num_rows)
    return files.write_parquet(f"{folder()}/good/{month}.parquet", good)


@task.branch
def choose() -> str:
    """Return the task that is to go on: the exact one, if a worker can run it or may yet come."""
    from airflow_eks_dask import get_client
    from airflow_eks_dask.hooks.dask_scheduler import SchedulerCalls
    from airflow_eks_dask.samples import percentiles

    if get_current_context()["params"]["if_not_served"] == "wait":
        return "exact"
    with get_client() as client:
        workers = SchedulerCalls(client, client.scheduler.address).status()["workers"]
    able = [worker["name"] for worker in workers if percentiles.can_run(worker, QUEUE, RESOURCES)]
    log.info("Of %d workers, these serve %r and have %s: %s", len(workers), QUEUE, RESOURCES, able or "none")
    return "exact" if able else "sampled"


def compute(paths: list[str], share: float) -> Found:
    """Read trips into memory and find their percentiles."""
    import pyarrow as pa

    from airflow_eks_dask.samples import files, percentiles

    # A slice is fetched in one request; iterating would take one for each month.
    trips = percentiles.read_speeds(paths[:], share, get_current_context()["params"]["seed"])
    log.info("%d trips take %d MB", len(trips), trips.memory_usage(deep=True).sum() / 1e6)
    table = pa.Table.from_pandas(percentiles.speed_percentiles(trips))
    path = files.write_parquet(f"{folder()}/speed_percentiles.parquet", table)
    return Found(exact=share == 1, trips=len(trips), table=path)


@task(multiple_outputs=False, queue=QUEUE, executor_config={"dask": {"resources": RESOURCES}})
def exact(paths: list[str]) -> Found:
    """Find the percentiles of all trips, on a worker with much memory."""
    return compute(paths, share=1)


@task(multiple_outputs=False)
def sampled(paths: list[str]) -> Found:
    """Find the percentiles of a share of the trips, on any worker."""
    return compute(paths, share=get_current_context()["params"]["share"] / 100)


# One of the two before it was skipped.
@task(multiple_outputs=False, trigger_rule="none_failed_min_one_success")
def report(all_trips: Found | None, sample: Found | None) -> dict[str, Any]:
    """Log and return what came of the run."""
    from airflow_eks_dask.samples import files

    found = all_trips or sample
    table = files.read_parquet(found["table"]).to_pandas()
    fastest = table.sort_values("p95").iloc[-1]
    summary = {
        **found,
        "groups": len(table),
        "fastest": f"{fastest['zone']} at {fastest['hour']:02}:00, 95 % below {fastest['p95']:.1f} km/h",
    }
    log.info("%s", json.dumps(summary, indent=2))
    return summary


@dag(
    schedule=None,
    catchup=False,
    tags=["sample", "queues"],
    doc_md=__doc__,
    params=PARAMS,
    default_args=forms.DEFAULT_ARGS,
)
def sample_queues() -> None:
    """How fast taxis drive: of all trips if there is a worker with memory for them, else of a sample."""
    paths = make.expand(number=list(range(1, 13)))
    all_trips, sample = exact(paths), sampled(paths)
    paths >> choose() >> [all_trips, sample]
    report(all_trips, sample)


sample_queues()
