"""Objects of any kind in a cluster: found, applied and deleted by the dynamic client of ``kubernetes``."""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubernetes.client import ApiException  # type: ignore[import-untyped]
from kubernetes.dynamic import DynamicClient  # type: ignore[import-untyped]
from kubernetes.dynamic.exceptions import ResourceNotFoundError  # type: ignore[import-untyped]
from kubernetes.dynamic.resource import ResourceList  # type: ignore[import-untyped]

from airflow_eks_dask.hooks.eks import KubernetesError, kubernetes_errors

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import kubernetes.client  # type: ignore[import-untyped]

    from airflow_eks_dask.manifests.objects import Reference

NOT_FOUND = 404
CONFLICT = 409
_FIELD_CONFLICT = "FieldManagerConflict"


class RefusedError(KubernetesError):
    """
    The server does not take a manifest.

    :param status: The status of its answer.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class ObjectApi:
    """
    Objects of any kind; :func:`object_api` makes one.

    :param dynamic: Knows which kinds there are.
    """

    def __init__(self, dynamic: DynamicClient) -> None:
        self._dynamic = dynamic

    def kind(self, api_version: str, kind: str) -> Any | None:
        """
        Return what the server knows of a kind; None if it knows none of this name and version.

        :raises KubernetesError: Kubernetes refused, or was not reached.
        """
        group, _, version = api_version.rpartition("/")
        # Without its prefix, version v1 would be that of all groups.
        where = {"prefix": "apis", "group": group} if group else {"prefix": "api"}
        with kubernetes_errors(f"looking for {kind} of {api_version}"):
            try:
                found = self._dynamic.resources.search(**where, api_version=version, kind=kind)
            except ResourceNotFoundError:
                # The version is listed, and gone when it is looked at.
                return None
        kinds = [each for each in found if not isinstance(each, ResourceList)]
        return kinds[0] if kinds else None

    def get(self, reference: Reference) -> dict[str, Any] | None:
        """
        Return an object; None if it is not there, nor its kind.

        :raises KubernetesError: Kubernetes refused, or was not reached.
        """
        kind = self.kind(reference.api_version, reference.kind)
        if kind is None:
            return None
        with kubernetes_errors(f"reading {reference}"):
            try:
                return _content(kind.get(name=reference.name, namespace=reference.namespace, serialize=False))
            except ApiException as error:
                if error.status == NOT_FOUND:
                    return None
                raise

    def apply(
        self, reference: Reference, document: Mapping[str, Any], *, field_manager: str, force: bool, dry_run: bool
    ) -> dict[str, Any]:
        """
        Have the server merge a manifest into the object, or make it, and return what comes of it.

        :raises RefusedError: The server does not take the manifest.
        :raises KubernetesError: It does not know the kind, or was not reached.
        """
        kind = self.kind(reference.api_version, reference.kind)
        if kind is None:
            raise KubernetesError(f"{reference}: the cluster knows no {reference.kind} of {reference.api_version}")
        with kubernetes_errors(f"applying {reference}"):
            try:
                return _content(
                    kind.server_side_apply(
                        body=dict(document),
                        name=reference.name,
                        namespace=reference.namespace,
                        field_manager=field_manager,
                        force_conflicts=force,
                        dry_run="All" if dry_run else None,
                        serialize=False,
                    )
                )
            except ApiException as error:
                raise RefusedError(f"{reference}: {_refusal(error)}", error.status) from None

    def delete(self, reference: Reference, uid: str, propagation: str) -> None:
        """
        Delete this very object, not one that has its name; its absence is no error.

        :raises KubernetesError: Kubernetes refused, or was not reached.
        """
        kind = self.kind(reference.api_version, reference.kind)
        if kind is None:
            return
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": propagation,
            "preconditions": {"uid": uid},
        }
        with kubernetes_errors(f"deleting {reference}"):
            try:
                kind.delete(name=reference.name, namespace=reference.namespace, body=options, serialize=False)
            except ApiException as error:
                if error.status not in (NOT_FOUND, CONFLICT):
                    raise


@contextmanager
def object_api(client: kubernetes.client.ApiClient) -> Iterator[ObjectApi]:
    """
    Look which kinds a cluster has, for as long as the block runs.

    :raises KubernetesError: Kubernetes refused, or was not reached.
    """
    # Its own cache is a file in /tmp with a name that anybody can guess, and grows old.
    with tempfile.TemporaryDirectory(prefix="airflow-eks-dask-") as directory:
        with kubernetes_errors("looking which kinds of objects there are"):
            dynamic = DynamicClient(client, cache_file=str(Path(directory) / "kinds.json"))
        yield ObjectApi(dynamic)


def _refusal(error: ApiException) -> str:
    """Say what the server has against a manifest: of conflicts, who manages which fields."""
    try:
        said = json.loads(error.body)
    except (ValueError, TypeError):
        return f"Kubernetes answered {error.status} {error.reason}"
    causes = (said.get("details") or {}).get("causes") or []
    conflicts = [each for each in causes if each.get("reason") == _FIELD_CONFLICT]
    if not conflicts:
        return f"{error.status} {error.reason}: {said.get('message')}"
    told = [f"{each.get('field')} ({each.get('message')})" for each in conflicts]
    return f"others manage fields that are to be changed: {'; '.join(told)}"


def _content(response: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(response.data)
    return content
