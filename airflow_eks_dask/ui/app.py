"""The page and its data, behind Airflow's own login and permissions."""

from __future__ import annotations

from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_view
from airflow.configuration import conf
from airflow.utils.session import create_session
from fastapi import Depends, FastAPI, Header, HTTPException, status
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel

from airflow_eks_dask.executors.demand import scheduled_by_queue
from airflow_eks_dask.hooks.dask_cluster import ClusterError
from airflow_eks_dask.hooks.dask_scheduler import connected
from airflow_eks_dask.ui import history, progress, tasks
from airflow_eks_dask.ui.places import find_places, read_settings
from airflow_eks_dask.ui.queues import add_waiting_in_airflow
from airflow_eks_dask.ui.snapshot import ClusterReader, Snapshots, timeout

if TYPE_CHECKING:
    from airflow_eks_dask.hooks.dask_cluster import Cluster

STATIC = Path(__file__).parent / "static"
MAY_LOOK = Depends(requires_access_view(AccessView.CLUSTER_ACTIVITY))
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
snapshots = Snapshots(ClusterReader().read)


class Drain(BaseModel):
    """
    Which worker is to leave.

    :param cluster: Address of its Dask scheduler; one of those that the page shows.
    :param worker: Its address.
    :param cancel: It is to serve again.
    """

    cluster: str
    worker: str
    cancel: bool = False


def may_drain(user: GetUserDep) -> bool:
    """Tell whether a user may change connections: they say where tasks run, which is more than to drain a worker."""
    return bool(get_auth_manager().is_authorized_connection(method="PUT", user=user))


def requires_drain(
    allowed: Annotated[bool, Depends(may_drain)], x_requested_with: Annotated[str | None, Header()] = None
) -> None:
    """
    Refuse a user who may not drain, and requests that another site may have made a browser send.

    :raises HTTPException: 403.
    """
    if not allowed:
        raise HTTPException(status.HTTP_403_FORBIDDEN, "Draining needs permission to edit connections")
    # A page of another origin can't set this header unless the server allows it to.
    if x_requested_with != "airflow-eks-dask":
        raise HTTPException(status.HTTP_403_FORBIDDEN, "The header X-Requested-With: airflow-eks-dask is missing")


def index() -> FileResponse:
    """Return the page."""
    return FileResponse(STATIC / "index.html", headers=HEADERS)


def overview(user: GetUserDep, allowed: Annotated[bool, Depends(may_drain)]) -> dict[str, Any]:
    """Return clusters, workers, queues and what waits, runs under way and what happened, as far as the user may see."""
    reading = snapshots.get()
    clusters = [asdict(snapshot) for snapshot in reading.clusters]
    if reading.error is None:
        add_waiting_in_airflow(clusters, scheduled_by_queue(), read_settings())
    running = [workload for cluster in clusters for worker in cluster["workers"] for workload in worker["running"]]
    waiting = [workload for cluster in clusters for workload in cluster["waiting"]]
    keys = [workload["key"] for workload in [*running, *waiting]]
    names = {lane: cluster["name"] for cluster in clusters for lane in cluster["lanes"]}
    with create_session() as session:
        dag_ids = get_auth_manager().get_authorized_dag_ids(user=user, session=session)
        found = tasks.find_tasks(session, keys, dag_ids)
        since = history.lanes_since(session, names)
        told = {"events": history.recent_events(session, dag_ids), "runs": progress.find_runs(session, dag_ids)}
    return {
        "error": reading.error,
        "executor": conf.get("core", "executor"),
        "clusters": [_shown(cluster, found, since) for cluster in clusters],
        "may_drain": allowed,
        **told,
    }


def _shown(cluster: dict[str, Any], found: dict[str, dict[str, Any]], since: dict[str, float]) -> dict[str, Any]:
    """Return a cluster without what the user may not see."""
    return {
        **cluster,
        "lanes": [{"name": lane, "since": since.get(lane)} for lane in cluster["lanes"]],
        "workers": [
            {**worker, "running": [tasks.named(workload, found) for workload in worker["running"]]}
            for worker in cluster["workers"]
        ],
        "waiting": [tasks.named(workload, found) for workload in cluster["waiting"]],
    }


def drain(body: Drain, user: GetUserDep) -> dict[str, str]:
    """Have a worker finish what it runs, take nothing new, and leave; or take that back."""
    try:
        with connected(_known_cluster(body.cluster), timeout()) as calls:
            address = calls.drain(body.worker, cancel=body.cancel)
    except ClusterError as error:
        raise HTTPException(status.HTTP_409_CONFLICT, str(error)) from None
    snapshots.forget()
    with create_session() as session:
        history.note_drain(session, user.get_name(), address, cancel=body.cancel)
    return {"worker": address}


def _known_cluster(address: str) -> Cluster:
    """Return a cluster of a lane: whoever may drain is not to choose whom Airflow connects to."""
    for place in find_places(read_settings()):
        if place.cluster is not None and place.cluster.endpoint.address == address:
            return place.cluster
    raise ClusterError(f"No lane uses a Dask cluster at {address} any more")


@cache
def application() -> FastAPI:
    """Return the application; it is made once."""
    app = FastAPI(title="Dask cluster", openapi_url=None)
    app.get("/", dependencies=[MAY_LOOK])(index)
    app.get("/api/overview", dependencies=[MAY_LOOK])(overview)
    app.post("/api/drain", dependencies=[MAY_LOOK, Depends(requires_drain)])(drain)
    app.mount("/static", StaticFiles(directory=STATIC))
    return app
