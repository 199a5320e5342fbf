"""Everything in AWS built and removed by real tasks: DaskExecutor, a triggerer, a simulated AWS."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from tests.aws.simulation import Simulation
from tests.integration.system import only

if TYPE_CHECKING:
    from collections.abc import Iterator

DURATIONS = {"cluster": 20, "database": 16, "nodegroup": 6, "stack": 4}
"""Seconds; 10, 8, 3 and 2 minutes in AWS."""
TIMEOUT = 600.0
CRITICAL_PATH = ("network", "cluster", "addon_vpc-cni", "nodes", "addon_coredns")


@pytest.fixture(scope="module")
def simulation() -> Iterator[Simulation]:
    with Simulation.started() as running:
        running.set_durations(**DURATIONS)
        yield running


@pytest.fixture
def connection(system, simulation):
    """Airflow's connection ``aws_default`` leads to the simulated AWS."""
    system.client.request("POST", "/connections", json=simulation.connection)
    yield
    system.client.request("DELETE", "/connections/aws_default")


def tasks(system, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
    found = system.client.request("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances")["task_instances"]
    return {each["task_id"]: each for each in found}


@pytest.mark.timeout(3 * TIMEOUT)
@only("embedded")
def test_everything_is_built_once_and_removed(system, simulation, connection):
    started = time.monotonic()
    run_id = system.run("aws_bootstrap", timeout=TIMEOUT)
    took = time.monotonic() - started
    ideal = DURATIONS["stack"] + DURATIONS["cluster"] + DURATIONS["nodegroup"]
    print(f"\nbootstrap: {took:.0f} s, of which AWS takes {ideal} s on the critical path")
    built = tasks(system, "aws_bootstrap", run_id)
    for before, after in pairwise(CRITICAL_PATH):
        assert built[before]["end_date"] <= built[after]["start_date"]
    # Both take long, and neither waits for the other.
    assert built["database"]["start_date"] < built["cluster"]["end_date"]
    assert system.returned("aws_bootstrap", run_id, "cluster")["endpoint"].endswith(".eks.amazonaws.com")
    said = system.client.task_log("aws_bootstrap", run_id, "cluster")
    assert "CREATING" in said

    simulation.forget_calls()
    system.run("aws_bootstrap", timeout=TIMEOUT)
    assert simulation.writes() == []

    run_id = system.run("aws_teardown", timeout=TIMEOUT)
    assert system.returned("aws_teardown", run_id, "leftovers") == {"left": [], "kept": []}
    assert simulation.boto("eks").list_clusters()["clusters"] == []
