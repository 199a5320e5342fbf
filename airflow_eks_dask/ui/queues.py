"""Which tasks wait in Airflow for which queue of which cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eks_dask.executors.lanes import route
from airflow_eks_dask.executors.settings import DEFAULT_LANE, LOCAL_LANE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eks_dask.executors.settings import DaskSettings


def add_waiting_in_airflow(
    clusters: Sequence[dict[str, Any]], scheduled: Mapping[str, int], settings: DaskSettings
) -> None:
    """
    Add to each queue of each cluster how many tasks wait in Airflow until there is room for them, as ``in_airflow``.

    A cluster is given no more than it can run, so most of what waits is there.

    :param clusters: With their ``lanes`` and ``queues``.
    :param scheduled: How many tasks wait, by queue.
    """
    lanes = {DEFAULT_LANE, LOCAL_LANE, *settings.lanes}
    counts: dict[tuple[str, str], int] = {}
    for queue, count in scheduled.items():
        place = route(queue, lanes, settings.default_queue)
        counts[place] = counts.get(place, 0) + count
    for cluster in clusters:
        for queue in cluster["queues"]:
            queue["in_airflow"] = 0
    for (lane, name), count in counts.items():
        for cluster in [each for each in clusters if lane in each["lanes"]][:1]:
            _queue(cluster, name)["in_airflow"] += count


def _queue(cluster: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] | None = next((queue for queue in cluster["queues"] if queue["name"] == name), None)
    if found is None:
        # Of a cluster that is away it is not known what its workers serve.
        known = cluster["error"] is None and cluster["note"] is None
        found = {"name": name, "free": 0, "waiting": 0, "served": not known, "in_airflow": 0}
        cluster["queues"].insert(0, found)
    return found
