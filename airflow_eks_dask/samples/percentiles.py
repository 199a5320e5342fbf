"""How fast taxis drive: percentiles, which need all trips at once, or a sample of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from airflow_eks_dask.samples import files, taxi

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

PERCENTILES = (50, 95, 99)


def can_run(worker: Mapping[str, Any], queue: str, resources: Mapping[str, float]) -> bool:
    """
    Say whether a worker would ever run a task.

    :param worker: As :meth:`.SchedulerCalls.status` tells of it.
    :param queue: The task's queue.
    :param resources: The Dask resources that it asks for, by name.
    """
    return (
        worker["state"] == "running"
        and queue in worker["queues"]
        and all(worker["resources"].get(name, 0) >= amount for name, amount in resources.items())
    )


def read_speeds(paths: Sequence[str], share: float, seed: int) -> pd.DataFrame:
    """
    Read zone, hour and speed of trips into memory.

    :param paths: Parquet files of good trips.
    :param share: What share of each file's trips to keep, drawn by chance; 1 for all.
    :param seed: The same seed draws the same trips.
    """
    import pandas as pd

    parts = []
    for number, path in enumerate(paths):
        trips = files.read_parquet(path).to_pandas()
        if share < 1:
            trips = trips.sample(frac=share, random_state=np.random.default_rng([seed, number]))
        enriched = taxi.enrich_trips(trips)
        parts.append(
            pd.DataFrame(
                {
                    "zone": enriched["zone"].astype("category"),
                    "hour": enriched["pickup_at"].dt.hour.astype("int8"),
                    "speed_kmh": enriched["speed_kmh"].astype("float32"),
                }
            )
        )
    together: pd.DataFrame = pd.concat(parts, ignore_index=True)
    return together


def speed_percentiles(trips: pd.DataFrame) -> pd.DataFrame:
    """
    Return percentiles of the speed by zone and hour of the day, such as ``p95``, and the number of ``trips``.

    :param trips: As :func:`read_speeds` returns them.
    """
    import pandas as pd

    groups = trips.groupby(["zone", "hour"], observed=True)["speed_kmh"]
    columns = {f"p{percentile}": groups.quantile(percentile / 100) for percentile in PERCENTILES}
    table: pd.DataFrame = pd.DataFrame({**columns, "trips": groups.size()}).reset_index()
    return table
