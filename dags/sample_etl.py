"""
Taxi trips, from raw records to a table and a chart.

A year of made-up taxi trips, with some broken records among them, goes through a pipeline:

1. **prepare** checks that the connection for the results exists and the data directory can be written.
2. For each month, **extract** makes the raw records, **validate** sets bad ones aside with the reason.
3. **transform** derives rush hour and speed of the good trips and adds them up by day and zone, with
   `dask.dataframe` on the Dask cluster it runs on.
4. **load** writes the sums to PostgreSQL or SQLite, **chart** draws them, **report** says what came of it.

A run has a folder of its own in the data directory: `raw`, `good` and `bad` hold a Parquet file for
each month; beside them are `daily.json` and `fares.png`. The sums go to the table `sample_etl_daily`.
The same parameters give the same records, and clearing a task replaces what it made before.

Define the connection once, for example with
`airflow connections add sample_results --conn-type sqlite --conn-host /path/to/results.db`.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any, TypedDict

from airflow.sdk import Param, dag, get_current_context, task, task_group

from airflow_eks_dask.samples import forms

if TYPE_CHECKING:
    from airflow_eks_dask.samples.results import Loaded

# pandas, pyarrow and their like are imported where tasks need them: Airflow reads this file again and again.

log = logging.getLogger(__name__)

PARAMS = {
    "year": forms.year(),
    "rows": Param(
        300_000,
        type="integer",
        minimum=1_000,
        maximum=20_000_000,
        title="Trips",
        description="Number of raw trips in the year. About one in fifty is bad, on purpose.",
    ),
    "seed": forms.seed(),
    "data_dir": forms.data_dir("sample_etl"),
    "conn_id": forms.connection(
        "sample_results",
        "Connection for the results",
        "Airflow connection to the PostgreSQL or SQLite database that gets the table sample_etl_daily.",
    ),
}


class Plan(TypedDict):
    """What a run does, and where its files go."""

    run_id: str
    folder: str
    year: int
    rows: int
    seed: int


class Month(TypedDict):
    """What became of the trips of a month."""

    month: str
    good: int
    bad: dict[str, int]


def partition(folder: str, step: str, month: str) -> str:
    """Return the path of a month's file of a step."""
    return f"{folder}/{step}/{month}.parquet"


def summarize(plan: Plan, months: list[Month], loaded: Loaded, chart: str) -> dict[str, Any]:
    """
    Say what came of the run.

    :raises ValueError: Trips were lost or doubled on the way.
    """
    good = sum(month["good"] for month in months)
    bad: Counter[str] = sum((Counter(month["bad"]) for month in months), Counter())
    if good + bad.total() != plan["rows"] or loaded["trips"] != good:
        raise ValueError(
            f"Trips do not add up: {plan['rows']} were asked for, {good} good and {bad.total()} bad ones "
            f"were found, and the database has {loaded['trips']}. Were files in {plan['folder']} or rows of "
            f"run {plan['run_id']} changed by hand? Clear the whole run to make them anew."
        )
    return {
        "rows_in": plan["rows"],
        "good": good,
        "bad": bad.total(),
        "bad_by_reason": dict(bad.most_common()),
        "rows_loaded": loaded["rows"],
        "folder": plan["folder"],
        "chart": chart,
    }


@task(multiple_outputs=False)
def prepare() -> Plan:
    """Fail now, not after all the work, if results could not be stored."""
    from airflow_eks_dask.samples import files, results

    context = get_current_context()
    params, run_id = context["params"], context["run_id"]
    results.results_engine(params["conn_id"])
    plan = Plan(
        run_id=run_id,
        folder=files.run_folder(params["data_dir"], run_id),
        year=params["year"],
        rows=params["rows"],
        seed=params["seed"],
    )
    files.write_json(f"{plan['folder']}/plan.json", plan)
    return plan


@task
def extract(plan: Plan, number: int) -> str:
    """Make the raw trips of a month, 1 to 12; return the month, such as ``2025-01``."""
    from airflow_eks_dask.samples import files, taxi

    month, trips = taxi.trips_of_month(plan["year"], number, plan["rows"], plan["seed"])
    files.write_parquet(partition(plan["folder"], "raw", month), trips)
    return month


@task(multiple_outputs=False)
def validate(plan: Plan, month: str) -> Month:
    """Part good trips from bad ones, and count the bad ones by reason."""
    from airflow_eks_dask.samples import files, taxi

    good, bad = taxi.split_trips(files.read_parquet(partition(plan["folder"], "raw", month)), month)
    files.write_parquet(partition(plan["folder"], "good", month), good)
    files.write_parquet(partition(plan["folder"], "bad", month), bad)
    reasons = taxi.count_reasons(bad)
    log.info("%s: %d good trips, %d bad ones: %s", month, good.num_rows, bad.num_rows, reasons)
    return Month(month=month, good=good.num_rows, bad=reasons)


@task
def transform(plan: Plan, months: list[Month]) -> str:
    """Enrich the good trips and add them up, on the Dask cluster that runs this task; return the path of the sums."""
    from airflow_eks_dask import get_client
    from airflow_eks_dask.samples import files, taxi

    paths = [partition(plan["folder"], "good", month["month"]) for month in months[:]]
    with get_client() as client:
        daily = taxi.add_up(paths, client)
    return files.write_json(f"{plan['folder']}/daily.json", daily)


@task(multiple_outputs=False)
def load(plan: Plan, sums: str) -> Loaded:
    """Put the sums into the database, in place of those this run loaded before."""
    from airflow_eks_dask.samples import files, results

    engine = results.results_engine(get_current_context()["params"]["conn_id"])
    return results.replace_rows(engine, plan["run_id"], files.read_json(sums))


@task
def chart(plan: Plan, sums: str) -> str:
    """Draw the sums; return the path of the picture."""
    from airflow_eks_dask.samples import files, taxi

    daily = files.read_json(sums)
    return files.write(f"{plan['folder']}/fares.png", lambda file: taxi.draw_fares(daily, file))


@task(multiple_outputs=False)
def report(plan: Plan, months: list[Month], loaded: Loaded, picture: str) -> dict[str, Any]:
    """Log and return what came of the run."""
    # A slice is fetched in one request; iterating would take one for each month.
    summary = summarize(plan, months[:], loaded, picture)
    log.info("Run %s:\n%s", plan["run_id"], json.dumps(summary, indent=2))
    return summary


@task_group
def month(plan: Plan, number: int) -> Month:
    """Make the trips of a month, and part good from bad ones."""
    return validate(plan, extract(plan, number))


@dag(
    schedule=None,
    catchup=False,
    tags=["sample", "dask"],
    doc_md=__doc__,
    params=PARAMS,
    default_args=forms.DEFAULT_ARGS,
)
def sample_etl() -> None:
    """Taxi trips: from raw records to a table and a chart."""
    plan = prepare()
    months = month.partial(plan=plan).expand(number=list(range(1, 13)))
    sums = transform(plan, months)
    report(plan, months, load(plan, sums), chart(plan, sums))


sample_etl()
