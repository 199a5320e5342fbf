"""
How sure a figure is: the Poisson bootstrap over trips, in parts that a cluster computes side by side.

A bootstrap asks how much a figure would vary had other trips been seen: it draws the trips anew, with repetition, many
times, and looks how the figure comes out. Here each resample counts each trip as often as a Poisson distribution of
mean 1 says, which for many trips comes to the same and needs no part to know of another (J. A. Hanley, B. MacGibbon:
Creating non-parametric bootstrap samples using Poisson frequencies, 2006).
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from airflow_eks_dask.samples import taxi

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd
    from distributed import Client
    from numpy.typing import NDArray

PART = 50_000
"""Trips that one computation makes and resamples at a time."""

BLOCK = 25
"""Resamples at a time: for a part, some 20 MB of memory."""

GROUPS = [(zone, rush_hour) for zone in taxi.ZONES for rush_hour in (False, True)]
FARE, DURATION, TRIPS = range(3)
"""What is added up: cents, seconds, and the number of trips."""


class Sample(NamedTuple):
    """
    The trips to look at.

    :param year: Their year.
    :param rows: How many there are, bad ones among them.
    :param seed: The same seed gives the same trips and the same resamples.
    """

    year: int
    rows: int
    seed: int

    @property
    def parts(self) -> int:
        """Into how many parts they are divided."""
        return -(-self.rows // PART)


def add_up_part(number: int, sample: Sample, resamples: int) -> NDArray[np.float64]:
    """
    Make a part of the trips and add up the good ones: as they are, and resampled.

    :param number: Of the part, from 0.
    :param resamples: How many.
    :return: Sums by resample, group and what is added up; those of the trips as they are come first. They are whole
        numbers, so that adding parts up is exact, in whatever order they come.
    """
    month = f"{sample.year}-{1 + number * 12 // sample.parts:02}"
    seed, resample_seed = np.random.SeedSequence([sample.seed, number]).generate_state(2).tolist()
    raw = taxi.make_trips(month, number * PART, min((number + 1) * PART, sample.rows), seed)
    good, _ = taxi.split_trips(raw, month)
    return resampled_sums(*_by_group(taxi.enrich_trips(good.to_pandas())), resamples, resample_seed)


def resampled_sums(
    values: NDArray[np.float64], ends: NDArray[np.intp], resamples: int, seed: int
) -> NDArray[np.float64]:
    """
    Add up the values of each group, as they are and in each resample.

    :param values: A row for each trip, sorted by group.
    :param ends: Where each group ends.
    """
    random = np.random.default_rng(seed)
    starts = [0, *ends[:-1]]
    sums = np.zeros((1 + resamples, len(ends), values.shape[1]))
    for first in range(0, 1 + resamples, BLOCK):
        last = min(first + BLOCK, 1 + resamples)
        counts = random.poisson(1.0, (last - first, len(values))).astype("float64")
        if first == 0:
            counts[0] = 1
        for group, (start, end) in enumerate(zip(starts, ends, strict=True)):
            sums[first:last, group] = counts[:, start:end] @ values[start:end]
    return sums


def compute(
    client: Client, sample: Sample, resamples: int, progress: Callable[[int], None], *, timeout: float = 840
) -> NDArray[np.float64]:
    """
    Make, resample and add up all parts, on all workers of a Dask cluster.

    No machine ever holds all trips: each part is made where it is used, and only sums leave the worker.

    :param progress: Called with the number of parts that are done, after each.
    :param timeout: Seconds to wait for the cluster.
    :return: As :func:`add_up_part`, for all trips.
    :raises TimeoutError: The cluster did not finish in time.
    """
    from distributed import as_completed

    futures = client.map(add_up_part, range(sample.parts), sample=sample, resamples=resamples)
    # Each result is forgotten by the cluster once it has been added.
    completed = as_completed(futures, with_results=True, timeout=timeout)
    del futures
    total = np.zeros((1 + resamples, len(GROUPS), 3))
    for done, (_, sums) in enumerate(completed, start=1):
        total += sums
        progress(done)
    return total


def hourly_fares(sums: NDArray[np.float64], confidence: float) -> pd.DataFrame:
    """
    Return what a taxi earns in an hour of driving, by zone and rush hour, and how sure that is.

    :param sums: Of all trips, as :func:`compute` returns them.
    :param confidence: Such as 0.95: in this share of all samples the interval holds the true figure.
    :return: For each group that has trips: ``trips``, ``per_hour``, and ``low`` and ``high`` around it.
    """
    import pandas as pd

    with np.errstate(invalid="ignore"):  # a resample may hold no trip of a small group
        per_hour = sums[..., FARE] / 100 / (sums[..., DURATION] / 3600)
    table = pd.DataFrame(GROUPS, columns=["zone", "rush_hour"])
    table["trips"] = sums[0, :, TRIPS].astype("int64")
    table["per_hour"] = per_hour[0]
    there = sums[0, :, TRIPS] > 0
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    table.loc[there, ["low", "high"]] = np.nanquantile(per_hour[1:, there], tails, axis=0).T
    known: pd.DataFrame = table[there].reset_index(drop=True)
    return known


def draw(table: pd.DataFrame, file: IO[bytes]) -> None:
    """
    Draw the figures with their intervals, as a PNG.

    :param table: As :func:`hourly_fares` returns it.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(title="What a taxi earns in an hour of driving", ylabel="per hour")
    for rush_hour, shift, label in ((False, -0.1, "other hours"), (True, 0.1, "rush hour of working days")):
        part = table[table["rush_hour"] == rush_hour]
        positions = np.array([taxi.ZONES.index(zone) for zone in part["zone"]]) + shift
        errors = [part["per_hour"] - part["low"], part["high"] - part["per_hour"]]
        axes.errorbar(positions, part["per_hour"], yerr=errors, fmt="o", capsize=4, label=label)
    axes.set_xticks(range(len(taxi.ZONES)), taxi.ZONES)
    axes.legend()
    figure.savefig(file, format="png")


def _by_group(trips: Any) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return fare, duration and 1 of each trip, sorted by group, and where each group ends."""
    group = trips["zone"].map(taxi.ZONES.index).to_numpy("int64") * 2 + trips["rush_hour"].to_numpy("int64")
    order = np.argsort(group, kind="stable")
    values = np.column_stack([trips["fare_cents"], trips["duration_s"], np.ones(len(trips))])[order]
    return values.astype("float64"), np.searchsorted(group[order], np.arange(len(GROUPS)), side="right")
