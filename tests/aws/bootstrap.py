"""The DAG that builds a cluster, run task by task without Airflow; what it skips, as Airflow does."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.mappedoperator import MappedOperator

from airflow_eks_dask.bootstrap.dag import bootstrap_dag
from airflow_eks_dask.bootstrap.form import bootstrap_form, complete
from tests.aws.whole import Run, in_order

if TYPE_CHECKING:
    from airflow.sdk import DAG, BaseOperator

    from airflow_eks_dask.hooks.aws import AwsClients

IN_KUBERNETES = ("services", "pipeline", "verify", "hand_over")
"""The groups of tasks that need more than AWS; they are not run."""

REACHABLE = {"execution_api_url": "https://airflow.example.com/execution/", "image_repository": "example.com/pipelines"}


class BootstrapRun(Run):
    """
    One run of the DAG; ``skipped``: tasks that were not run, ``results``: what the others have returned.

    :param form: What differs from its defaults.
    """

    def __init__(self, aws: AwsClients, dag: DAG | None = None, **form: Any) -> None:
        self.dag = dag or bootstrap_dag(None, deferrable=False, poll_interval=0.01, patience=0)
        self.results: dict[str, Any] = {}
        super().__init__(self.dag, aws, self.results)
        self.params = complete({**REACHABLE, **form}, bootstrap_form())
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

    def run(self, until: str = "") -> BootstrapRun:
        """
        Run all tasks, or those in groups before one.

        :param until: Name of the group.
        """
        for task in in_order(self.dag):
            if until and task.task_id.startswith(f"{until}."):
                break
            if task.task_id.partition(".")[0] in IN_KUBERNETES:
                continue
            if task.upstream_task_ids & self.skipped or isinstance(task, MappedOperator):
                self.skipped.add(task.task_id)
            elif task.task_id not in self.skipped:
                self._after(task, self.execute(task))
        return self

    def execute(self, task: BaseOperator) -> Any:
        if not hasattr(task, "python_callable"):
            return super().execute(task)
        # What Airflow does with the result, skipping tasks, is done here by another.
        environment = self.dag.get_template_env()
        given = [task.render_template(each, self.context(task), environment) for each in task.op_args]
        context = self.context(task) if task.task_id == "plan.remember" else {}
        self.results[task.task_id] = task.python_callable(*given, **context)
        return self.results[task.task_id]

    def _after(self, task: BaseOperator, result: Any) -> None:
        kind = type(task).__name__
        if "ShortCircuit" in kind and not result:
            self.skipped |= task.downstream_task_ids
        if "Branch" in kind:
            self.skipped |= task.downstream_task_ids - set(result)
