"""Have objects be as manifests describe them, by server-side apply, and only where they are ours."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.manifests import ownership
from airflow_eks_dask.manifests.api import NOT_FOUND, RefusedError, object_api
from airflow_eks_dask.manifests.difference import difference, essential
from airflow_eks_dask.manifests.documents import with_encoded_data
from airflow_eks_dask.manifests.errors import ManifestError
from airflow_eks_dask.manifests.objects import Change, ObjectAction, Reference
from airflow_eks_dask.manifests.order import FIRST, sorted_for_apply
from airflow_eks_dask.manifests.waiting import wait_until_gone, wait_until_served
from airflow_eks_dask.manifests.wanted import wanted_objects

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import kubernetes.client  # type: ignore[import-untyped]

    from airflow_eks_dask.manifests.api import ObjectApi


_NEW_NAMESPACE = ("Namespace", ObjectAction.CREATE)

_NO_DRY_RUN = "does not support dry run"
"""What the server says of a webhook with effects."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _How:
    """
    How manifests are applied; see :func:`apply`.

    :param namespaces: Those that are among the manifests: what is in them can't be tried before they are there.
    """

    owner: str
    field_manager: str
    force_conflicts: bool
    adopt: bool
    namespaces: frozenset[str] = frozenset()


def apply(
    client: kubernetes.client.ApiClient,
    documents: Iterable[Mapping[str, Any]],
    *,
    owner: str,
    field_manager: str = ownership.MANAGER,
    namespace: str = "default",
    force_conflicts: bool = False,
    adopt: bool = False,
    dry_run: bool = False,
    timeout: float = 60,
    poll_interval: float = 1,
) -> list[Change]:
    """
    Apply manifests by the server, and return what that came to, in the order of applying.

    Nothing is written before all of it is known to be in order. Namespaces and definitions of kinds go first; what
    needs one that was not there is tried when it is. It does not wait until anything runs.

    :param client: Of the cluster.
    :param documents: The manifests; lists among them are taken apart.
    :param owner: Whose the objects are: the value of a label that they get, such as the name of the cluster.
    :param field_manager: By which name the server remembers which fields were applied.
    :param namespace: Of objects that name none, and whose kind has one.
    :param force_conflicts: Whether to take over fields that others manage.
    :param adopt: Whether to take over objects that are there and not the owner's.
    :param dry_run: Whether to have the server say only what would come of it.
    :param timeout: Seconds that kinds may take to be served, and objects that are being deleted to be gone.
    :param poll_interval: Seconds between two looks.
    :raises ManifestError: Something is wrong with the manifests, or an object is not the owner's.
    :raises KubernetesError: Kubernetes refused, or was not reached.
    """
    deadline = time.monotonic() + timeout
    how = _How(owner=owner, field_manager=field_manager, force_conflicts=force_conflicts, adopt=adopt)
    with object_api(client) as api:
        wanted = wanted_objects(api, documents, owner=owner, namespace=namespace)
        wanted = {each: wanted[each] for each in sorted_for_apply(wanted)}
        how = replace(how, namespaces=frozenset(each.name for each in wanted if each.kind == "Namespace"))
        if not dry_run:
            ending = [each for each in wanted if _is_ending(api.get(each))]
            wait_until_gone(api, ending, deadline=deadline, poll_interval=poll_interval)
        changes = _rehearsed(api, wanted, how)
        if dry_run:
            return changes
        untried = {each for each in wanted if not _can_be_tried(api, each, changes)}
        _write(api, wanted, [each for each in changes if each.reference.kind in FIRST], how)
        definitions = {each: wanted[each] for each in wanted if each.kind == "CustomResourceDefinition"}
        wait_until_served(api, definitions, deadline=deadline, poll_interval=poll_interval)
        tried = {each.reference: each for each in _rehearsed(api, {each: wanted[each] for each in untried}, how)}
        changes = [tried.get(each.reference, each) for each in changes]
        _write(api, wanted, [each for each in changes if each.reference.kind not in FIRST], how)
        return changes


