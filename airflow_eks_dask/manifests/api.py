"""Objects of any kind in a cluster: found, applied and deleted by the dynamic client of ``kubernetes``."""

from __future__ import annotations

import json
import logging
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from kubernetes.client import ApiException  # type: ignore[import-untyped]
from kubernetes.dynamic import DynamicClient  # type: ignore[import-untyped]
from kubernetes.dynamic.exceptions import ResourceNotFoundError  # type: ignore[import-untyped]
from kubernetes.dynamic.resource import ResourceList  # type: ignore[import-untyped]
from tenacity import Future, Retrying, retry_if_exception, stop_after_delay, wait_random_exponential
from urllib3.exceptions import HTTPError, SSLError

from airflow_eks_dask.hooks.eks import KubernetesError, kubernetes_errors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import kubernetes.client  # type: ignore[import-untyped]

    from airflow_eks_dask.manifests.objects import Reference

_log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")

NOT_FOUND = 404
CONFLICT = 409
_FIELD_CONFLICT = "FieldManagerConflict"

_PASSING = (429, 500, 502, 503, 504)
"""Answers that say that the server, or a webhook that it asks, is not able right now."""

_PATIENCE = 30.0
"""Seconds for which they are taken for passing."""

_LONGEST_PAUSE = 5.0
"""Seconds between two attempts."""


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
                found = _persistently(lambda: self._dynamic.resources.search(**where, api_version=version, kind=kind))
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
                return _asked(kind.get, name=reference.name, namespace=reference.namespace)
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
                return _asked(
                    kind.server_side_apply,
                    body=dict(document),
                    name=reference.name,
                    namespace=reference.namespace,
                    field_manager=field_manager,
                    force_conflicts=force,
                    dry_run="All" if dry_run else None,
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
                _asked(kind.delete, name=reference.name, namespace=reference.namespace, body=options)
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
            dynamic = _persistently(lambda: DynamicClient(client, cache_file=str(Path(directory) / "kinds.json")))
        yield ObjectApi(dynamic)


def _refusal(error: ApiException) -> str:
    """Say what the server has against a manifest: of conflicts, who manages which fields."""
    said = _said(error)
    if not (conflicts := _conflicts(said)):
        return f"Kubernetes answered {error.status} {error.reason}: {said.get('message')}"
    told = [f"{each.get('field')} ({each.get('message')})" for each in conflicts]
    return (
        f"others manage fields that the manifest sets otherwise: {'; '.join(told)}. Leave them out of the manifest, or "
        "take them over with force_conflicts=True"
    )


def _said(error: ApiException) -> dict[str, Any]:
    try:
        said = json.loads(error.body)
    except (ValueError, TypeError):
        said = None
    return said if isinstance(said, dict) else {"message": error.body}


def _conflicts(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    causes = (said.get("details") or {}).get("causes") or []
    return [each for each in causes if each.get("reason") == _FIELD_CONFLICT]


def _asked(call: Callable[..., Any], **arguments: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(_persistently(lambda: call(**arguments, serialize=False)).data)
    return content


def _persistently(call: Callable[[], _Answer]) -> _Answer:
    """Ask again for as long as the answer is that of a server that is not able right now: all here may be repeated."""
    return Retrying(
        retry=retry_if_exception(_is_passing),
        wait=wait_random_exponential(multiplier=0.5, max=_LONGEST_PAUSE),
        stop=stop_after_delay(_PATIENCE),
        before_sleep=lambda state: _log.info(
            "Kubernetes will be asked again: %s", state.outcome and _why(state.outcome)
        ),
        reraise=True,
    )(call)


def _is_passing(error: BaseException) -> bool:
    if isinstance(error, ApiException):
        said = _said(error)
        # Of a manifest that it can't make sense of, an old server says the same, but without this reason.
        is_final = error.status == 500 and said.get("kind") == "Status" and said.get("reason") != "InternalError"
        return error.status in _PASSING and not is_final
    return isinstance(error, HTTPError) and not isinstance(getattr(error, "reason", error), SSLError)


def _why(outcome: Future) -> str:
    error = outcome.exception()
    return str(_said(error).get("message")) if isinstance(error, ApiException) else str(error)
