"""
From S3 to PostgreSQL: files that come, each loaded once.

Somebody puts a file of taxi trips into a bucket each month. This pipeline waits for the files, parts good trips from
bad ones on the workers, all files at the same time, and loads both into PostgreSQL with `COPY`:

1. **prepare** checks connections and bucket, and makes the tables. **put_samples** puts made-up files of the year into
   the bucket, so that there is something to load; with *Trips* at 0 it leaves that to others.
2. **wait** waits until there are as many files as are expected. It is *deferred*: no slot is taken.
3. **changed** lists the files that are new, or others than those that were loaded, by their ETags.
4. **load**, once for each of them, reads the file, checks the trips, and replaces what the tables have of it, in one
   transaction. **report** counts what the tables hold.

Whatever is run again, each file is in the tables once: cleared tasks, new runs, two runs at a time. The tables are
`sample_s3_objects`, `sample_s3_trips` and `sample_s3_rejected`.

It needs a connection to AWS (`aws_default`) that may list, read and, for sample files, write in the bucket; and one
to PostgreSQL, for example by
`airflow connections add sample_results --conn-uri postgresql://user:password@host/database`.
"""

from __future__ import annotations

import json
import logging
from typing import Any, TypedDict

from airflow.sdk import Param, dag, get_current_context, task

from airflow_eks_dask.samples import forms
from airflow_eks_dask.samples.s3_objects import S3Object, WaitForObjects

log = logging.getLogger(__name__)

PARAMS = {
    "bucket": Param(
        "pipelines-data",
        type="string",
        pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$",
        title="Bucket",
        description="An S3 bucket that is there.",
    ),
    "pattern": Param(
        "trips/*.parquet",
        type="string",
        minLength=1,
        title="Files",
        description="Pattern of the files' names; * stands for anything. Each name says of which month its trips are, "
        "such as 2025-01.",
    ),
    "at_least": Param(
        12,
        type="integer",
        minimum=1,
        maximum=1000,
        title="Files to wait for",
        description="Number of files that have to be there before they are loaded.",
    ),
    "minutes": Param(
        60,
        type="number",
        minimum=0,
        maximum=10_080,
        title="Minutes to wait",
        description="How long the files may take to come.",
    ),
    "rows": Param(
        60_000,
        type="integer",
        minimum=0,
        maximum=20_000_000,
        title="Trips",
        description="Number of made-up trips that are put first, as trips/2025-01.parquet and so on. 0: none, the "
        "files come from elsewhere.",
    ),
    "year": forms.year(),
    "seed": forms.seed(),
    "aws_conn_id": forms.connection("aws_default", "Connection to AWS", "Airflow connection of type AWS."),
    "conn_id": forms.connection(
        "sample_results", "Connection for the results", "Airflow connection to a PostgreSQL database."
    ),
}

FAILED = ("failed", "upstream_failed")


class Loaded(TypedDict):
    """What came of a file."""

    key: str
    done: bool
    good: int
    bad: dict[str, int]


def source(bucket: str, key: str) -> str:
    """Return what the tables call an object."""
    return f"s3://{bucket}/{key}"


@task
def prepare() -> None:
    """Fail now, not after hours of waiting, if files could not be read or trips not be stored."""
    from airflow.sdk.exceptions import AirflowFailException

    from airflow_eks_dask.samples import results, s3_objects, trips_store

    params = get_current_context()["params"]
    hook = results.results_hook(params["conn_id"], ["postgres"])
    if not s3_objects.s3_hook(params["aws_conn_id"]).check_for_bucket(params["bucket"]):
        raise AirflowFailException(
            f"The connection {params['aws_conn_id']!r} leads to no bucket {params['bucket']!r} that it may read. Make "
            "the bucket, or name another one in the form"
        )
    trips_store.create_tables(hook)


@task
def put_samples() -> int:
    """Put a file of made-up trips for each month of the year, if any are asked for; return how many."""
    from airflow_eks_dask.samples import s3_objects, taxi

    params = get_current_context()["params"]
    if params["rows"] == 0:
        return 0
    hook = s3_objects.s3_hook(params["aws_conn_id"])
    for number in range(1, 13):
        month, trips = taxi.trips_of_month(params["year"], number, params["rows"], params["seed"])
        s3_objects.write_trips(hook, params["bucket"], f"trips/{month}.parquet", trips)
    return 12


