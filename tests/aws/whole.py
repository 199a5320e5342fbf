"""The DAGs that build and remove everything, run without Airflow, task by task, and what AWS looks like then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eks_dask.links.aws import AwsConsoleLink

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.sdk import DAG, BaseOperator

    from airflow_eks_dask.hooks.aws import AwsClients


class Run:
    """
    One run of a DAG in this process; stands in for the task instance that operators ask for results.

    ``plans``: what each task said it would do, by its id; ``links``: where its link in the UI leads.

    :param aws: What all tasks use: clients take longer to make than all else together.
    :param results: Those of tasks that ran before.
    """

    def __init__(self, dag: DAG, aws: AwsClients, results: dict[str, Any] | None = None) -> None:
        self._dag = dag
        self._aws = aws
        self._results = {} if results is None else results
        self._task_id = ""
        self.plans: dict[str, list[dict[str, Any]]] = {}
        self.links: dict[str, str] = {}

    def execute(self, task: BaseOperator) -> Any:
        """Run a task, and return what it returns."""
        self._task_id = task.task_id
        task.aws = self._aws
        context = self.context(task)
        task.render_template_fields(context, self._dag.get_template_env())
        self._results[task.task_id] = task.execute(context)
        return self._results[task.task_id]

    def context(self, task: BaseOperator) -> dict[str, Any]:
        """Return what Airflow hands to a task."""
        return {"ti": self, "task_instance": self, "task": task}

    def xcom_pull(self, task_ids: str) -> Any:
        """Return what a task has returned."""
        return self._results[task_ids]

    def xcom_push(self, key: str, value: Any, **_: Any) -> None:
        """Keep what an operator leaves for others."""
        if key == "plan":
            self.plans.setdefault(self._task_id, []).append(value)
        if key == AwsConsoleLink.key:
            self.links[self._task_id] = AwsConsoleLink().format_link(**value)


def in_order(dag: DAG) -> list[BaseOperator]:
    """Return the tasks of a DAG, each after those it depends on."""
    left = dict(dag.task_dict)
    ordered: list[BaseOperator] = []
    while left:
        free = [task for task in left.values() if not task.upstream_task_ids & left.keys()]
        ordered += free
        for task in free:
            del left[task.task_id]
    return ordered


def run(make: Callable[..., DAG], aws: AwsClients, **parameters: Any) -> Run:
    """
    Run a DAG to its end.

    :param make: :func:`bootstrap` or :func:`teardown`.
    :param aws: What all tasks use.
    :param parameters: Of all tasks.
    """
    dag = make(**{"deferrable": False, "poll_interval": 0.01, "patience": 0, **parameters})
    one = Run(dag, aws)
    for task in in_order(dag):
        one.execute(task)
    return one
