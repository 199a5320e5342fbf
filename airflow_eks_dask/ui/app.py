"""The page and its data, behind Airflow's own login and permissions."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import AccessView
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_view
from airflow.utils.session import create_session
from fastapi import Depends, FastAPI, Header, HTTPException, status
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel

from airflow_eks_dask.cli._errors import CommandError
from airflow_eks_dask.ui import tasks
from airflow_eks_dask.ui.snapshot import Snapshots, connected

STATIC = Path(__file__).parent / "static"
MAY_LOOK = Depends(requires_access_view(AccessView.CLUSTER_ACTIVITY))
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
}
snapshots = Snapshots()


class Drain(BaseModel):
    """
    Which worker is to leave.

    :param worker: Its address.
    :param cancel: It is to serve again.
    """

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
    """Return the cluster, its workers, queues and what waits, and recent events, as far as the user may see them."""
    snapshot = snapshots.get()
    running = [workload for worker in snapshot.workers for workload in worker["running"]]
    keys = [workload["key"] for workload in [*running, *snapshot.waiting]]
    with create_session() as session:
        dag_ids = get_auth_manager().get_authorized_dag_ids(user=user, session=session)
        found = tasks.find_tasks(session, keys, dag_ids)
        events = tasks.recent_events(session, dag_ids)
    return {
        "error": snapshot.error,
        "cluster": snapshot.cluster,
        "workers": [
            {**worker, "running": [tasks.named(workload, found) for workload in worker["running"]]}
            for worker in snapshot.workers
        ],
        "waiting": [tasks.named(workload, found) for workload in snapshot.waiting],
        "waiting_total": snapshot.waiting_total,
        "queues": snapshot.queues,
        "events": events,
        "may_drain": allowed,
    }


def drain(body: Drain, user: GetUserDep) -> dict[str, str]:
    """Have a worker finish what it runs, take nothing new, and leave; or take that back."""
    try:
        with connected() as (calls, _):
            address = calls.drain(body.worker, cancel=body.cancel)
    except CommandError as error:
        raise HTTPException(status.HTTP_409_CONFLICT, str(error)) from None
    snapshots.forget()
    with create_session() as session:
        tasks.note_drain(session, user.get_name(), address, cancel=body.cancel)
    return {"worker": address}


@cache
def application() -> FastAPI:
    """Return the application; it is made once."""
    app = FastAPI(title="Dask cluster", openapi_url=None)
    app.get("/", dependencies=[MAY_LOOK])(index)
    app.get("/api/overview", dependencies=[MAY_LOOK])(overview)
    app.post("/api/drain", dependencies=[MAY_LOOK, Depends(requires_drain)])(drain)
    app.mount("/static", StaticFiles(directory=STATIC))
    return app
