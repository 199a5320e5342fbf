"""Where the clusters of all lanes are, found out as the executor does."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass, replace

from airflow.configuration import conf
from airflow.exceptions import AirflowConfigException

from airflow_eks_dask.endpoint import Endpoint
from airflow_eks_dask.executors.cluster import cluster_name
from airflow_eks_dask.executors.connection_watch import Whereabouts, connection_of, locate
from airflow_eks_dask.executors.settings import DEFAULT_LANE, LOCAL_LANE, DaskSettings
from airflow_eks_dask.hooks.dask_cluster import Cluster, ClusterError, embedded_addresses, scheduler_files

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Place:
    """
    A cluster that lanes use.

    :param lanes: Their names.
    :param name: What the audit log calls the cluster.
    :param cluster: Where it is; None if that is not known here.
    :param kubernetes: What the cluster in Kubernetes is called that it was published for, if it was.
    :param fault: Why it is not known where it is.
    :param note: The same, where nothing is wrong with that.
    """

    lanes: tuple[str, ...]
    name: str
    cluster: Cluster | None = None
    kubernetes: str | None = None
    fault: str | None = None
    note: str | None = None


def read_settings() -> DaskSettings:
    """
    Read the executor's configuration.

    :raises ClusterError: It can't work.
    """
    try:
        return DaskSettings.from_configuration(conf)
    except AirflowConfigException as error:
        raise ClusterError(str(error)) from None


def find_places(settings: DaskSettings) -> list[Place]:
    """
    Return the clusters of all lanes: first that of the default lane, each with all lanes that use it.

    :raises ClusterError: A file of an embedded cluster cannot be read.
    """
    unknown: list[Place] = []
    lanes: defaultdict[Endpoint | None, list[str]] = defaultdict(list)
    found: dict[Endpoint, Place] = {}
    for lane in (DEFAULT_LANE, *settings.lanes, LOCAL_LANE):
        source = connection_of(lane, settings)
        try:
            where = locate(lane, settings)
        except Exception as error:
            log.warning("It cannot be told where the cluster of lane %r is", lane, exc_info=True)
            fault = str(error) or type(error).__name__
            unknown.append(Place(lanes=(lane,), name=f"the cluster of lane {lane}", fault=fault))
            continue
        if where.endpoint is None and lane not in (DEFAULT_LANE, LOCAL_LANE):
            unknown.append(_without_connection(lane, source))
            continue
        lanes[where.endpoint].append(lane)
        if where.endpoint is not None:
            found.setdefault(where.endpoint, _place(where, where.endpoint, source))
    known = [
        place
        for endpoint, names in lanes.items()
        for place in ([replace(found[endpoint], lanes=tuple(names))] if endpoint else _embedded(tuple(names)))
    ]
    return sorted([*known, *unknown], key=lambda place: DEFAULT_LANE not in place.lanes)


def _place(where: Whereabouts, endpoint: Endpoint, source: str | None) -> Place:
    said = f"connection {source}" if source else "[dask] cluster_address"
    return Place(lanes=(), name=cluster_name(endpoint), cluster=Cluster(endpoint, said), kubernetes=where.cluster_name)


def _without_connection(lane: str, connection_id: str | None) -> Place:
    fault = f"There is no connection {connection_id!r}, which [dask] lanes names for it: tasks of this lane wait"
    return Place(lanes=(lane,), name=f"the cluster of lane {lane}", fault=fault)


def _embedded(lanes: tuple[str, ...]) -> list[Place]:
    """Return the embedded clusters of this machine; each Airflow scheduler on it has one."""
    name, addresses = cluster_name(None), embedded_addresses(scheduler_files())
    if addresses:
        return [
            Place(lanes=lanes, name=name, cluster=Cluster(Endpoint(address), f"embedded cluster, process {pid}"))
            for pid, address in addresses.items()
        ]
    unseen = "It runs on the machine of the Airflow scheduler, and none is seen on this one, the API server's"
    if DEFAULT_LANE in lanes:
        return [Place(lanes=lanes, name=name, fault=f"{unseen}. Is the Airflow scheduler up, with DaskExecutor?")]
    return [Place(lanes=lanes, name=name, note=f"{unseen}. It starts with the first task of queue {LOCAL_LANE!r}")]
