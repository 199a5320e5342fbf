"""
A big computation, fanned out over the workers from inside a task.

What does a taxi earn in an hour of driving, by zone, in the rush hour and beside it, and *how sure* is that? The
bootstrap answers by drawing all trips anew some hundred times, which is a hundred times the work, and divides well:

1. **prepare** checks that the data directory can be written.
2. **estimate** is one task with one slot. It takes a client of the Dask cluster that it runs on, by
   `airflow_eks_dask.get_client()`, and hands out the trips in parts of 50,000. All workers make, resample and add
   up parts at the same time; the task's log says how far they are. The trips as a whole are never in one place.
3. **chart** draws the figures with their intervals, **report** says what came of it.

A run has a folder of its own in the data directory, with `hourly_fares.parquet` and `hourly_fares.png`. The same
parameters give the same figures, however many workers there are.
"""

from __future__ import annotations

import json
import logging
import time
from typing import Any, TypedDict

from airflow.sdk import Param, dag, get_current_context, task

from airflow_eks_dask.samples import forms

log = logging.getLogger(__name__)

PARAMS = {
    "year": forms.year(),
    "rows": Param(
        1_000_000,
        type="integer",
        minimum=1_000,
        maximum=200_000_000,
        title="Trips",
        description="Number of trips in the year. More of them make the intervals narrower, and take longer.",
    ),
    "resamples": Param(
        200,
        type="integer",
        minimum=20,
        maximum=5_000,
        title="Resamples",
        description="How often all trips are drawn anew. More of them make the ends of the intervals steadier.",
    ),
    "confidence": Param(
        95,
        type="number",
        minimum=50,
        maximum=99.9,
        title="Confidence",
        description="Percentage of samples in which the interval holds the true figure.",
    ),
    "seed": forms.seed(),
    "data_dir": forms.data_dir("sample_confidence"),
}


class Plan(TypedDict):
    """What a run computes, and where its files go."""

    folder: str
    sample: list[int]
    resamples: int
    confidence: float


class Estimated(TypedDict):
    """What the computation came to."""

    table: str
    parts: int
    threads: int
    seconds: float


@task(multiple_outputs=False)
def prepare() -> Plan:
    """Fail now, not after all the work, if results could not be stored."""
    from airflow_eks_dask.samples import files

    context = get_current_context()
    params = context["params"]
    plan = Plan(
        folder=files.run_folder(params["data_dir"], context["run_id"]),
        sample=[params["year"], params["rows"], params["seed"]],
        resamples=params["resamples"],
        confidence=params["confidence"] / 100,
    )
    files.write_json(f"{plan['folder']}/plan.json", plan)
    return plan


@task(multiple_outputs=False)
def estimate(plan: Plan) -> Estimated:
    """Compute on all workers of the cluster that this task runs on; say in the log how far they are."""
    import pyarrow as pa

    from airflow_eks_dask import get_client
    from airflow_eks_dask.samples import confidence, files

    sample = confidence.Sample(*plan["sample"])
    steps = max(1, sample.parts // 10)
    started = time.monotonic()

    def progress(done: int) -> None:
        if done % steps == 0 or done == sample.parts:
            log.info("%d of %d parts done after %.1f s", done, sample.parts, time.monotonic() - started)

    with get_client() as client:
        threads = sum(client.nthreads().values())
        log.info("%d parts for %d threads of %d workers", sample.parts, threads, len(client.nthreads()))
        sums = confidence.compute(client, sample, plan["resamples"], progress)
    table = pa.Table.from_pandas(confidence.hourly_fares(sums, plan["confidence"]))
    path = files.write_parquet(f"{plan['folder']}/hourly_fares.parquet", table)
    seconds = round(time.monotonic() - started, 1)
    return Estimated(table=path, parts=sample.parts, threads=threads, seconds=seconds)


@task
def chart(plan: Plan, estimated: Estimated) -> str:
    """Draw the figures and their intervals; return the path of the picture."""
    from airflow_eks_dask.samples import confidence, files

    table = files.read_parquet(estimated["table"]).to_pandas()
    return files.write(f"{plan['folder']}/hourly_fares.png", lambda file: confidence.draw(table, file))


@task(multiple_outputs=False)
def report(estimated: Estimated, picture: str) -> dict[str, Any]:
    """Log and return what came of the run."""
    from airflow_eks_dask.samples import files

    table = files.read_parquet(estimated["table"]).to_pandas()
    figures = [
        f"{row.zone}, {'rush hour' if row.rush_hour else 'other hours'}: {row.per_hour:.2f} "
        f"({row.low:.2f} to {row.high:.2f})"
        for row in table.sort_values("per_hour", ascending=False).itertuples()
    ]
    summary = {"trips": int(table["trips"].sum()), "per_hour": figures, **estimated, "chart": picture}
    log.info("%s", json.dumps(summary, indent=2))
    return summary


@dag(
    schedule=None,
    catchup=False,
    tags=["sample", "dask"],
    doc_md=__doc__,
    params=PARAMS,
    default_args=forms.DEFAULT_ARGS,
)
def sample_confidence() -> None:
    """What a taxi earns in an hour, and how sure that is."""
    plan = prepare()
    estimated = estimate(plan)
    report(estimated, chart(plan, estimated))


sample_confidence()
