"""The DAGs that build and remove a cluster, run task by task without Airflow; what is skipped, as Airflow does."""

from __future__ import annotations

import inspect
from fnmatch import fnmatchcase
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow.sdk import TriggerRule
from airflow.sdk.definitions.mappedoperator import MappedOperator

from airflow_eks_dask.bootstrap.dag import bootstrap_dag
from airflow_eks_dask.bootstrap.form import bootstrap_form, complete, teardown_form
from airflow_eks_dask.bootstrap.teardown import teardown_dag
from tests.aws.whole import Run, in_order

if TYPE_CHECKING:
    from airflow.sdk import DAG, BaseOperator

    from airflow_eks_dask.hooks.aws import AwsClients

NOT_IN_AWS = ("services.*", "pipeline.*", "verify.*", "hand_over.*", "home.*", "in_cluster.[!l]*")
"""Tasks that need more than AWS; they are not run."""

_AT_ONCE = {"deferrable": False, "poll_interval": 0.01, "patience": 0}

REACHABLE = {"execution_api_url": "https://airflow.example.com/execution/", "image_repository": "example.com/pipelines"}


class DagRun(Run):
    """
    One run of a DAG; ``skipped``: tasks that were not run, ``results``: what the others have returned.

    :param form: All fields.
    """

    def __init__(self, dag: DAG, aws: AwsClients, form: dict[str, Any]) -> None:
        self.dag = dag
        self.results: dict[str, Any] = {}
        super().__init__(dag, aws, self.results)
        self.params = form
        self.skipped: set[str] = set()

    def context(self, task: BaseOperator) -> dict[str, Any]:
        return {
            "ti": self,
            "task_instance": self,
            "task": task,
            "params": self.params,
            "dag": self.dag,
            "dag_run": SimpleNamespace(run_id="manual", dag_id=self.dag.dag_id),
        }

    def run(self, until: str = "") -> DagRun:
        """
        Run all tasks, or those in groups before one.

        :param until: Name of the group.
        """
        for task in in_order(self.dag):
            if until and task.task_id.startswith(f"{until}."):
                break
            if any(fnmatchcase(task.task_id, pattern) for pattern in NOT_IN_AWS):
                continue
            held_up = task.trigger_rule == TriggerRule.ALL_SUCCESS and task.upstream_task_ids & self.skipped
            if held_up:
                self.skipped.add(task.task_id)
            elif isinstance(task, MappedOperator):
                self._map(task)
            elif task.task_id not in self.skipped:
                self._after(task, self.execute(task))
        return self

    def _map(self, task: MappedOperator) -> None:
        """Run a task once for each of what another has returned."""
        ((name, listed),) = task.expand_input.value.items()
        values = self.results.get(listed.operator.task_id)
        if not values:
            self.skipped.add(task.task_id)
        for value in values or ():
            super().execute(task.unmap({name: value}))

    def execute(self, task: BaseOperator) -> Any:
        if not hasattr(task, "python_callable"):
            return super().execute(task)
        # What Airflow does with the result, skipping tasks, is done here by another.
        environment = self.dag.get_template_env()
        given = [task.render_template(each, self.context(task), environment) for each in task.op_args]
        takes_it = "context" in inspect.signature(task.python_callable).parameters
        context = self.context(task) if takes_it else {}
        self.results[task.task_id] = task.python_callable(*given, **context)
        return self.results[task.task_id]

    def _after(self, task: BaseOperator, result: Any) -> None:
        kind = type(task).__name__
        if "ShortCircuit" in kind and not result:
            self.skipped |= task.downstream_task_ids
        if "Branch" in kind:
            self.skipped |= task.downstream_task_ids - set(result)


def bootstrap(aws: AwsClients, **form: Any) -> DagRun:
    """
    Return a run that builds a cluster.

    :param form: What differs from its defaults.
    """
    return DagRun(bootstrap_dag(None, **_AT_ONCE), aws, complete({**REACHABLE, **form}, bootstrap_form()))


def teardown(aws: AwsClients, cluster_name: str = "pipelines", **form: Any) -> DagRun:
    """
    Return a run that removes a cluster.

    :param form: What differs from its defaults.
    """
    typed = {"cluster_name": cluster_name, "cluster_name_again": cluster_name}
    return DagRun(teardown_dag(None, **_AT_ONCE), aws, complete({**typed, **form}, teardown_form()))