@task
def changed() -> list[S3Object]:
    """List the files that are not in the tables as they are now."""
    from airflow_eks_dask.samples import results, s3_objects, trips_store

    params = get_current_context()["params"]
    found = s3_objects.matching(s3_objects.s3_hook(params["aws_conn_id"]), params["bucket"], params["pattern"])
    hook = results.results_hook(params["conn_id"], ["postgres"])
    names = {each["key"]: source(params["bucket"], each["key"]) for each in found}
    loaded = trips_store.loaded_etags(hook, names.values())
    due = [each for each in found if loaded.get(names[each["key"]]) != each["etag"]]
    log.info("%d files, %d of them new or changed", len(found), len(due))
    return due


@task(multiple_outputs=False)
def load(found: S3Object) -> Loaded:
    """Part good trips from bad ones, and put both into the tables in place of what they have of this file."""
    from airflow_eks_dask.samples import results, s3_objects, taxi, trips_store

    params = get_current_context()["params"]
    month = s3_objects.month_of(found["key"])
    trips = s3_objects.read_trips(s3_objects.s3_hook(params["aws_conn_id"]), params["bucket"], found)
    good, bad = taxi.split_trips(trips, month)
    hook = results.results_hook(params["conn_id"], ["postgres"])
    done = trips_store.load(hook, source(params["bucket"], found["key"]), found["etag"], good, bad)
    reasons = taxi.count_reasons(bad)
    log.info("%s: %d good trips, %d bad ones: %s", found["key"], good.num_rows, bad.num_rows, reasons)
    return Loaded(key=found["key"], done=done, good=good.num_rows, bad=reasons)


# Not "none_failed": where fewer files are due when a run is cleared, Airflow before 3.3 would wait for the others.
@task(multiple_outputs=False, trigger_rule="all_done")
def report(due: list[S3Object], loaded: list[Loaded]) -> dict[str, Any]:
    """Count what the tables hold of the files that match; log and return it."""
    from airflow.sdk.exceptions import AirflowFailException

    from airflow_eks_dask.samples import results, s3_objects, trips_store

    context = get_current_context()
    run = context["dag_run"]
    states = context["ti"].get_task_states(run.dag_id, task_ids=["changed", "load"], run_ids=[run.run_id])
    failed = sorted(name for name, state in states.get(run.run_id, {}).items() if state in FAILED)
    if failed:
        raise AirflowFailException(f"Not all files are in the tables. See the logs of what failed: {', '.join(failed)}")
    params = context["params"]
    found = s3_objects.matching(s3_objects.s3_hook(params["aws_conn_id"]), params["bucket"], params["pattern"])
    hook = results.results_hook(params["conn_id"], ["postgres"])
    stored = trips_store.stored(hook, [source(params["bucket"], each["key"]) for each in found])
    # A slice is fetched in one request; iterating would take one for each file. After it is what the run said before
    # it was cleared.
    done = sum(each["done"] for each in (loaded or [])[: len(due)])
    summary = {"files": len(found), "loaded_now": done, **stored}
    log.info("%s", json.dumps(summary, indent=2))
    return summary


@dag(
    schedule=None,
    catchup=False,
    tags=["sample", "aws", "deferrable"],
    doc_md=__doc__,
    params=PARAMS,
    default_args=forms.DEFAULT_ARGS,
)
def sample_s3_to_postgres() -> None:
    """Taxi trips from S3 to PostgreSQL, each file once."""
    wait = WaitForObjects(
        task_id="wait",
        bucket="{{ params.bucket }}",
        pattern="{{ params.pattern }}",
        at_least="{{ params.at_least }}",
        minutes="{{ params.minutes }}",
        aws_conn_id="{{ params.aws_conn_id }}",
        poll_interval=5,
        deferrable=True,
    )
    files = changed()
    prepare() >> put_samples() >> wait >> files
    report(files, load.expand(found=files))


sample_s3_to_postgres()
