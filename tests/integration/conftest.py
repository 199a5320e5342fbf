"""The fixtures that start what the integration tests run against."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_eks_dask.local.postgres import PostgresServer
from tests.integration.system import SYSTEMS, System

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with PostgresServer() as server:
        yield server


# One fixture for both, so that the one has ended before the other starts: two Airflows at a time are slow.
@pytest.fixture(scope="session", params=list(SYSTEMS))
def system(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer
) -> Iterator[System]:
    """Either; a test for one of them says ``@only("embedded")``."""
    with SYSTEMS[request.param](tmp_path_factory.mktemp(request.param), postgres) as running:
        yield running
