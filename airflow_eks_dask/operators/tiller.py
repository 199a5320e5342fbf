"""The operator that removes what Helm 2 left in a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eks_dask.operators._kubernetes import KubernetesOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context


class RemoveTillerOperator(KubernetesOperator):
    """
    Remove Tiller, the half of Helm 2 that ran in the cluster as its administrator. Harmless where there is none.

    Goes: its Deployment, with the pods, Service and Secret, by the labels that ``helm init`` gave them; its account and
    what binds it to roles, unless others use them. Records of Helm 2's releases stay, for ``helm 2to3 convert``; what
    those releases installed stays as well. Returns ``removed`` and ``kept``.

    .. code-block:: python

        RemoveTillerOperator(task_id="no_tiller", eks_cluster_name="pipelines")

    :param namespace: Where Tiller is.
    :param service_account: The account that was made for it.
    :param dry_run: Whether to say only what would be removed.
    :param timeout: Seconds that its pods may take to end.
    :param poll_interval: Seconds between two looks.
    """

    template_fields: Sequence[str] = (*KubernetesOperator.template_fields, "namespace", "service_account")
    ui_color = "#f0d0c8"

    def __init__(
        self,
        *,
        namespace: str = "kube-system",
        service_account: str = "tiller",
        dry_run: bool = False,
        timeout: float = 120,
        poll_interval: float = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.namespace = namespace
        self.service_account = service_account
        self.is_dry_run = dry_run
        self.timeout = timeout
        self.poll_interval = poll_interval

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Remove it.

        :raises KubernetesError: Kubernetes refused, or was not reached, or pods don't end.
        :raises ValueError: Something is wrong with the parameters.
        """
        # Imports the clients of Kubernetes, which takes seconds.
        from airflow_eks_dask.helm.tiller import TillerRemoval

        if problems := self.cluster.problems():
            raise ValueError("; ".join(problems))
        with self.cluster.client() as client:
            removal = TillerRemoval(client, self.namespace, self.service_account)
            found = removal.find()
            for reason in found.keep:
                self.log.warning("Left: %s", reason)
            if found.releases:
                self.log.info(
                    "%d releases of Helm 2 stay on record; `helm 2to3 convert` takes them over", found.releases
                )
            if not found.remove:
                self.log.info("There is no Tiller in namespace %s", self.namespace)
            for kind, name in found.remove:
                self.log.info("%s %s %s", "Would delete" if self.is_dry_run else "Deleting", kind, name)
                if not self.is_dry_run:
                    removal.delete(kind, name)
            if not self.is_dry_run:
                removal.wait_until_gone(self.timeout, self.poll_interval, self.log.info)
        return {"removed": [f"{kind} {name}" for kind, name in found.remove], "kept": found.keep}
