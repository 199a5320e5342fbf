"""What Helm 2 left in a cluster: Tiller, found, judged and taken away."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import kubernetes.client  # type: ignore[import-untyped]

from airflow_eks_dask.hooks.eks import KubernetesError, kubernetes_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LABELS = "app=helm,name=tiller"
"""What ``helm init`` put on everything that it made. Source: https://github.com/helm/helm/blob/release-2.17/cmd/helm/installer/install.go."""

RELEASES = "OWNER=TILLER"
"""What Tiller put on its records of releases."""


@dataclass
class Tiller:
    """
    What there is of Tiller in a cluster.

    :param remove: What is its own, as ``(kind, name)``, in the order in which it has to go.
    :param keep: What looks like it and is also another's, with the reason.
    :param releases: How many releases of Helm 2 are on record. They are left: Helm's plug-in ``2to3`` reads them.
    """

    remove: list[tuple[str, str]] = field(default_factory=list)
    keep: list[str] = field(default_factory=list)
    releases: int = 0


class TillerRemoval:
    """
    Looks for Tiller and removes it.

    :param client: Of the cluster.
    :param namespace: Where Tiller is.
    :param service_account: The account that was made for it; nothing that ``helm init`` does tells.
    """

    def __init__(self, client: Any, namespace: str = "kube-system", service_account: str = "tiller") -> None:
        self._namespace = namespace
        self._account = service_account
        self._core = kubernetes.client.CoreV1Api(client)
        self._apps = kubernetes.client.AppsV1Api(client)
        self._rbac = kubernetes.client.RbacAuthorizationV1Api(client)

    def find(self) -> Tiller:
        """
        Find out what is there.

        :raises KubernetesError: Kubernetes refused, or was not reached.
        """
        found = Tiller()
        with kubernetes_errors(f"looking for Tiller in namespace {self._namespace}"):
            labelled = {"namespace": self._namespace, "label_selector": LABELS}
            found.remove += _named("Deployment", self._apps.list_namespaced_deployment(**labelled))
            found.remove += _named("Service", self._core.list_namespaced_service(**labelled))
            found.remove += _named("Secret", self._core.list_namespaced_secret(**labelled))
            records = self._core.list_namespaced_config_map(self._namespace, label_selector=RELEASES).items
            found.releases = len({record.metadata.labels.get("NAME") for record in records})
            self._judge_account(found)
        return found

    def delete(self, kind: str, name: str) -> None:
        """
        Delete one of the things found, and what hangs on it; nothing happens if it is gone.

        :raises KubernetesError: Kubernetes refused, or was not reached.
        """
        options = {"propagation_policy": "Foreground"}
        calls: dict[str, Callable[[], Any]] = {
            "Deployment": lambda: self._apps.delete_namespaced_deployment(name, self._namespace, **options),
            "Service": lambda: self._core.delete_namespaced_service(name, self._namespace),
            "Secret": lambda: self._core.delete_namespaced_secret(name, self._namespace),
            "ClusterRoleBinding": lambda: self._rbac.delete_cluster_role_binding(name),
            "RoleBinding": lambda: self._rbac.delete_namespaced_role_binding(name, self._namespace),
            "ServiceAccount": lambda: self._core.delete_namespaced_service_account(name, self._namespace),
        }
        with kubernetes_errors(f"deleting {kind} {name}"):
            try:
                calls[kind]()
            except kubernetes.client.ApiException as error:
                if error.status != 404:
                    raise

    def wait_until_gone(self, timeout: float, poll_interval: float, tell: Callable[[str], None]) -> None:
        """
        Wait until Tiller's Deployment and all of its pods are gone.

        :param timeout: Seconds.
        :param poll_interval: Seconds between two looks.
        :param tell: Takes a line of progress.
        :raises KubernetesError: Some are left when the time is over.
        """
        deadline, told = time.monotonic() + timeout, None
        while left := self._left():
            if time.monotonic() > deadline:
                raise KubernetesError(f"Still there of Tiller after {timeout:g} s: {', '.join(left)}")
            if left != told:
                tell(f"Waiting for the end of {', '.join(left)}")
            told = left
            time.sleep(poll_interval)

    def _left(self) -> list[str]:
        labelled = {"namespace": self._namespace, "label_selector": LABELS}
        with kubernetes_errors(f"looking for Tiller in namespace {self._namespace}"):
            deployments = self._apps.list_namespaced_deployment(**labelled).items
            pods = self._core.list_namespaced_pod(**labelled).items
        return [f"Deployment {each.metadata.name}" for each in deployments] + [
            f"pod {pod.metadata.name} ({_state(pod)})" for pod in pods
        ]

    def _judge_account(self, found: Tiller) -> None:
        accounts = self._core.list_namespaced_service_account(
            self._namespace, field_selector=f"metadata.name={self._account}"
        ).items
        bindings = [("ClusterRoleBinding", each) for each in self._rbac.list_cluster_role_binding().items]
        bindings += [("RoleBinding", each) for each in self._rbac.list_namespaced_role_binding(self._namespace).items]
        others = self._others_that_use_it() if accounts or any(self._names_it(each) for _, each in bindings) else []
        if others:
            found.keep.append(
                f"ServiceAccount {self._account} and its bindings: used by {', '.join(others)}, which is not Tiller"
            )
            return
        for kind, binding in bindings:
            if not self._names_it(binding):
                continue
            if len(binding.subjects) == 1:
                found.remove.append((kind, binding.metadata.name))
            else:
                found.keep.append(f"{kind} {binding.metadata.name}: binds others beside {self._account}")
        found.remove += [("ServiceAccount", each.metadata.name) for each in accounts]

    def _names_it(self, binding: Any) -> bool:
        wanted = ("ServiceAccount", self._namespace, self._account)
        return any((each.kind, each.namespace, each.name) == wanted for each in binding.subjects or ())

    def _others_that_use_it(self) -> list[str]:
        pods = self._core.list_namespaced_pod(
            self._namespace, field_selector=f"spec.serviceAccountName={self._account}"
        ).items
        return [
            f"pod {pod.metadata.name}"
            for pod in pods
            if (pod.metadata.labels or {}).get("name") != "tiller" or pod.metadata.labels.get("app") != "helm"
        ]


def _named(kind: str, found: Any) -> Iterator[tuple[str, str]]:
    return ((kind, each.metadata.name) for each in found.items)


def _state(pod: Any) -> str:
    return "ending" if pod.metadata.deletion_timestamp else str(pod.status.phase)
