"""Airflow's REST API: tasks have no database, and the API they are given writes no connections."""

from __future__ import annotations

import json
import logging
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import httpx
from airflow.configuration import conf
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

log = logging.getLogger(__name__)

TIMEOUT = httpx.Timeout(30, connect=10)
PATIENCE = 90.0
"""Seconds for which a request is repeated that was not answered, or with an error of the moment."""

NOTE_LENGTH = 1000
"""Characters that Airflow keeps of a note."""

_PAGE = 50
_OF_THE_MOMENT = frozenset({429, 502, 503, 504})


class AirflowApiError(Exception):
    """Airflow's REST API refused, or was not reached; the message says what and why. It holds no secret."""


class _TryAgainError(Exception):
    pass


@dataclass(frozen=True)
class ApiTarget:
    """
    Where Airflow's REST API is, and as whom it is used.

    :param url: Of the API server, without ``/api``.
    :param login: User name; empty with a token, or where nobody has to log in.
    :param password: Of the user; without a user name, a token.
    :param verify: File with the certificates of authorities that are trusted; None for the usual ones.
    :param source: What said so, in words.
    """

    url: str
    login: str = ""
    password: str = field(default="", repr=False)
    verify: str | None = None
    source: str = ""


def find_api(conn_id: str) -> ApiTarget:
    """
    Find Airflow's REST API: what a connection says, else ``[api] base_url``, without logging in.

    The connection has the API server's address as ``host``, either a URL or a name with ``port`` and, as ``schema``,
    ``http`` or ``https``; ``login`` and ``password`` of a user, or a token as ``password`` alone; and as
    ``extra.verify`` a file with authorities' certificates where the usual ones don't do.

    :raises ValueError: What was found makes no sense, or nothing was found.
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        base_url = (conf.get("api", "base_url", fallback="") or "").strip().rstrip("/")
        if not base_url.startswith(("http://", "https://")):
            raise ValueError(
                f"There is no connection {conn_id!r} to Airflow's REST API, and [api] base_url is not set here. "
                + _how_to_add(conn_id)
            ) from None
        return ApiTarget(base_url, source=f"[api] base_url, as there is no connection {conn_id!r}")
    extra = _extra(connection.extra, conn_id)
    return ApiTarget(
        _url(connection.host, connection.schema, connection.port, conn_id),
        connection.login or "",
        connection.password or "",
        extra.get("verify"),
        f"connection {conn_id!r}",
    )


class AirflowApi:
    """
    Reads and writes connections, and runs of DAGs, through Airflow's REST API. Use it as a context manager.

    :param target: Where it is, and as whom.
    :param patience: Seconds for which a request is repeated.
    """

    def __init__(self, target: ApiTarget, patience: float = PATIENCE) -> None:
        self._target = target
        self._patience = patience

    def __enter__(self) -> Self:
        try:
            verify = ssl.create_default_context(cafile=self._target.verify) if self._target.verify else True
        except OSError as error:
            raise AirflowApiError(f"extra.verify of {self._target.source}: {error}") from None
        self._http = httpx.Client(base_url=self._target.url, timeout=TIMEOUT, verify=verify)
        try:
            self._http.headers["Authorization"] = f"Bearer {self._token()}"
        except BaseException:
            self._http.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def connection(self, connection_id: str) -> dict[str, Any] | None:
        """Return a connection, its secrets hidden; None if there is none in Airflow's database."""
        answer = self._request("GET", _path(connection_id))
        return None if answer.status_code == httpx.codes.NOT_FOUND else dict(self._checked(answer).json())

    def write_connection(self, body: Mapping[str, Any]) -> None:
        """
        Make a connection as described, or change the one that is there.

        :param body: All of it, as the REST API expects it.
        """
        answer = self._request("PATCH", _path(body["connection_id"]), json=body)
        if answer.status_code == httpx.codes.NOT_FOUND:
            answer = self._request("POST", "/api/v2/connections", json=body)
            if answer.status_code == httpx.codes.CONFLICT:
                # A repetition of a request whose answer was lost, or somebody was faster.
                answer = self._request("PATCH", _path(body["connection_id"]), json=body)
        self._checked(answer)

    def delete_connection(self, connection_id: str) -> None:
        """Delete a connection; nothing happens if there is none."""
        answer = self._request("DELETE", _path(connection_id))
        if answer.status_code != httpx.codes.NOT_FOUND:
            self._checked(answer)

    def active_runs(self, dag_id: str) -> list[dict[str, Any]]:
        """Return what the REST API tells of a DAG's runs that are queued or running; none of an unknown DAG."""
        found: list[dict[str, Any]] = []
        while True:
            query = f"state=queued&state=running&order_by=run_after&limit={_PAGE}&offset={len(found)}"
            answer = self._request("GET", f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns?{query}")
            if answer.status_code == httpx.codes.NOT_FOUND:
                return found
            page = self._checked(answer).json()["dag_runs"]
            found += page
            if len(page) < _PAGE:
                return found

    def write_note(self, dag_id: str, run_id: str, note: str) -> None:
        """
        Write the note of a run of a DAG, over what is there.

        :param note: Markdown; what is longer than :data:`NOTE_LENGTH` is cut.
        """
        text = note if len(note) <= NOTE_LENGTH else f"{note[: NOTE_LENGTH - 1]}…"
        path = f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns/{quote(run_id, safe='')}?update_mask=note"
        self._checked(self._request("PATCH", path, json={"note": text}))

    def _token(self) -> str:
        if self._target.password and not self._target.login:
            return self._target.password
        if self._target.login:
            credentials = {"username": self._target.login, "password": self._target.password}
            answer = self._request("POST", "/auth/token", json=credentials)
        else:
            answer = self._request("GET", "/auth/token")
        try:
            token = str(self._checked(answer).json()["access_token"])
        except (ValueError, KeyError, TypeError):
            raise AirflowApiError(
                f"{self._target.url}/auth/token gave no token: is this Airflow's API server? It comes from "
                f"{self._target.source}"
            ) from None
        mask_secret(token)
        return token

    def _request(self, method: str, path: str, *, json: Any = None) -> httpx.Response:
        """Send a request; again for as long as it is not answered."""
        retrying = Retrying(
            retry=retry_if_exception_type(_TryAgainError),
            wait=wait_random_exponential(multiplier=1, max=15),
            stop=stop_after_delay(self._patience),
            before_sleep=lambda state: log.info(
                "Not yet, will try again: %s", state.outcome and state.outcome.exception()
            ),
            retry_error_callback=_give_up,
        )
        return retrying(self._send, method, path, json)

    def _send(self, method: str, path: str, json: Any) -> httpx.Response:
        try:
            answer = self._http.request(method, path, json=json)
        except httpx.TransportError as error:
            raise _TryAgainError(
                f"{method} {self._target.url}{path}: {error or type(error).__name__} (the address comes from "
                f"{self._target.source})"
            ) from None
        if answer.status_code in _OF_THE_MOMENT:
            raise _TryAgainError(f"{method} {self._target.url}{path} answered {answer.status_code}")
        return answer

    def _checked(self, answer: httpx.Response) -> httpx.Response:
        if answer.is_success:
            return answer
        request = answer.request
        said = f"{request.method} {request.url} answered {answer.status_code}{_details(answer)}"
        advice = {
            401: f". Is what {self._target.source} says about user, password or token right?",
            403: f". The user of {self._target.source} needs a role that may read, create, edit and delete "
            "connections, and read and edit runs of DAGs",
        }.get(answer.status_code, "")
        if not (self._target.login or self._target.password) and answer.status_code in (401, 403, 404, 405, 422):
            advice = f". This Airflow wants a login. {_how_to_add('airflow_api')}"
        raise AirflowApiError(said + advice)


def _give_up(state: Any) -> None:
    raise AirflowApiError(f"{state.outcome.exception()}. It was tried for {state.seconds_since_start:.0f} s") from None


def _path(connection_id: str) -> str:
    return f"/api/v2/connections/{quote(connection_id, safe='')}"


def _details(answer: httpx.Response) -> str:
    """Say why, without what was sent: answers to requests that are not well-formed repeat them."""
    try:
        detail = answer.json()["detail"]
        if isinstance(detail, list):
            detail = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in detail)
    except (ValueError, KeyError, TypeError):
        return ""
    return f": {detail}"


def _extra(written: Any, conn_id: str) -> dict[str, Any]:
    try:
        extra = written if isinstance(written, dict) else json.loads(written or "{}")
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        raise ValueError(f"Connection {conn_id!r}: extra is not a JSON object")
    return extra


def _url(host: str | None, schema: str | None, port: int | None, conn_id: str) -> str:
    written = (host or "").strip().rstrip("/")
    if written and "://" not in written:
        written = f"{schema or 'https'}://{written}{f':{port}' if port else ''}"
    parts = urlsplit(written)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(
            f"Connection {conn_id!r}: host = {host!r} and schema = {schema!r} lead to no API server. Give host as "
            "https://airflow.example.com"
        )
    return written


def _how_to_add(conn_id: str) -> str:
    return (
        f"Add a connection with a user that may edit connections: airflow connections add {conn_id} --conn-type http "
        "--conn-host https://airflow.example.com --conn-login NAME --conn-password ..., or in a secrets backend"
    )
