"""The fixtures of tests in a browser: one Airflow and one Chromium for all of them, a window for each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from airflow_eks_dask.local.postgres import PostgresServer
from tests.browser.chromium import running_chromium
from tests.browser.site import Held, Site, running_site
from tests.conftest import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Locator, Page

IMAGES = Path(__file__).parents[2] / "docs" / "images"


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE * 1000)
    with running_chromium() as browser:
        yield browser


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer, browser: Browser) -> Iterator[Site]:
    with running_site(tmp_path_factory.mktemp("browser"), postgres, browser) as site:
        yield site


@pytest.fixture
def site(running: Site) -> Iterator[Site]:
    """The Airflow; our page must not have complained in any browser's console."""
    yield running
    complaints = list(running.complaints)
    running.close_windows()
    assert not complaints


@pytest.fixture
def held(site: Site, tmp_path: Path) -> Iterator[Held]:
    """Three tasks that run, on two workers with two slots each."""
    run = Held(site.client, tmp_path, "held", ("0", "1", "2"))
    run.wait_until_running()
    yield run
    run.let_go()


@pytest.fixture
def photograph(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Take a picture for the documentation, if the tests were started with ``--screenshots``."""

    def photograph(what: Page | Locator, name: str, **options: object) -> None:
        if request.config.getoption("--screenshots"):
            IMAGES.mkdir(exist_ok=True)
            what.screenshot(path=IMAGES / f"{name}.png", animations="disabled", **options)

    return photograph
