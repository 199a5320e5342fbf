"""What all operators for manifests have in common."""

from __future__ import annotations

import time
from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk.definitions.xcom_arg import XComArg
from airflow.sdk.log import mask_secret

from airflow_eks_dask.manifests.documents import flattened, secret_values
from airflow_eks_dask.manifests.errors import ManifestError
from airflow_eks_dask.manifests.objects import Goal, ObjectAction, Reference
from airflow_eks_dask.manifests.sources import read_manifests
from airflow_eks_dask.operators._deferral import is_deferrable
from airflow_eks_dask.operators._kubernetes import KubernetesOperator
from airflow_eks_dask.operators._text import is_true
from airflow_eks_dask.resources.base import Action, Plan, Progress, State
from airflow_eks_dask.triggers.manifests import ManifestsTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_eks_dask.manifests.objects import Change

DEFAULT_OWNER = "airflow"
"""Whose objects are if nobody says."""

_ACTIONS = {
    ObjectAction.CREATE: Action.CREATE,
    ObjectAction.CHANGE: Action.CHANGE,
    ObjectAction.DELETE: Action.DELETE,
    ObjectAction.UNCHANGED: Action.LEAVE,
    ObjectAction.ABSENT: Action.LEAVE,
    ObjectAction.KEEP: Action.LEAVE,
}


