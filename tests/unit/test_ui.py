"""The page's data and who gets it; tests/browser has the page itself."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.api_fastapi.core_api import security
from airflow.models import import_all_models
from airflow.models.base import Base
from airflow.models.log import Log
from fastapi import HTTPException
from fastapi.testclient import TestClient
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import StaticPool

from airflow_eks_dask.cli._errors import CommandError
from airflow_eks_dask.ui import app as page
from airflow_eks_dask.ui import snapshot, tasks
from airflow_eks_dask.ui.plugin import URL_PREFIX, EksDaskPlugin
from airflow_eks_dask.ui.snapshot import KEPT, Snapshot, Snapshots

if TYPE_CHECKING:
    from collections.abc import Iterator

WORKER = {
    "address": "tcp://127.0.0.1:1",
    "name": "one",
    "slots": 2,
    "free": 1,
    "queues": ["default"],
    "resources": {},
    "state": "running",
    "running": [{"key": "k", "label": "secret_dag.task", "queue": "default", "since": 1.0}],
}
HEADER = {"X-Requested-With": "airflow-eks-dask"}


class Calls:
    """What the page asks of a Dask scheduler, answered without one."""

    def __init__(self) -> None:
        self.drained: list[tuple[str, bool]] = []

    def drain(self, worker: str, *, cancel: bool) -> str:
        if worker != WORKER["address"]:
            raise CommandError(f"there is no worker {worker}")
        self.drained.append((worker, cancel))
        return worker


class AuthManager:
    """Knows what one user may do."""

    def __init__(self, *, view: bool = True, edit: bool = True) -> None:
        self.view, self.edit = view, edit

    def is_authorized_view(self, **_: Any) -> bool:
        return self.view

    def is_authorized_connection(self, **_: Any) -> bool:
        return self.edit

    def get_authorized_dag_ids(self, **_: Any) -> set[str]:
        return {"mine"}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    calls = Calls()

    @contextmanager
    def connected() -> Iterator[tuple[Calls, dict[str, Any]]]:
        yield calls, {}

    monkeypatch.setattr(page, "connected", connected)
    return calls


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    import_all_models()
    Base.metadata.create_all(engine)
    with Session(engine) as session:

        @contextmanager
        def create_session() -> Iterator[Session]:
            yield session
            session.commit()

        monkeypatch.setattr(page, "create_session", create_session)
        yield session


@pytest.fixture
def auth(monkeypatch: pytest.MonkeyPatch) -> AuthManager:
    auth = AuthManager()
    monkeypatch.setattr(page, "get_auth_manager", lambda: auth)
    monkeypatch.setattr(security, "get_auth_manager", lambda: auth)
    return auth


@pytest.fixture
def client(auth: AuthManager, calls: Calls, session: Session, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(page, "snapshots", Snapshots(lambda: Snapshot(workers=[WORKER])))
    app = page.application.__wrapped__()
    app.dependency_overrides[security.get_user] = lambda: SimpleNamespace(get_name=lambda: "ada")
    with TestClient(app) as client:
        yield client


def test_the_page_asks_no_other_server(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    assert "default-src 'self'" in answer.headers["content-security-policy"]
    for name in ("page.js", "page.css"):
        assert f"static/{name}" in answer.text
        assert client.get(f"/static/{name}").status_code == 200
    assert "http" not in answer.text


@pytest.mark.parametrize("path", ["/", "/api/overview"])
def test_without_permission_there_is_neither_page_nor_data(client: TestClient, auth: AuthManager, path: str) -> None:
    auth.view = False
    answer = client.get(path)
    assert answer.status_code == 403
    assert "127.0.0.1" not in answer.text


@pytest.mark.parametrize("path", ["/", "/api/overview"])
def test_without_login_there_is_neither_page_nor_data(client: TestClient, path: str) -> None:
    def nobody() -> None:
        raise HTTPException(401)

    client.app.dependency_overrides[security.get_user] = nobody  # type: ignore[attr-defined]
    assert client.get(path).status_code == 401


def test_a_task_of_a_dag_that_the_user_may_not_read_has_no_name(client: TestClient) -> None:
    answer = client.get("/api/overview")
    (running,) = answer.json()["workers"][0]["running"]
    assert running == {"queue": "default", "since": 1.0, "task": None}
    assert "secret_dag" not in answer.text


def test_draining_is_done_and_noted(client: TestClient, calls: Calls) -> None:
    answer = client.post("/api/drain", json={"worker": WORKER["address"]}, headers=HEADER)
    assert answer.json() == {"worker": WORKER["address"]}
    assert calls.drained == [(WORKER["address"], False)]
    (event,) = client.get("/api/overview").json()["events"]
    assert (event["event"], event["what"]) == (tasks.DRAIN_EVENT, "ada")
    assert "drains" in event["reason"]


def test_draining_needs_permission(client: TestClient, auth: AuthManager, calls: Calls) -> None:
    auth.edit = False
    assert client.get("/api/overview").json()["may_drain"] is False
    assert client.post("/api/drain", json={"worker": WORKER["address"]}, headers=HEADER).status_code == 403
    assert not calls.drained


def test_another_site_cannot_drain(client: TestClient, calls: Calls) -> None:
    assert client.post("/api/drain", json={"worker": WORKER["address"]}).status_code == 403
    assert not calls.drained


def test_why_a_worker_cannot_drain_is_told(client: TestClient) -> None:
    answer = client.post("/api/drain", json={"worker": "tcp://gone:1"}, headers=HEADER)
    assert (answer.status_code, answer.json()["detail"]) == (409, "there is no worker tcp://gone:1")


def test_events_of_dags_that_the_user_may_not_read_are_left_out(client: TestClient, session: Session) -> None:
    for dag_id in ("mine", "secret"):
        log = Log(event="queue not served", extra=f"reason of {dag_id}")
        log.dag_id, log.task_id = dag_id, "t"
        session.add(log)
    session.add(Log(event="something else"))
    session.commit()
    assert [event["reason"] for event in client.get("/api/overview").json()["events"]] == ["reason of mine"]


def test_that_there_is_no_cluster_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(address: None) -> None:
        raise CommandError("No Dask cluster is named")

    monkeypatch.setattr(snapshot, "find_cluster", nowhere)
    assert snapshot.take() == Snapshot(error="No Dask cluster is named")


def test_many_who_watch_ask_the_cluster_once() -> None:
    now, taken = [0.0], []

    def take() -> Snapshot:
        taken.append(now[0])
        return Snapshot()

    snapshots = Snapshots(take, lambda: now[0])
    for now[0] in (0.0, KEPT / 2, KEPT + 0.5):
        snapshots.get()
    assert taken == [0.0, KEPT + 0.5]
    snapshots.forget()
    snapshots.get()
    assert len(taken) == 3


def test_airflow_finds_the_page() -> None:
    (view,) = EksDaskPlugin.external_views
    (mounted,) = EksDaskPlugin.fastapi_apps
    assert view["href"].endswith(f"{URL_PREFIX}/")
    assert mounted["url_prefix"] == URL_PREFIX
