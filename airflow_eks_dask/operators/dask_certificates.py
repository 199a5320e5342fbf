"""The operator that keeps the certificates of a Dask cluster in Kubernetes."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.operators._kubernetes import KubernetesOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context


class EnsureDaskCertificatesOperator(KubernetesOperator):
    """
    Have an authority for one Dask cluster in Kubernetes, and certificates for its scheduler, its workers and Airflow.

    They are made once, and anew ``renew_before`` days before they end. Keys are made where the task runs and kept in
    Secrets alone: ``<name>-authority``, which no pod gets, and ``<name>-scheduler-tls``, ``<name>-worker-tls`` and
    ``<name>-client-tls``, each with ``ca.crt``, ``tls.crt`` and ``tls.key``. What goes on with old certificates has to
    be restarted: give ``fingerprint`` to the pods as an annotation.

    Returns ``secrets`` (names by ``scheduler``, ``worker``, ``client``), ``fingerprint`` (of all certificates
    together), ``valid_until`` and ``changed`` (those that were made).

    .. code-block:: python

        EnsureDaskCertificatesOperator(
            task_id="certificates",
            namespace="dask",
            name="pipeline",
            hosts=["pipeline-scheduler"],
            eks_cluster_name="pipelines",
            queue="local",
        )

    :param namespace: Where the Secrets are; it is made if it is not there.
    :param name: What their names begin with.
    :param cluster_name: Whose they are: the value of their label, without which Secrets of these names are refused.
        Default: ``eks_cluster_name``.
    :param hosts: Host names and IP addresses in the scheduler's certificate, for clients other than Dask.
    :param renew_before: Days before its end at which a certificate is made anew.
    """

    template_fields: Sequence[str] = (*KubernetesOperator.template_fields, "namespace", "name", "cluster_name", "hosts")
    ui_color = "#e2d5f0"

    def __init__(
        self,
        *,
        namespace: str,
        name: str,
        cluster_name: str | None = None,
        hosts: Sequence[str] = (),
        renew_before: int = 30,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.namespace = namespace
        self.name = name
        self.cluster_name = cluster_name
        self.hosts = hosts
        self.renew_before = renew_before

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Make what is missing.

        :raises CertificateError: A Secret is another's.
        :raises KubernetesError: Kubernetes refused, or was not reached.
        :raises ValueError: Something is wrong with the parameters.
        """
        # Imports the clients of Kubernetes, which takes seconds.
        from airflow_eks_dask.certificates import subject_name
        from airflow_eks_dask.manifests import ownership
        from airflow_eks_dask.resources.dask_certificates import DaskCertificates

        owner = self.cluster_name or self.eks_cluster_name or ""
        if problems := [*self.cluster.problems(), *ownership.problems(owner)]:
            raise ValueError("; ".join(problems))
        wanted = DaskCertificates(
            namespace=self.namespace,
            name=self.name,
            owner=owner,
            hosts=[subject_name(host) for host in self.hosts],
            renew_before=self.renew_before,
        )
        with self.cluster.client() as client:
            return wanted.ensure(client, datetime.now(timezone.utc), self.log.info)
