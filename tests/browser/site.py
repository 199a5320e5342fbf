"""An Airflow with users, as they see it in a browser."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playwright.sync_api import expect

from tests.conftest import eventually
from tests.integration.system import new_airflow

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, FrameLocator, Locator, Page

    from airflow_eks_dask.local.airflow import LocalAirflow
    from airflow_eks_dask.local.client import AirflowClient
    from airflow_eks_dask.local.postgres import PostgresServer

PATH = "/eks-dask/"
ROLES = {"admin": "admin", "op": "op", "user": "user", "viewer": "viewer", "guest": ""}
"""By name; who has none may log in and nothing else."""
COOKIE = "_token"
SCREEN = {"width": 1280, "height": 900}
NARROW = {"width": 360, "height": 740}


@dataclass
class Site:
    """
    A running Airflow and a browser.

    :param passwords: By user.
    """

    airflow: LocalAirflow
    client: AirflowClient
    browser: Browser
    passwords: dict[str, str]
    contexts: list[BrowserContext] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    """What browsers have written into their consoles about our page."""

    @property
    def url(self) -> str:
        """The address of our page, outside of Airflow's frame."""
        return f"{self.airflow.base_url}{PATH}"

    def visitor(self, user: str | None, **options: Any) -> Page:
        """
        Return a new window of somebody who has logged in.

        :param user: None for somebody who has not.
        :param options: Of Playwright's contexts, such as ``viewport`` and ``color_scheme``.
        """
        context = self.browser.new_context(**{"viewport": SCREEN, "base_url": self.airflow.base_url, **options})
        self.contexts.append(context)
        if user is not None:
            body = {"username": user, "password": self.passwords[user]}
            answer = context.request.post("/auth/token", data=body)
            token = answer.json()["access_token"]
            context.add_cookies([{"name": COOKIE, "value": token, "url": self.airflow.base_url}])
        page = context.new_page()
        page.on("console", self._listen)
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        return page

    def _listen(self, message: ConsoleMessage) -> None:
        # Airflow's own pages complain about themselves; and of its frame around ours there is a warning.
        if message.type == "error" and PATH in message.location["url"]:
            self.complaints.append(f"{message.location['url']}: {message.text}")

    def close_windows(self) -> None:
        """Close all windows, and take away what they have complained of."""
        for context in self.contexts:
            context.close()
        self.contexts.clear()
        self.complaints.clear()


@contextmanager
def running_site(home: Path, postgres: PostgresServer, browser: Browser) -> Iterator[Site]:
    """Start an Airflow with an embedded cluster of two workers, and users who have to log in."""
    airflow = new_airflow(home, postgres, "browser", embedded_workers="2", slots_per_worker="2")
    shutil.copytree(Path(__file__).parent / "dags", home / "dags", dirs_exist_ok=True)
    passwords = add_users(airflow)
    with airflow, airflow.client(login=("admin", passwords["admin"])) as client:
        site = Site(airflow, client, browser, passwords)
        yield site
        site.close_windows()


def add_users(airflow: LocalAirflow) -> dict[str, str]:
    """Have users who have to log in, before Airflow is started; return their passwords."""
    passwords = {name: secrets.token_urlsafe(16) for name in ROLES}
    airflow.home.mkdir(parents=True, exist_ok=True)
    file = airflow.home / "passwords.json"
    file.touch(mode=0o600)
    file.write_text(json.dumps(passwords))
    users = ",".join(f"{name}:{role}" for name, role in ROLES.items())
    airflow.settings["core"] |= {
        "simple_auth_manager_all_admins": "False",
        "simple_auth_manager_users": users,
        "simple_auth_manager_passwords_file": str(file),
    }
    return passwords


class Held:
    """
    A run of a DAG whose tasks wait.

    :param names: Of the tasks' pipes.
    """

    def __init__(self, client: AirflowClient, directory: Path, dag_id: str, names: tuple[str, ...]) -> None:
        self.client, self.dag_id = client, dag_id
        self.pipes = [directory / name for name in names]
        for pipe in self.pipes:
            os.mkfifo(pipe)
        client.wait_for_dag(dag_id)
        self.run_id = client.trigger(dag_id, {"directory": str(directory)})

    def wait_until_running(self) -> None:
        """Wait until each task has come to its pipe."""

        def come() -> bool:
            states = [task.state for task in self.client.task_instances(self.dag_id, self.run_id)]
            return states.count("running") >= len(self.pipes)

        eventually(come, what=f"the tasks of {self.dag_id} run")

    def let_go(self) -> None:
        """Have the tasks end, and wait for the end of the run."""
        for pipe in self.pipes:
            pipe.write_text("go")
        self.client.wait_for_run(self.dag_id, self.run_id)


def section(page: Page | FrameLocator, name: str) -> Locator:
    """Return a part of our page by its heading."""
    return page.get_by_role("region", name=name, exact=True)


def rows(page: Page | FrameLocator, table: str) -> Locator:
    """Return the rows of a table by its caption."""
    return page.get_by_role("table", name=table).locator("tbody tr")


def open_page(page: Page) -> Page:
    """Go to the page outside of Airflow's frame, and wait for its data."""
    page.goto(PATH)
    expect(page.locator("#state")).to_contain_text("As of")
    return page
