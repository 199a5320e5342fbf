"""A small client of Airflow's REST API."""

from __future__ import annotations

import logging
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

import httpx

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from typing_extensions import Self

log = logging.getLogger(__name__)

T = TypeVar("T")

PAGE = 100
POLL_INTERVAL = 0.5
SHOWN_LOG_LINES = 30
SHOWN_FAILURES = 3


class AirflowApiError(RuntimeError):
    """
    Airflow refused a request.

    :param status: HTTP status.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class AirflowWaitError(RuntimeError):
    """Something waited for did not happen."""


@dataclass(frozen=True)
class DagRun:
    """One run of a DAG."""

    dag_id: str
    run_id: str
    state: str
    duration: float | None

    @property
    def finished(self) -> bool:
        """Whether the run ended, well or not."""
        return self.state in ("success", "failed")


@dataclass(frozen=True)
class TaskInstance:
    """One task of a run, or one element of a mapped task. ``state`` is ``none`` before it is scheduled."""

    task_id: str
    map_index: int
    state: str
    try_number: int
    duration: float | None
    data: Mapping[str, Any]

    @property
    def label(self) -> str:
        """Task id, with the map index if there is one."""
        return self.task_id if self.map_index < 0 else f"{self.task_id}[{self.map_index}]"


class AirflowClient:
    """
    Client of one Airflow; use it as a context manager, or ``close`` it.

    :param base_url: Address of the API server, without a path.
    :param check: Called while waiting; raises if waiting has no point any more.
    :param timeout: Seconds that one request may take.
    :param login: Name and password of a user; None for an Airflow that needs no login.
    """

    def __init__(
        self,
        base_url: str,
        *,
        check: Callable[[], None] = lambda: None,
        timeout: float = 30,
        login: tuple[str, str] | None = None,
    ) -> None:
        self.base_url = base_url
        self._check = check
        self._credentials = login
        # No proxies from the environment: the server is on this machine.
        self._http = httpx.Client(
            base_url=base_url, timeout=timeout, trust_env=False, transport=httpx.HTTPTransport(retries=2)
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """
        Send a request to the REST API and return the answer.

        :param method: ``GET``, ``POST``, ...
        :param path: Path beneath ``/api/v2``.
        :param params: Query parameters.
        :param json: Body.
        :param headers: Further HTTP headers.
        :raises AirflowApiError: if Airflow answers with an error.
        :raises httpx.TransportError: if Airflow does not answer.
        """
        if "Authorization" not in self._http.headers:
            self._login()
        response = self._http.request(method, f"/api/v2{path}", params=params, json=json, headers=headers)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            # The token has expired.
            self._login()
            response = self._http.request(method, f"/api/v2{path}", params=params, json=json, headers=headers)
        _raise_for_status(response)
        return response.json() if response.content else None

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """
        Start a run of a DAG and return its id.

        :param dag_id: The DAG.
        :param conf: Values of its params.
        :raises AirflowApiError: if there is no such DAG, or a param is refused.
        """
        body = {"conf": dict(conf or {}), "logical_date": None}
        answer = self.request("POST", f"/dags/{quote(dag_id)}/dagRuns", json=body)
        return str(answer["dag_run_id"])

    def dag_run(self, dag_id: str, run_id: str) -> DagRun:
        """Return the state of a run."""
        answer = self.request("GET", _run_path(dag_id, run_id))
        return DagRun(dag_id, run_id, answer["state"], answer.get("duration"))

    def task_instances(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """Return all task instances of a run, mapped ones one by one."""
        found: list[TaskInstance] = []
        while True:
            answer = self.request(
                "GET",
                f"{_run_path(dag_id, run_id)}/taskInstances",
                params={"limit": PAGE, "offset": len(found), "order_by": "id"},
            )
            found += [
                TaskInstance(
                    task_id=item["task_id"],
                    map_index=item["map_index"],
                    state=item["state"] or "none",
                    try_number=item["try_number"],
                    duration=item["duration"],
                    data=item,
                )
                for item in answer["task_instances"]
            ]
            if len(found) >= answer["total_entries"] or not answer["task_instances"]:
                return found

    def task_log(self, dag_id: str, run_id: str, task_id: str, *, try_number: int = 1, map_index: int = -1) -> str:
        """Return the log of one try of a task instance, as text."""
        answer = self.request(
            "GET",
            f"{_run_path(dag_id, run_id)}/taskInstances/{quote(task_id)}/logs/{try_number}",
            params={"map_index": map_index, "full_content": True},
        )
        return "\n".join(_log_line(item) for item in answer["content"])

    def return_value(self, dag_id: str, run_id: str, task: TaskInstance) -> Any:
        """Return what a task instance returned; None if it returned nothing."""
        try:
            answer = self.request(
                "GET",
                f"{_run_path(dag_id, run_id)}/taskInstances/{quote(task.task_id)}/xcomEntries/return_value",
                params={"map_index": task.map_index, "deserialize": False, "stringify": False},
            )
        except AirflowApiError as error:
            if error.status != httpx.codes.NOT_FOUND:
                raise
            return None
        return answer["value"]

    def wait_for_dag(self, dag_id: str, *, timeout: float = 60) -> None:
        """
        Wait until a DAG is parsed, and unpause it if it is paused.

        :param dag_id: The DAG.
        :param timeout: Seconds to wait.
        :raises AirflowWaitError: if there is no such DAG in time; the message holds the import errors of DAG files.
        """

        def parsed() -> dict[str, Any] | None:
            try:
                answer: dict[str, Any] = self.request("GET", f"/dags/{quote(dag_id)}")
            except AirflowApiError as error:
                if error.status != httpx.codes.NOT_FOUND:
                    raise
                return None
            return answer

        dag = self._wait(parsed, timeout, POLL_INTERVAL)
        if dag is None:
            raise AirflowWaitError(f"DAG {dag_id!r} was not there after {timeout:g} s. {self._import_errors()}")
        if dag["is_paused"]:
            self.request("PATCH", f"/dags/{quote(dag_id)}", json={"is_paused": False})

    def wait_for_run(
        self,
        dag_id: str,
        run_id: str,
        *,
        timeout: float = 300,
        expected: str | None = "success",
        on_progress: Callable[[list[TaskInstance]], None] | None = None,
        poll_interval: float = POLL_INTERVAL,
    ) -> DagRun:
        """
        Wait until a run has ended and return it.

        :param dag_id: The DAG.
        :param run_id: The run.
        :param timeout: Seconds to wait.
        :param expected: State it has to end in, ``success`` or ``failed``. None: either.
        :param on_progress: Called with all task instances, each time the run is looked at.
        :param poll_interval: Seconds between two looks.
        :raises AirflowWaitError: if it has not ended in time, or in another state; the message holds the states of
            its tasks and the end of the logs of those that failed.
        """
        seen: list[DagRun] = []

        def finished() -> DagRun | None:
            run = self.dag_run(dag_id, run_id)
            if on_progress is not None:
                on_progress(self.task_instances(dag_id, run_id))
            seen[:] = [run]
            return run if run.finished else None

        run = self._wait(finished, timeout, poll_interval)
        if run is None:
            state = seen[0].state if seen else "unknown"
            raise AirflowWaitError(
                f"Run {run_id!r} of DAG {dag_id!r} has not ended within {timeout:g} s (state: {state}). "
                f"{self.describe_tasks(dag_id, run_id)}"
            )
        if expected is not None and run.state != expected:
            raise AirflowWaitError(
                f"Run {run_id!r} of DAG {dag_id!r} ended as {run.state}, expected {expected}. "
                f"{self.describe_tasks(dag_id, run_id)}"
            )
        return run

    def describe_tasks(self, dag_id: str, run_id: str) -> str:
        """Say how many tasks are in which state, with the end of the logs of the first failed ones."""
        try:
            tasks = self.task_instances(dag_id, run_id)
        except (httpx.HTTPError, AirflowApiError) as error:
            return f"The states of its tasks cannot be read: {error}"
        counts = Counter(task.state for task in tasks)
        parts = ["Tasks: " + (", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none")]
        unfinished = [task.label for task in tasks if task.state in ("queued", "running", "up_for_retry", "deferred")]
        if unfinished:
            parts.append("Not finished: " + ", ".join(unfinished[:20]))
        failed = [task for task in tasks if task.state in ("failed", "up_for_retry")]
        parts += [self._log_tail(dag_id, run_id, task) for task in failed[:SHOWN_FAILURES]]
        return "\n".join(parts)

    def _log_tail(self, dag_id: str, run_id: str, task: TaskInstance) -> str:
        heading = f"Task {task.label} is {task.state} after try {task.try_number}. The end of its log:"
        try:
            text = self.task_log(
                dag_id, run_id, task.task_id, try_number=max(task.try_number, 1), map_index=task.map_index
            )
        except (httpx.HTTPError, AirflowApiError) as error:
            text = f"(cannot be read: {error})"
        return "\n".join([heading, *text.splitlines()[-SHOWN_LOG_LINES:]])

    def _import_errors(self) -> str:
        try:
            errors: Sequence[Mapping[str, Any]] = self.request("GET", "/importErrors")["import_errors"]
        except (httpx.HTTPError, AirflowApiError) as error:
            return f"The import errors of DAG files cannot be read: {error}"
        if not errors:
            return "No DAG file failed to import: see the log of the dag-processor."
        return "\n".join(f"{error['filename']} failed to import:\n{error['stack_trace']}" for error in errors)

    def _wait(self, look: Callable[[], T | None], timeout: float, poll_interval: float) -> T | None:
        """Return the first result that is not None, or None when the time is over."""
        deadline = time.monotonic() + timeout
        while True:
            self._check()
            try:
                result = look()
            except httpx.TransportError as error:
                # The API server may be starting anew: only the deadline ends the wait.
                log.debug("No answer from %s: %s", self.base_url, error)
                result = None
            if result is not None or time.monotonic() > deadline:
                return result
            time.sleep(poll_interval)

    def _login(self) -> None:
        """Get a token: as a user, or as anybody may where ``simple_auth_manager_all_admins`` is on."""
        if self._credentials:
            name, password = self._credentials
            response = self._http.post("/auth/token", json={"username": name, "password": password})
        else:
            response = self._http.get("/auth/token")
        _raise_for_status(response)
        self._http.headers["Authorization"] = f"Bearer {response.json()['access_token']}"


def _run_path(dag_id: str, run_id: str) -> str:
    return f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"


def _raise_for_status(response: httpx.Response) -> None:
    if response.is_error:
        request = response.request
        raise AirflowApiError(
            f"{request.method} {request.url} answered {response.status_code}: {response.text[:2000]}",
            response.status_code,
        )


def _log_line(item: Any) -> str:
    if isinstance(item, str):
        return item
    parts = [str(item[key]) for key in ("timestamp", "level", "event") if item.get(key)]
    parts += [f"{error.get('exc_type')}: {error.get('exc_value')}" for error in item.get("error_detail") or []]
    return " ".join(parts)
