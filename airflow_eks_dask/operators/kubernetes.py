"""
Operators for objects in Kubernetes, of any kind, as manifests describe them.

The server applies the manifests: it keeps account of who manages which fields, leaves all others alone, and takes away
what a manifest said before and says no more. Objects get two labels, ``airflow-eks-dask/cluster`` with whose they are
and ``app.kubernetes.io/managed-by``; what has not the first, or another's, is neither changed nor deleted.

Manifests are rendered when the task runs, and never kept: they may hold Secrets. In the log, what Secrets hold is
hidden. Files are taken as they are: what looks like a template in them is left alone.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.manifests.errors import ManifestError
from airflow_eks_dask.manifests.objects import PROPAGATIONS, Goal
from airflow_eks_dask.manifests.ownership import LONGEST_MANAGER, MANAGER
from airflow_eks_dask.manifests.rollout import is_waited_for
from airflow_eks_dask.operators._manifests import ManifestsOperator
from airflow_eks_dask.resources import validation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_eks_dask.manifests.objects import Change, Reference


class ApplyManifestsOperator(ManifestsOperator):
    """
    Have objects be as manifests describe them, and wait until they have come about.

    Namespaces and definitions of kinds go first; custom resources and webhooks last. All that is wrong with any
    manifest is told before the first is applied: each is tried by the server beforehand. Killed and run again, it goes
    on; run again where all is as it should be, it writes nothing. An object that is taken out of the manifests as a
    whole is not deleted: see :class:`DeleteManifestsOperator`.

    It waits for Deployments, StatefulSets, DaemonSets, Jobs, pods, definitions of kinds and APIServices. If one of them
    fails or takes too long, the error tells why: what its containers wait for, how they ended, and events.

    Returns ``object`` and ``action`` of each: ``create``, ``change`` or ``unchanged``.

    .. code-block:: python

        ApplyManifestsOperator(
            task_id="namespace_for_pipelines",
            eks_cluster_name="pipelines",
            manifests='''
              apiVersion: v1
              kind: Namespace
              metadata:
                name: airflow
              ---
              apiVersion: v1
              kind: ConfigMap
              metadata:
                name: owner
                namespace: airflow
              data:
                team: "{{ params.team }}"
            ''',
            params={"team": "data"},
        )

    :param field_manager: By which name the server remembers which fields were applied. Another name for the same
        objects is another manager: the former's fields stay.
    :param force_conflicts: Whether to take over fields that others manage; otherwise that is an error.
    :param adopt: Whether to take over objects that are there and not ours; otherwise that is an error.
    :param wait: Whether to wait until what was applied has come about.
    """

    template_fields: Sequence[str] = (*ManifestsOperator.template_fields, "field_manager")
    ui_color = "#d8ecd8"

    def __init__(
        self,
        *,
        field_manager: str = MANAGER,
        force_conflicts: bool = False,
        adopt: bool = False,
        wait: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.field_manager = field_manager
        self.force_conflicts = force_conflicts
        self.adopt = adopt
        self.wait = wait

    def _begin(self, documents: list[Any], *, dry_run: bool) -> list[Change]:
        from airflow_eks_dask.manifests.apply import apply

        with self.cluster.client() as client:
            return apply(
                client,
                documents,
                owner=self._owner,
                field_manager=self.field_manager,
                namespace=self.namespace,
                force_conflicts=self.force_conflicts,
                adopt=self.adopt,
                dry_run=dry_run,
                timeout=self.timeout,
                poll_interval=min(self.poll_interval, 1),
            )

    def _problems(self) -> list[str]:
        found = super()._problems()
        if not self.field_manager or len(self.field_manager) > LONGEST_MANAGER:
            found.append(f"field_manager = {self.field_manager!r}: must have 1 to {LONGEST_MANAGER} characters")
        return found

    def _finish(self, references: list[Reference], summary: list[dict[str, str]], deadline: float) -> None:
        if awaited := [each for each in references if self.wait and is_waited_for(each)]:
            self._wait(Goal.READY, awaited, deadline, references=[], summary=summary)

    def _go_on(self, references: list[Reference], summary: list[dict[str, str]], deadline: float) -> None:
        """Do nothing: what was applied has come about."""


class DeleteManifestsOperator(ManifestsOperator):
    """
    Have the objects be gone that manifests describe, where they are ours; wait until they are.

    They go in reverse order, custom resources before all else, so that what runs in the cluster can clean up after
    them. What is not ours stays, and is told; but with a Namespace goes all that is in it, and with a definition of
    a kind all that is of that kind. Where nothing is, nothing happens.

    Returns ``object`` and ``action`` of each: ``delete``, ``absent``, or ``keep``.

    .. code-block:: python

        DeleteManifestsOperator(
            task_id="no_eks_admin", eks_cluster_name="pipelines", manifests="eks-admin.yaml", timeout=120
        )

    :param propagation: What becomes of what hangs on an object, such as the pods of a Deployment: ``Foreground``, it
        goes first; ``Background``, it goes afterwards; ``Orphan``, it stays.
    """

    template_fields: Sequence[str] = (*ManifestsOperator.template_fields, "propagation")
    ui_color = "#f0d0c8"

    def __init__(self, *, propagation: str = "Foreground", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.propagation = propagation

    def _begin(self, documents: list[Any], *, dry_run: bool) -> list[Change]:
        from airflow_eks_dask.manifests.delete import delete

        with self.cluster.client() as client:
            # What is deleted is waited for after each stage, perhaps in the triggerer: see _finish.
            return delete(client, documents, owner=self._owner, namespace=self.namespace, dry_run=True)

    def _finish(self, references: list[Reference], summary: list[dict[str, str]], deadline: float) -> None:
        from airflow_eks_dask.manifests.api import object_api
        from airflow_eks_dask.manifests.delete import delete_next

        while True:
            with self.cluster.client() as client, object_api(client) as api:
                ending = delete_next(api, references, owner=self._owner, propagation=self.propagation)
            if not ending:
                return
            if time.time() > deadline:
                raise ManifestError(f"Not all is gone after {self.timeout:g} s. Run the task again to go on")
            self._wait(Goal.GONE, ending, deadline, references=[each.to_json() for each in references], summary=summary)

    def _go_on(self, references: list[Reference], summary: list[dict[str, str]], deadline: float) -> None:
        self._finish(references, summary, deadline)

    def _problems(self) -> list[str]:
        return [
            *super()._problems(),
            *validation.one_of("propagation", self.propagation, PROPAGATIONS),
        ]
