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

MINUTES = {"cluster": 10, "database": 8, "nodegroup": 3, "stack": 2}
"""What AWS takes for each."""
DURATIONS = {kind: 2.0 * minutes for kind, minutes in MINUTES.items()}
"""Seconds that it takes here."""
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
    ideal, in_aws = (sum(each[kind] for kind in ("stack", "cluster", "nodegroup")) for each in (DURATIONS, MINUTES))
    share = (took - ideal) / (60 * in_aws)
    print(
        f"\nbootstrap: {took:.0f} s; {ideal:.0f} s of that on the critical path in AWS, where it would be {in_aws} min:"
    )
    print(f"Airflow adds {took - ideal:.0f} s, {share:.0%} of that")
    built = tasks(system, "aws_bootstrap", run_id)
    for before, after in pairwise(CRITICAL_PATH):
        assert built[before]["end_date"] <= built[after]["start_date"]
    # Both take long, and neither waits for the other.
    assert built["database"]["start_date"] < built["cluster"]["end_date"]
    assert system.returned("aws_bootstrap", run_id, "cluster")["endpoint"].endswith(".eks.amazonaws.com")
    said = system.client.task_log("aws_bootstrap", run_id, "cluster")
    assert "CREATING" in said
    task = f"/dags/aws_bootstrap/dagRuns/{run_id}/taskInstances/cluster"
    links = system.client.request("GET", f"{task}/links")["extra_links"]
    assert links["AWS console"].startswith("https://console.aws.amazon.com/eks/clusters/")

    simulation.forget_calls()
    system.run("aws_bootstrap", timeout=TIMEOUT)
    assert simulation.writes() == []

    run_id = system.run("aws_teardown", timeout=TIMEOUT)
    assert system.returned("aws_teardown", run_id, "leftovers") == {"left": [], "kept": []}
    assert simulation.boto("eks").list_clusters()["clusters"] == []