class ManifestsOperator(KubernetesOperator):
    """
    Does one thing to the objects that manifests describe.

    :param manifests: YAML of any number of documents; the path of a file or of a folder of files, absolute, or in the
        folder of the DAG's file, or among the manifests of this package, such as ``eks-admin.yaml``; a document as a
        mapping; or a list of these.
    :param namespace: Of objects that name none, and whose kind has one.
    :param cluster_name: Whose the objects are: the value of their label. Default: ``eks_cluster_name``, or else
        ``airflow``.
    :param dry_run: Whether to say only what would be done.
    :param timeout: Seconds that all of it may take.
    :param poll_interval: Seconds between two looks while waiting.
    :param deferrable: Whether to wait in the triggerer, without a slot. Default: ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = (*KubernetesOperator.template_fields, "namespace", "cluster_name", "is_dry_run")

    def __init__(
        self,
        *,
        manifests: Any,
        namespace: str = "default",
        cluster_name: str | None = None,
        dry_run: bool | str = False,
        timeout: float = 600,
        poll_interval: float = 5,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # No template field: those are kept, and shown in the UI. So Airflow does not see from where it may come.
        self._manifests = manifests
        XComArg.apply_upstream_relationship(self, manifests)
        self.namespace = namespace
        self.cluster_name = cluster_name
        self.is_dry_run = dry_run
        self.timeout = timeout
        self.poll_interval = poll_interval
        self.deferrable = is_deferrable(deferrable)

    def execute(self, context: Context) -> list[dict[str, str]]:
        """
        Do it.

        :return: ``object`` and ``action`` of each object.
        :raises ManifestError: Something is wrong with the manifests or with what they describe.
        :raises KubernetesError: Kubernetes refused, or was not reached.
        """
        if problems := self._problems():
            raise ManifestError.of("This cannot be done", problems)
        deadline = time.time() + self.timeout
        changes = self._begin(self._documents(context), dry_run=is_true(self.is_dry_run))
        self._show(context, changes)
        summary = [change.to_json() for change in changes]
        if not is_true(self.is_dry_run):
            self._finish([change.reference for change in changes], summary, deadline)
        return summary

    @property
    def _owner(self) -> str:
        return self.cluster_name or self.eks_cluster_name or DEFAULT_OWNER

    def _problems(self) -> list[str]:
        seconds = {"timeout": self.timeout, "poll_interval": self.poll_interval}
        return [
            *self.cluster.problems(),
            *(f"{name} = {value!r}: must be more than 0 seconds" for name, value in seconds.items() if not value > 0),
        ]

    def _documents(self, context: Context) -> list[Any]:
        """Return the documents; what Secrets among them hold is masked from now on."""
        dag = self.get_dag()
        documents = read_manifests(
            self.render_template(self._manifests, context), [Path(dag.folder)] if dag and dag.fileloc else []
        )
        for secret in secret_values(flattened(documents)):
            mask_secret(secret)
        return documents

    def _show(self, context: Context, changes: Sequence[Change]) -> None:
        dry_run = is_true(self.is_dry_run)
        for change in changes:
            reason = f" ({change.reason})" if change.reason else ""
            self.log.info("%s: %s%s", change.reference, change.action.value, reason)
            # What is new is long, and known: it is in the manifests.
            if dry_run or change.action is ObjectAction.CHANGE:
                for line in change.difference:
                    self.log.info("%s", line)
        if dry_run:
            # Imports the clients of AWS.
            from airflow_eks_dask.operators.resource import PLAN_KEY

            plan = _plan(self._owner, changes)
            context["ti"].xcom_push(key=PLAN_KEY, value=plan.summary() | {"monthly_cost": 0.0})

    def resume(
        self,
        context: Context,
        event: dict[str, Any],
        references: list[dict[str, Any]],
        summary: list[dict[str, str]],
        deadline: float,
    ) -> list[dict[str, str]]:
        """
        Go on after a wait in the triggerer.

        :raises ManifestError: Something has failed, or time is over.
        :raises KubernetesError: Kubernetes refused, or was not reached.
        """
        if "error" in event:
            raise ManifestError(event["error"])
        self._judge(Progress(State(event["state"]), tuple(event["detail"])))
        self._go_on([Reference.from_json(each) for each in references], summary, deadline)
        return summary

    def _wait(
        self,
        goal: Goal,
        awaited: Sequence[Reference],
        deadline: float,
        **kept: Any,
    ) -> None:
        """
        Wait here or in the triggerer.

        :param kept: What :meth:`resume` gets besides.
        :raises ManifestError: Something has failed, or time is over.
        """
        # Imports the clients of Kubernetes, which takes seconds.
        from airflow_eks_dask.manifests.watch import Watch

        with Watch(self.cluster, awaited, goal, self.log) as watch:
            while (progress := watch.look()).state is State.PENDING and time.time() < deadline:
                if self.deferrable:
                    self.defer(
                        trigger=ManifestsTrigger(
                            cluster=self.cluster.to_json(),
                            references=[each.to_json() for each in awaited],
                            goal=goal.value,
                            poll_interval=self.poll_interval,
                            deadline=deadline,
                        ),
                        method_name="resume",
                        kwargs={**kept, "deadline": deadline},
                    )
                time.sleep(self.poll_interval)
        self._judge(progress)

    def _judge(self, progress: Progress) -> None:
        if progress.state is not State.READY:
            what = f"Not done after {self.timeout:g} s" if progress.state is State.PENDING else "It has failed"
            raise ManifestError("\n".join([f"{what}:", *(f"- {line}" for line in progress.detail)]))

    @abstractmethod
    def _begin(self, documents: list[Any], *, dry_run: bool) -> list[Change]: ...

    @abstractmethod
    def _finish(self, references: list[Reference], summary: list[dict[str, str]], deadline: float) -> None: ...

    @abstractmethod
    def _go_on(self, references: list[Reference], summary: list[dict[str, str]], deadline: float) -> None: ...


def _plan(owner: str, changes: Sequence[Change]) -> Plan:
    """Return one plan of all changes, for a summary of plans."""
    actions = {_ACTIONS[change.action] for change in changes}
    action = next((each for each in (Action.CREATE, Action.CHANGE, Action.DELETE) if each in actions), Action.LEAVE)
    reasons = [f"{change.reference}: {change.action.value}" for change in changes]
    return Plan("Kubernetes objects", f"{owner}: {len(changes)}", action, tuple(reasons))
