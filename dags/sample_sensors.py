"""
Waiting without a slot.

Orders some parcels, waits for each, and unpacks them when all are there. The waiting is *deferred*: Airflow's
triggerer watches the clock for all waits together, and no slot of a worker is taken meanwhile.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from airflow.providers.standard.sensors.date_time import DateTimeSensorAsync
from airflow.sdk import Param, dag, task

PARAMS = {
    "wait": Param(
        2,
        type="number",
        minimum=0,
        maximum=86_400,
        title="Wait",
        description="Seconds from the order until the parcels arrive.",
    ),
    "parcels": Param(
        3,
        type="integer",
        minimum=1,
        maximum=100,
        title="Parcels",
        description="Number of parcels: as many tasks wait at the same time.",
    ),
}


@task
def order(params: dict | None = None) -> list[str]:
    """Order parcels; return when each arrives."""
    arrival = datetime.now(timezone.utc) + timedelta(seconds=params["wait"])
    return [arrival.isoformat()] * params["parcels"]


@task
def unpack(arrivals: list[str]) -> float:
    """
    Unpack the parcels; return how many seconds after the last arrival that is.

    :raises ValueError: A parcel is not there yet.
    """
    late = (datetime.now(timezone.utc) - datetime.fromisoformat(max(arrivals))).total_seconds()
    if late < 0:
        raise ValueError(f"Started {-late:.1f} s before the last parcel arrives: a wait ended too early.")
    return late


@dag(schedule=None, catchup=False, tags=["sample", "deferrable"], doc_md=__doc__, params=PARAMS)
def sample_sensors() -> None:
    """Waiting without a slot."""
    arrivals = order()
    wait = DateTimeSensorAsync.partial(task_id="wait").expand(target_time=arrivals)
    wait >> unpack(arrivals)


sample_sensors()
