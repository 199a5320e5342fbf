"""The short form of every fault: nothing is lost, nothing runs twice, nothing is left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from airflow_eks_dask.local.postgres import PostgresServer
from tests.chaos import trial
from tests.chaos.faults import FAULTS, Fault
from tests.chaos.sites import Site, dask_site

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 20_261_123


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One Airflow and one cluster, which every fault leaves as it found them."""
    with PostgresServer() as postgres, dask_site(tmp_path_factory.mktemp("chaos") / "chaos", postgres) as site:
        yield site


@pytest.mark.parametrize("fault", [fault for fault in FAULTS["dask"] if not fault.long_only], ids=lambda f: f.name)
def test_fault(site: Site, fault: Fault, tmp_path):
    verdict = trial.run(fault, site, trial.SHORT, tmp_path, SEED)
    assert not verdict.problems
