"""The DAG that builds a cluster, run by Airflow against a simulated AWS, as far as no Kubernetes is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from airflow_eks_dask.bootstrap.runs import BOOTSTRAP, TEARDOWN
from tests.aws.simulation import Simulation
from tests.conftest import eventually
from tests.integration.system import only

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMEOUT = 900.0
FORM = {
    "execution_api_url": "https://airflow.example.com/execution/",
    "image_repository": "registry.example.com/pipelines",
    # The one of another cluster is not touched.
    "connection_id": "dask_built",
    "admins": ["arn:aws:iam::123456789012:role/admins"],
}
IN_KUBERNETES = ("services", "pipeline", "verify", "hand_over")
SKIPPED = {"database.existing", "access.no_admins"}


@pytest.fixture(scope="module")
def simulation() -> Iterator[Simulation]:
    with Simulation.started() as running:
        running.set_durations(cluster=3, database=3, nodegroup=2, stack=2)
        yield running


@pytest.fixture
def aws(system, simulation):
    """Airflow's connection ``aws_default`` leads to an empty simulated AWS."""
    simulation.reset()
    system.client.request("POST", "/connections", json=simulation.connection)
    yield simulation
    system.client.request("DELETE", "/connections/aws_default")


def run_of(system, run_id: str) -> dict[str, Any]:
    return dict(system.client.request("GET", f"/dags/{BOOTSTRAP}/dagRuns/{run_id}"))


def states(system, run_id: str, dag_id: str = BOOTSTRAP) -> dict[str, str]:
    path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
    found = system.client.request("GET", path, params={"limit": 200})["task_instances"]
    return {each["task_id"]: each["state"] for each in found}


@pytest.mark.timeout(2 * TIMEOUT)
@only("embedded")
def test_a_plan_is_told_in_the_note_and_changes_nothing(system, aws):
    run_id = system.run(BOOTSTRAP, timeout=TIMEOUT, plan_only=True)
    assert aws.writes() == []
    note = run_of(system, run_id)["note"]
    assert note.startswith("**Plan for pipelines (eu-central-1)**: 19 to create.")
    ended = states(system, run_id)
    ran = {task_id for task_id, state in ended.items() if state == "success"}
    assert ran == {"preflight.form", "preflight.check", "plan.plan", "plan.go_on"}
    assert set(ended.values()) == {"success", "skipped"}


@pytest.mark.timeout(2 * TIMEOUT)
@only("embedded")
def test_all_that_aws_can_give_is_built_and_a_second_run_is_refused_meanwhile(system, aws):
    # Nobody answers where the simulated cluster says that its API is.
    first = system.trigger(BOOTSTRAP, **FORM)
    eventually(
        lambda: states(system, first)["plan.remember"] == "success",
        timeout=TIMEOUT,
        what="the first run has begun to build",
    )
    second = system.run(BOOTSTRAP, timeout=TIMEOUT, expected="failed", **FORM)
    refused = states(system, second)
    assert {task_id for task_id, state in refused.items() if state == "failed"} == {"preflight.form"}
    assert f"Run {first} of {BOOTSTRAP} works on the cluster pipelines" in system.client.task_log(
        BOOTSTRAP, second, "preflight.form"
    )
    system.client.wait_for_run(BOOTSTRAP, first, timeout=TIMEOUT, expected="failed")
    ended = states(system, first)
    in_aws = {name: state for name, state in ended.items() if name.partition(".")[0] not in IN_KUBERNETES}
    assert {name for name, state in in_aws.items() if state == "skipped"} == SKIPPED
    assert {name for name, state in in_aws.items() if state != "success"} == SKIPPED
    assert ended["pipeline.certificates"] == "failed"
    assert ended["hand_over.summary"] == "upstream_failed"
    assert aws.boto("eks").list_access_entries(clusterName="pipelines")["accessEntries"]
    task = f"/dags/{BOOTSTRAP}/dagRuns/{first}/taskInstances/cluster.cluster"
    links = system.client.request("GET", f"{task}/links")["extra_links"]
    assert links["AWS console"].startswith("https://console.aws.amazon.com/eks/clusters/")
    variable = system.client.request("GET", "/variables/eks_dask_eu-central-1_pipelines")
    assert '"connection_id": "dask_built"' in variable["value"]


@pytest.mark.timeout(2 * TIMEOUT)
@only("embedded")
def test_names_that_differ_remove_nothing_and_look_for_nothing(system, aws):
    names = {"cluster_name": "pipelines", "cluster_name_again": "pipeline"}
    run_id = system.run(TEARDOWN, timeout=TIMEOUT, expected="failed", **names)
    ended = states(system, run_id, TEARDOWN)
    assert (ended.pop("preflight.form"), ended.pop("end.all_ended")) == ("failed", "success")
    assert set(ended.values()) == {"upstream_failed"}
    assert aws.writes() == []


@pytest.mark.timeout(2 * TIMEOUT)
@only("embedded")
def test_a_form_that_can_not_be_fails_at_once_and_says_all_of_it(system, aws):
    run_id = system.run(BOOTSTRAP, timeout=TIMEOUT, expected="failed", min_nodes=9, database="existing")
    said = system.client.task_log(BOOTSTRAP, run_id, "preflight.form")
    for words in ("max_nodes = 4", "database_identifier: is needed", "workers on other machines can't reach that"):
        assert words in said
    assert aws.writes() == []
