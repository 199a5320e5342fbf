"""The page's data and who gets it; tests/browser has the page itself."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.api_fastapi.core_api import security
from airflow.models.log import Log
from fastapi import HTTPException
from fastapi.testclient import TestClient

from airflow_eks_dask.endpoint import Endpoint
from airflow_eks_dask.hooks.dask_cluster import Cluster, ClusterError
from airflow_eks_dask.ui import app as page
from airflow_eks_dask.ui.places import Place
from airflow_eks_dask.ui.plugin import URL_PREFIX, EksDaskPlugin
from airflow_eks_dask.ui.snapshot import KEPT, Reading, Snapshot, Snapshots

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

ADDRESS = "tcp://127.0.0.1:8786"
WORKER = {
    "address": "tcp://127.0.0.1:1",
    "name": "one",
    "slots": 2,
    "free": 1,
    "queues": ["default"],
    "resources": {},
    "state": "running",
    "versions": {},
    "version_differences": [],
    "running": [{"key": "k", "label": "secret_dag.task", "queue": "default", "since": 1.0}],
}
QUEUE = {"name": "default", "free": 1, "waiting": 0, "served": True}
BODY = {"cluster": ADDRESS, "worker": WORKER["address"]}
HEADER = {"X-Requested-With": "airflow-eks-dask"}


class Calls:
    """What the page asks of a Dask scheduler, answered without one."""

    def __init__(self) -> None:
        self.drained: list[tuple[str, bool]] = []

    def drain(self, worker: str, *, cancel: bool) -> str:
        if worker != WORKER["address"]:
            raise ClusterError(f"there is no worker {worker}")
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
    def connected(cluster: Cluster, timeout: float) -> Iterator[Calls]:
        assert cluster.endpoint.address == ADDRESS
        yield calls

    monkeypatch.setattr(page, "connected", connected)
    place = Place(lanes=("default",), name="the cluster", cluster=Cluster(Endpoint(ADDRESS), "a test"))
    monkeypatch.setattr(page, "find_places", lambda settings: [Place(lanes=("gpu",), name="gone"), place])
    return calls


@pytest.fixture
def database(session: Session, monkeypatch: pytest.MonkeyPatch) -> Session:
    @contextmanager
    def create_session() -> Iterator[Session]:
        yield session
        session.commit()

    monkeypatch.setattr(page, "create_session", create_session)
    monkeypatch.setattr(page, "scheduled_by_queue", lambda: {"default": 4})
    return session


@pytest.fixture
def auth(monkeypatch: pytest.MonkeyPatch) -> AuthManager:
    auth = AuthManager()
    monkeypatch.setattr(page, "get_auth_manager", lambda: auth)
    monkeypatch.setattr(security, "get_auth_manager", lambda: auth)
    return auth


def reading(**changes: Any) -> Reading:
    plain = {"lanes": ("default", "local"), "name": "the cluster", "address": ADDRESS, "queues": [dict(QUEUE)]}
    return Reading([Snapshot(**{**plain, "workers": [WORKER], **changes})])


@pytest.fixture
def client(auth: AuthManager, calls: Calls, database: Session, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setattr(page, "snapshots", Snapshots(reading))
    app = page.application.__wrapped__()
    app.dependency_overrides[security.get_user] = lambda: SimpleNamespace(get_name=lambda: "ada")
    with TestClient(app) as client:
        yield client


def test_the_page_asks_no_other_server(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    names = set(re.findall(r'(?:src|href)="static/([^"]+)"', answer.text))
    assert names == {"page.js", "page.css"}
    while names:
        file = client.get(f"/static/{names.pop()}")
        assert file.status_code == 200
        assert not re.search(r"https?://", file.text)
        names |= set(re.findall(r'from "\./([^"]+)"', file.text))
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
    (running,) = answer.json()["clusters"][0]["workers"][0]["running"]
    assert running == {"queue": "default", "since": 1.0, "task": None}
    assert "secret_dag" not in answer.text


def test_draining_is_done_and_noted(client: TestClient, calls: Calls) -> None:
    answer = client.post("/api/drain", json=BODY, headers=HEADER)
    assert answer.json() == {"worker": WORKER["address"]}
    assert calls.drained == [(WORKER["address"], False)]
    (event,) = client.get("/api/overview").json()["events"]
    assert event["what"] == f"Worker {WORKER['address']} drains"
    assert event["reason"] == "asked for by ada"


def test_draining_needs_permission(client: TestClient, auth: AuthManager, calls: Calls) -> None:
    auth.edit = False
    assert client.get("/api/overview").json()["may_drain"] is False
    assert client.post("/api/drain", json=BODY, headers=HEADER).status_code == 403
    assert not calls.drained


def test_another_site_cannot_drain(client: TestClient, calls: Calls) -> None:
    assert client.post("/api/drain", json=BODY).status_code == 403
    assert not calls.drained


def test_why_a_worker_cannot_drain_is_told(client: TestClient) -> None:
    answer = client.post("/api/drain", json={**BODY, "worker": "tcp://gone:1"}, headers=HEADER)
    assert (answer.status_code, answer.json()["detail"]) == (409, "there is no worker tcp://gone:1")


def test_events_of_dags_that_the_user_may_not_read_are_left_out(client: TestClient, database: Session) -> None:
    for dag_id in ("mine", "secret"):
        log = Log(event="queue not served", extra=f"reason of {dag_id}")
        log.dag_id, log.task_id = dag_id, "t"
        database.add(log)
    database.add(Log(event="something else"))
    database.commit()
    assert [event["reason"] for event in client.get("/api/overview").json()["events"]] == ["reason of mine"]


@pytest.mark.parametrize("cluster", ["tcp://127.0.0.1:9", "tls://evil.example.com:8786"])
def test_airflow_connects_only_to_clusters_that_lanes_use(client: TestClient, calls: Calls, cluster: str) -> None:
    answer = client.post("/api/drain", json={**BODY, "cluster": cluster}, headers=HEADER)
    assert answer.status_code == 409
    assert f"No lane uses a Dask cluster at {cluster}" in answer.json()["detail"]
    assert not calls.drained


def test_what_waits_in_airflow_is_told_with_its_queue(client: TestClient) -> None:
    (cluster,) = client.get("/api/overview").json()["clusters"]
    assert cluster["queues"] == [{**QUEUE, "in_airflow": 4}]


def test_lanes_are_told_with_since_when_they_use_the_cluster(client: TestClient, database: Session) -> None:
    log = Log(event="dask lane moved", extra='{"lane": "default", "cluster": "the cluster"}')
    database.add(log)
    database.commit()
    (cluster,) = client.get("/api/overview").json()["clusters"]
    assert cluster["lanes"] == [
        {"name": "default", "since": log.dttm.timestamp()},
        {"name": "local", "since": None},
    ]


def test_a_configuration_that_cannot_work_is_told(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "snapshots", Snapshots(lambda: Reading(error="lanes: 'x' must look like ...")))
    answer = client.get("/api/overview").json()
    assert (answer["clusters"], answer["error"]) == ([], "lanes: 'x' must look like ...")


def test_many_who_watch_ask_the_cluster_once() -> None:
    now, taken = [0.0], []

    def take() -> Reading:
        taken.append(now[0])
        return Reading()

    snapshots = Snapshots(take, lambda: now[0])
    for now[0] in (0.0, KEPT / 2, KEPT + 0.5):
        snapshots.get()
    assert taken == [0.0, KEPT + 0.5]
    snapshots.forget()
    snapshots.get()
    assert len(taken) == 3


def test_who_comes_while_a_cluster_keeps_silent_is_shown_what_was_known() -> None:
    asked, answer = threading.Event(), threading.Event()
    readings = iter([Reading(error="first"), Reading(error="second")])

    def read() -> Reading:
        reading = next(readings)
        if reading.error == "second":
            asked.set()
            assert answer.wait(30)
        return reading

    now = [0.0]
    snapshots = Snapshots(read, lambda: now[0])
    snapshots.get()
    now[0] = KEPT + 1
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(snapshots.get)
        assert asked.wait(30)
        assert snapshots.get().error == "first"
        answer.set()
        assert slow.result(30).error == "second"
    assert snapshots.get().error == "second"


def test_airflow_finds_the_page() -> None:
    (view,) = EksDaskPlugin.external_views
    (mounted,) = EksDaskPlugin.fastapi_apps
    assert view["href"].endswith(f"{URL_PREFIX}/")
    assert mounted["url_prefix"] == URL_PREFIX
