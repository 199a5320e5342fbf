"""The DAGs that build, remove and examine a cluster: what Airflow sees of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
from airflow.sdk import TriggerRule
from airflow.sdk.exceptions import ParamValidationError

from airflow_eks_dask.services import SERVICES
from tests.unit.dag_files import dag_files, parse

FILES = dag_files("eks_dask_*.py")


@pytest.fixture(scope="module")
def dags():
    return {dag_id: dag for file in FILES.values() for dag_id, dag in parse(file).items()}


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_stands_alone_in_any_dags_folder(name, tmp_path):
    alone = tmp_path / f"{name}.py"
    shutil.copy(FILES[name], alone)
    assert list(parse(alone)) == [name]


@pytest.mark.parametrize("name", sorted(FILES))
def test_parsing_imports_nothing_of_dask_and_kubernetes(name):
    code = (
        f"import runpy, sys; runpy.run_path({str(FILES[name])!r});"
        "print(sorted({each.partition('.')[0] for each in sys.modules} & {'dask', 'distributed', 'kubernetes'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", sorted(FILES))
def test_it_is_explained_and_runs_in_the_lane_that_does_not_move(name, dags):
    dag = dags[name]
    dag.validate()
    assert dag.doc_md
    assert not dag.catchup
    assert {task.queue for task in dag.tasks} == {"local"}
    assert all(task.execution_timeout for task in dag.tasks)


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_field_has_a_default_that_is_valid(name, dags):
    for key in dags[name].params:
        param = dags[name].params.get_param(key)
        assert param.schema["title"]
        assert param.schema["section"]
        assert param.description


def before(dag, task_id):
    return dag.get_task(task_id).get_flat_relative_ids(upstream=True)


def test_nothing_is_made_before_the_plan(dags):
    dag = dags["eks_dask_bootstrap"]
    for task in dag.tasks:
        if task.task_id.partition(".")[0] not in ("preflight", "plan"):
            assert "plan.go_on" in before(dag, task.task_id)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("network.network", "roles.cluster"),
        ("network.network", "bucket.bucket"),
        ("database.instance", "cluster.cluster"),
        ("nodes.nodes", "access.worker_role"),
        ("addons.coredns", "addons.aws-ebs-csi-driver"),
    ],
)
def test_what_need_not_wait_for_one_another_is_built_side_by_side(one, other, dags):
    dag = dags["eks_dask_bootstrap"]
    assert one not in before(dag, other)
    assert other not in before(dag, one)


@pytest.mark.parametrize("name", ["eks_dask_bootstrap", "eks_dask_teardown"])
def test_waits_take_no_slot(name, dags):
    assert all(task.deferrable for task in dags[name].tasks if hasattr(task, "deferrable"))


def test_the_name_of_what_is_removed_has_to_be_typed_twice(dags):
    dag = dags["eks_dask_teardown"]
    for key in ("cluster_name", "cluster_name_again"):
        assert not dag.params.get_param(key).has_value
        with pytest.raises(ParamValidationError):
            dag.params.get_param(key).resolve()


@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("home.withdraw", "in_cluster.release"),
        ("home.withdraw", "data.instance"),
        ("in_cluster.load_balancers", "nodes.nodes"),
        ("nodes.nodes", "cluster.cluster"),
        ("cluster.cluster", "network.cluster_role"),
        ("network.interfaces", "network.network"),
        ("data.security_group", "network.network"),
        ("network.network", "end.leftovers"),
        ("end.leftovers", "end.forget"),
    ],
)
def test_all_goes_in_the_order_that_aws_needs(first, then, dags):
    assert first in before(dags["eks_dask_teardown"], then)


def test_a_part_that_is_skipped_holds_up_nothing(dags):
    dag = dags["eks_dask_bootstrap"]
    optional = {
        "database.instance",
        "database.existing",
        "bucket.bucket",
        "access.admins",
        "access.no_admins",
        "services.headlamp",
    }
    for task in dag.tasks:
        if task.upstream_task_ids & optional:
            assert task.trigger_rule == TriggerRule.NONE_FAILED


@pytest.mark.parametrize("service", ["headlamp", "prometheus"])
@pytest.mark.parametrize("given", ["", "https://charts.example.com/copies"])
def test_charts_come_from_where_the_form_says(dags, service, given):
    task = dags["eks_dask_bootstrap"].get_task(f"services.{service}")
    context = {"ti": SimpleNamespace(xcom_pull=lambda task_ids: {"settings": {"charts_repository": given}})}
    assert task.render_template(task.repository, context) == (given or SERVICES[service].repository)


def test_what_is_left_is_looked_for_whatever_was_skipped_or_failed_unless_nothing_was_begun(dags):
    dag = dags["eks_dask_teardown"]
    assert dag.get_task("end.all_ended").trigger_rule == TriggerRule.ALL_DONE
    left = dag.get_task("end.leftovers")
    assert left.trigger_rule == TriggerRule.ALL_SUCCESS
    assert left.upstream_task_ids == {"preflight.form", "end.all_ended"}
