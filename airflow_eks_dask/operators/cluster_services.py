"""Operators for what runs in the cluster beside the pipelines: a web page, metrics, and the account to look at them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eks_dask.helm.values import as_parts
from airflow_eks_dask.operators.helm import EnsureHelmReleaseOperator, UninstallHelmReleaseOperator
from airflow_eks_dask.operators.kubernetes import ApplyManifestsOperator, DeleteManifestsOperator
from airflow_eks_dask.services import METRICS_SERVER, SERVICES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow_eks_dask.services import ClusterService

_EKS_ADMIN = "eks-admin.yaml"


class EnsureClusterServiceOperator(EnsureHelmReleaseOperator):
    """
    Have Headlamp, metrics-server or Prometheus in the cluster, from the charts of :mod:`airflow_eks_dask.services`.

    Parameters and what is returned are those of :class:`.EnsureHelmReleaseOperator`; all that is not given is chosen.
    On EKS, metrics-server is an add-on: :class:`.EnsureAddonOperator`.

    .. code-block:: python

        EnsureClusterServiceOperator(
            task_id="prometheus",
            service="prometheus",
            eks_cluster_name="pipelines",
            values={"server": {"retention": "30d"}},
        )

    :param service: ``headlamp``, ``metrics-server`` or ``prometheus``.
    :param values: What differs from the chosen values, as :class:`.EnsureHelmReleaseOperator` takes it.
    """

    def __init__(
        self,
        *,
        service: str,
        values: Mapping[str, Any] | str | Sequence[Mapping[str, Any] | str] = (),
        release: str | None = None,
        namespace: str | None = None,
        chart: str | None = None,
        repository: str | None = None,
        version: str | None = None,
        create_namespace: bool = True,
        **kwargs: Any,
    ) -> None:
        chosen = _chosen(service)
        super().__init__(
            release=release or chosen.name,
            namespace=namespace or chosen.namespace,
            chart=chart or chosen.chart,
            repository=repository or (None if chart else chosen.repository),
            version=version or (None if chart else chosen.version),
            values=[chosen.values, *as_parts(values)],
            create_namespace=create_namespace,
            **kwargs,
        )
        self.service = service

    def _problems(self) -> list[str]:
        found = super()._problems()
        if self.service == METRICS_SERVER.name and self.eks_cluster_name:
            found.append(
                "on EKS, metrics-server is an add-on: use EnsureAddonOperator with addon_name='metrics-server'"
            )
        return found


class DeleteClusterServiceOperator(UninstallHelmReleaseOperator):
    """
    Uninstall Headlamp, metrics-server or Prometheus. Harmless where it is not installed. Its namespace stays.

    .. code-block:: python

        DeleteClusterServiceOperator(task_id="no_headlamp", service="headlamp", eks_cluster_name="pipelines")

    :param service: ``headlamp``, ``metrics-server`` or ``prometheus``.
    """

    def __init__(
        self, *, service: str, release: str | None = None, namespace: str | None = None, **kwargs: Any
    ) -> None:
        chosen = _chosen(service)
        super().__init__(release=release or chosen.name, namespace=namespace or chosen.namespace, **kwargs)


class EnsureEksAdminOperator(ApplyManifestsOperator):
    """
    Have the account ``eks-admin`` in the cluster, bound to the role ``cluster-admin``, for people who look after it.

    Nothing runs as it, and it has no lasting token: ``airflow eks-dask dashboard`` asks for one that is good for an
    hour. Parameters and what is returned are those of :class:`.ApplyManifestsOperator`; ``adopt=True`` takes over an
    account of that name that was made by hand.

    .. code-block:: python

        EnsureEksAdminOperator(task_id="eks_admin", eks_cluster_name="pipelines")
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(manifests=_EKS_ADMIN, **kwargs)


class DeleteEksAdminOperator(DeleteManifestsOperator):
    """
    Delete the account ``eks-admin`` and what binds it, if they are ours. Its tokens are good no more.

    .. code-block:: python

        DeleteEksAdminOperator(task_id="no_eks_admin", eks_cluster_name="pipelines")
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(manifests=_EKS_ADMIN, **kwargs)


def _chosen(service: str) -> ClusterService:
    if service not in SERVICES:
        raise ValueError(f"There is no service {service!r}; there are {', '.join(SERVICES)}")
    return SERVICES[service]
