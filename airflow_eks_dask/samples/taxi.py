"""Made-up taxi trips: making, checking, adding up, drawing."""

from __future__ import annotations

from collections import Counter
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.compute as pc  # type: ignore[import-untyped]

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client

ZONES = ("Harbour", "Old Town", "Station", "University", "Gardens", "Hills", "Airport")
TOP_SPEED_KMH = 150
RUSH_HOURS = [7, 8, 9, 16, 17, 18]


def make_trips(month: str, first: int, end: int, seed: int) -> pa.Table:
    """
    Make the raw trips of a month, about one in fifty of them bad: the same for the same arguments.

    :param month: Such as ``2025-01``.
    :param first: Number of the first trip.
    :param end: One more than the number of the last trip.
    """
    count = end - first
    start = np.datetime64(month, "M")
    days = (start + 1).astype("datetime64[D]") - start.astype("datetime64[D]")
    random = np.random.default_rng([seed, start.astype(int)])
    seconds = np.sort(random.integers(0, days.astype(int) * 86_400, count))
    pickup = start.astype("datetime64[us]") + seconds.astype("timedelta64[s]")
    zone = random.binomial(len(ZONES) - 1, 0.5, count)
    # Whole metres, seconds and cents: their sums are exact, in whatever order the cluster adds them up.
    distance = (200 + random.gamma(2.0, 2500.0, count)).astype("int64")
    duration = (distance * 3.6 / random.uniform(12, 45, count)).astype("int64") + 1
    fare = 350 + distance * 18 // 100 + duration * 3 // 4

    fault = random.integers(0, 350, count)
    pickup[fault == 0] += np.timedelta64(400, "D")
    distance[fault == 1] *= -1
    distance[fault == 2] *= 1000
    duration[fault == 3] = 0
    fare[fault == 4] *= -1
    return pa.table(
        {
            "trip_id": pa.array(np.arange(first, end)),
            "pickup_at": pa.array(pickup, mask=fault == 5),
            "zone": pa.array(ZONES).take(pa.array(zone, mask=fault == 6)),
            "distance_m": pa.array(distance),
            "duration_s": pa.array(duration),
            "fare_cents": pa.array(fare),
        }
    )


def trips_of_month(year: int, number: int, rows: int, seed: int) -> tuple[str, pa.Table]:
    """
    Make the raw trips of one month of a year; those of all twelve are numbered without a gap.

    :param number: Of the month, 1 to 12.
    :param rows: How many trips the year has.
    :return: The month, such as ``2025-01``, and its trips.
    """
    month = f"{year}-{number:02}"
    return month, make_trips(month, rows * (number - 1) // 12, rows * number // 12, seed)


def split_trips(trips: pa.Table, month: str) -> tuple[pa.Table, pa.Table]:
    """
    Part good trips from bad ones.

    Bad ones get a column ``reason``: the first rule they break.

    :param month: The month the trips should be of, such as ``2025-01``.
    """
    start = np.datetime64(month, "M")
    pickup, distance, duration = trips["pickup_at"], trips["distance_m"], trips["duration_s"]
    rules = {
        "missing pickup time": pc.is_null(pickup),
        "missing zone": pc.is_null(trips["zone"]),
        "pickup in another month": pc.or_(
            pc.less(pickup, pa.scalar(start.astype("datetime64[us]"))),
            pc.greater_equal(pickup, pa.scalar((start + 1).astype("datetime64[us]"))),
        ),
        "negative distance": pc.less(distance, 0),
        "no duration": pc.less_equal(duration, 0),
        "impossible speed": pc.greater(pc.multiply(distance, 3.6), pc.multiply(duration, TOP_SPEED_KMH)),
        "negative fare": pc.less(trips["fare_cents"], 0),
    }
    broken = [pc.fill_null(rule, False).combine_chunks() for rule in rules.values()]
    reason = pc.case_when(pa.StructArray.from_arrays(broken, names=list(rules)), *rules)
    good = pc.is_null(reason)
    return trips.filter(good), trips.append_column("reason", reason).filter(pc.invert(good))


def count_reasons(bad: pa.Table) -> dict[str, int]:
    """Return how many of the bad trips have which reason."""
    return {entry["values"]: entry["counts"] for entry in bad["reason"].value_counts().to_pylist()}


def enrich_trips(trips: Any) -> Any:
    """
    Add to good trips the day, whether they fell into the rush hour of a working day (0 or 1), and the mean speed.

    :param trips: A pandas or Dask data frame; the result is of the same kind.
    """
    pickup = trips["pickup_at"].dt
    rush_hour = (pickup.dayofweek < 5) & pickup.hour.isin(RUSH_HOURS)
    return trips.assign(
        day=pickup.floor("D"),
        rush_hour=rush_hour.astype("int64"),
        speed_kmh=(trips["distance_m"] * 3.6 / trips["duration_s"]).round(1),
    )


def add_up(paths: list[str], client: Client, *, timeout: float = 300) -> list[dict[str, Any]]:
    """
    Enrich good trips and add them up by day and zone, on a Dask cluster.

    :param paths: Parquet files of good trips, which every worker of the cluster can read.
    :param timeout: Seconds to wait for the cluster.
    :return: For each day, such as ``2025-01-31``, and zone: trips, distance, duration, fares and more.
    :raises TimeoutError: The cluster did not finish in time.
    """
    import dask.dataframe as dd

    sums = {
        "trip_id": "count",
        "rush_hour": "sum",
        "distance_m": "sum",
        "duration_s": "sum",
        "fare_cents": "sum",
        "speed_kmh": "max",
    }
    names = {"trip_id": "trips", "rush_hour": "rush_hour_trips", "speed_kmh": "top_speed_kmh"}
    # The sums are few: one partition takes them, and no shuffle is needed.
    trips = enrich_trips(dd.read_parquet(paths))
    daily = trips.groupby(["day", "zone"]).agg(sums, split_out=1).rename(columns=names)
    future = client.compute(daily)
    result: pd.DataFrame = future.result(timeout=timeout).sort_index().reset_index()
    rows: list[dict[str, Any]] = result.assign(day=result["day"].dt.strftime("%Y-%m-%d")).to_dict("records")
    return rows


def draw_fares(daily: list[dict[str, Any]], file: IO[bytes]) -> None:
    """
    Draw the fares of each month, one colour a zone, as a PNG.

    :param daily: The sums by day and zone, as ``add_up`` returns them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    fares: Counter[tuple[str, str]] = Counter()
    for row in daily:
        fares[row["day"][:7], row["zone"]] += row["fare_cents"]
    months = sorted({month for month, _ in fares})
    figure = Figure(figsize=(10, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(title="Taxi fares by month and zone", ylabel="thousands")
    top = np.zeros(len(months))
    for zone in ZONES:
        heights = np.array([fares[month, zone] for month in months]) / 100_000
        axes.bar(months, heights, bottom=top, label=zone)
        top += heights
    axes.tick_params("x", rotation=45)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    figure.savefig(file, format="png")