def _can_be_tried(api: ObjectApi, reference: Reference, changes: Iterable[Change]) -> bool:
    """Whether the kind and the namespace of an object are there before anything is applied."""
    made = {each.reference.name for each in changes if (each.reference.kind, each.action) == _NEW_NAMESPACE}
    return reference.namespace not in made and api.kind(reference.api_version, reference.kind) is not None


def _rehearsed(api: ObjectApi, wanted: Mapping[Reference, Mapping[str, Any]], how: _How) -> list[Change]:
    """Have the server say what would come of all manifests, and tell all that it has against any of them."""
    changes, problems = [], []
    for reference, document in wanted.items():
        try:
            changes.append(_rehearse(api, reference, document, how))
        except ManifestError as error:
            problems.append(str(error))
    if problems:
        raise ManifestError.of("The manifests can't be applied", problems)
    return changes


def _rehearse(api: ObjectApi, reference: Reference, document: Mapping[str, Any], how: _How) -> Change:
    found = api.get(reference)
    if _is_ending(found):
        return _creation(reference, document, how, "the one that is there is being deleted")
    refusal = ownership.refusal(how.owner, found) if found else None
    if refusal and not how.adopt:
        raise ManifestError(f"{reference} exists, and {refusal}. Choose another name, or take it over with adopt=True")
    try:
        result = _applied(api, reference, document, how, dry_run=True)
    except RefusedError as error:
        if error.status == NOT_FOUND and reference.namespace in how.namespaces:
            return _creation(reference, document, how)
        if _NO_DRY_RUN in str(error):
            reason = "what comes of it is not known: a webhook that has a say in it can't be tried"
            return Change(reference, ObjectAction.CHANGE if found else ObjectAction.CREATE, reason=reason)
        raise ManifestError(str(error)) from None
    if found is None or result is None:
        return _creation(reference, document, how)
    lines = difference(str(reference), essential(found), essential(result))
    if lines:
        return Change(reference, ObjectAction.CHANGE, tuple(lines))
    if _applied_fields(found, how) != _applied_fields(result, how):
        return Change(reference, ObjectAction.CHANGE, reason=f"{how.field_manager} comes to manage more or less of it")
    return Change(reference, ObjectAction.UNCHANGED)


def _creation(reference: Reference, document: Mapping[str, Any], how: _How, reason: str = "") -> Change:
    lines = difference(str(reference), None, _body(reference, document, how))
    return Change(reference, ObjectAction.CREATE, tuple(lines), reason)


def _write(api: ObjectApi, wanted: Mapping[Reference, Mapping[str, Any]], changes: Iterable[Change], how: _How) -> None:
    for change in changes:
        if change.action is ObjectAction.UNCHANGED:
            continue
        _log.info("Applying %s", change.reference)
        try:
            _applied(api, change.reference, wanted[change.reference], how, dry_run=False)
        except RefusedError as error:
            raise ManifestError(str(error)) from None


def _applied(
    api: ObjectApi, reference: Reference, document: Mapping[str, Any], how: _How, *, dry_run: bool
) -> dict[str, Any] | None:
    """Return what comes of a manifest; None: its kind is not served yet."""
    if dry_run and api.kind(reference.api_version, reference.kind) is None:
        return None
    return api.apply(
        reference,
        _body(reference, document, how),
        field_manager=how.field_manager,
        force=how.force_conflicts,
        dry_run=dry_run,
    )


def _body(reference: Reference, document: Mapping[str, Any], how: _How) -> dict[str, Any]:
    body = ownership.labelled(with_encoded_data(document), how.owner)
    if reference.namespace:
        body["metadata"]["namespace"] = reference.namespace
    return body


def _applied_fields(found: Mapping[str, Any], how: _How) -> list[Any]:
    return [
        (each.get("apiVersion"), each.get("fieldsV1"))
        for each in found["metadata"].get("managedFields") or ()
        if (each.get("manager"), each.get("operation")) == (how.field_manager, "Apply")
    ]


def _is_ending(found: Mapping[str, Any] | None) -> bool:
    return bool(found and found["metadata"].get("deletionTimestamp"))
