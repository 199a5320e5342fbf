"""What happens to pods while Airflow's tasks run in them: nothing is lost or runs twice, and only what must fails."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.chaos import report, trial
from tests.cluster.events import EVENTS, ClusterSite
from tests.cluster.pipelines import REPLICAS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.faults import Fault
    from tests.chaos.trial import Verdict
    from tests.cluster.pipelines import Pipelines

pytestmark = [pytest.mark.any_airflow, pytest.mark.timeout(1200)]

FORM = trial.Form(tasks=60, longest=20, seconds=0, is_long=False, shortest=5)
SEED = 20_261_125
TABLE = Path(__file__).parents[2] / "docs" / "faults.md"


@pytest.fixture(scope="module", autouse=True)
def _as_it_was(pipelines: Pipelines) -> Iterator[None]:
    yield
    pipelines.settle(REPLICAS)


@pytest.fixture(scope="module")
def verdicts(request: pytest.FixtureRequest) -> Iterator[list[Verdict]]:
    """What came of all events; in the end in the documentation, if that is asked for."""
    come: list[Verdict] = []
    yield come
    if request.config.getoption("--table"):
        command = 'make test-cluster EVENTS="--long --table"'
        report.write(TABLE, come, seed=SEED, command=command, name="events")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "event" in metafunc.fixturenames:
        events = [each for each in EVENTS if metafunc.config.getoption("--long") or not each.long_only]
        metafunc.parametrize("event", events, ids=[each.name for each in events])


def test_event(pipelines: Pipelines, event: Fault, verdicts: list[Verdict], capsys: pytest.CaptureFixture[str]):
    site = ClusterSite.of(pipelines)
    verdict = trial.run(event, site, FORM, SEED)
    verdicts.append(verdict)
    with capsys.disabled():
        print(f"\n{report.table([verdict])}\nIt took {verdict.took:.1f} s.", *verdict.problems, sep="\n")
    assert not verdict.problems
