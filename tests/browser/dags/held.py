"""Tasks that go on until the test lets go of them, so that a page can be looked at while they run."""

from __future__ import annotations

from pathlib import Path

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, TaskGroup, chain, get_current_context, task


@task
def hold(name: str) -> None:
    """Wait until the pipe of this name, in the directory of the params, has been written to."""
    directory = Path(get_current_context()["params"]["directory"])
    (directory / name).read_text()


with DAG("held", schedule=None, params={"directory": ""}):
    hold.expand(name=["0", "1", "2"])

with DAG("eks_dask_bootstrap_held", schedule=None, params={"directory": ""}):
    groups: dict[str, TaskGroup] = {}
    for group_id, task_ids in {
        "preflight": ["account", "quotas", "permissions"],
        "plan": ["costs"],
        "network": ["vpc", "endpoints"],
        "roles": ["cluster", "nodes", "pods"],
        "database": ["subnets", "postgres"],
        "cluster": [],
        "nodes": ["workers"],
        "services": ["metrics", "headlamp"],
        "verify": ["round_trip"],
    }.items():
        with TaskGroup(group_id) as groups[group_id]:
            for task_id in task_ids:
                EmptyOperator(task_id=task_id)
            if group_id == "cluster":
                hold.override(task_id="control_plane", queue="local")("0")
    chain(
        groups["preflight"],
        groups["plan"],
        [groups["network"], groups["roles"], groups["database"]],
        groups["cluster"],
        groups["nodes"],
        groups["services"],
        groups["verify"],
    )
