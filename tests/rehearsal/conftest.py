"""The fixtures of the rehearsal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from airflow_eks_dask.local.postgres import PostgresServer
from tests.aws.authenticator import listening
from tests.browser.chromium import running_chromium
from tests.browser.site import Site
from tests.cluster import image as images
from tests.cluster.conftest import BESIDE, kubectl
from tests.conftest import PATIENCE
from tests.rehearsal.stage import Stage, namespaces, real_cluster, running
from tests.rehearsal.timetable import Timetable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """All that takes part."""
    if not BESIDE.exists():
        pytest.skip("the API server of the cluster has to be told of an authenticator: only that beside can be")
    directory = tmp_path_factory.mktemp("rehearsal")
    with (
        real_cluster(directory) as cluster,
        PostgresServer() as postgres,
        running(directory, postgres, images.ensure(BESIDE)) as stage,
        listening(stage.authenticator, cluster.context, cluster.port),
    ):
        yield stage


@pytest.fixture
def timetable() -> Iterator[Timetable]:
    """Told in the end."""
    print()
    table = Timetable()
    yield table
    table.tell()


@pytest.fixture(autouse=True)
def _as_before(stage: Stage) -> Iterator[None]:
    """The namespaces that a bootstrap makes go afterwards, as they do with a cluster of EKS."""
    before = namespaces()
    yield
    for name in namespaces() - before:
        kubectl("delete", "namespace", name, "--timeout=280s")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE * 1000)
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def site(stage: Stage, browser: Browser) -> Iterator[Site]:
    """Airflow as its users see it; our page must not have complained in a browser's console."""
    site = Site(stage.airflow, stage.client, browser, stage.passwords)
    yield site
    complaints = list(site.complaints)
    site.close_windows()
    assert not complaints
