"""Every fault, with few tasks (or with ``--long`` many): nothing is lost, nothing runs twice, nothing is left."""

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


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "fault" in metafunc.fixturenames:
        form = trial.LONG if metafunc.config.getoption("--long") else trial.SHORT
        faults = [fault for fault in FAULTS["dask"] if form.is_long or not fault.long_only]
        metafunc.parametrize(("fault", "form"), [(fault, form) for fault in faults], ids=[each.name for each in faults])


@pytest.mark.timeout(900)
def test_fault(site: Site, fault: Fault, form: trial.Form):
    verdict = trial.run(fault, site, form, SEED)
    assert not verdict.problems
