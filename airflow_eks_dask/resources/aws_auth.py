"""The ConfigMap ``aws-auth``: nodes, roles and users that a cluster lets in, where it has no access entries."""

from __future__ import annotations

import random
import re
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import kubernetes.client  # type: ignore[import-untyped]
from kubernetes.client import ApiException, CoreV1Api, V1ConfigMap

from airflow_eks_dask.hooks.eks import EksKubernetes, find_api_server, kubernetes_errors
from airflow_eks_dask.resources import aws_auth_map, validation
from airflow_eks_dask.resources.aws_auth_map import LISTS, Edit, Entry, MalformedListError, Record
from airflow_eks_dask.resources.base import Action, Plan, Progress, Resource, ResourceError, State

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_eks_dask.hooks.aws import AwsClients

CONFIG_MAP = "aws-auth"
NAMESPACE = "kube-system"
ANNOTATION = "airflow-eks-dask/aws-auth"
"""Which of the ConfigMap's entries were added for the cluster."""

NODE = {"username": "system:node:{{EC2PrivateDNSName}}", "groups": ["system:bootstrappers", "system:nodes"]}
"""What nodes are in Kubernetes."""

ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/[\w+=,.@/-]+")
USER = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:user/[\w+=,.@/-]+")
CONFLICT = 409
NOT_FOUND = 404
_TRIES = 10


@dataclass(frozen=True, kw_only=True)
class AwsAuth(Resource):
    """
    Entries of the ConfigMap ``aws-auth``.

    Others write the ConfigMap too. Entries are added to its lists, and ours, which an annotation names, are mended;
    all else stays as it is, comments too. An entry of somebody else for the same role or user is used if it says the
    same, and refused if not. What is written replaces exactly what was read, or is read and merged again: server-side
    apply would not do, as each list is one field. An entry that is no longer wanted goes when it is deleted. The
    provider has no operator for it. Source: https://docs.aws.amazon.com/eks/latest/userguide/auth-configmap.html.

    :param node_roles: ARNs of the roles of self-managed nodes.
    :param roles: Further entries of ``mapRoles``: ``rolearn``, ``username``, ``groups``.
    :param users: Entries of ``mapUsers``: ``userarn``, ``username``, ``groups``.
    """

    kind: ClassVar[str] = "ConfigMap"

    node_roles: list[str] = field(default_factory=list)
    roles: list[dict[str, Any]] = field(default_factory=list)
    users: list[dict[str, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its namespace and name."""
        return f"{NAMESPACE}/{CONFIG_MAP}"

    def console_path(self, region: str) -> str:
        """Return the path of the cluster's page about access in the AWS console."""
        return f"eks/clusters/{self.cluster_name}?region={region}&selectedTab=cluster-access-tab"

    def identity_problems(self) -> list[str]:
        """Return what is wrong with the cluster's name and with who is named."""
        return [
            *validation.cluster_name(self.cluster_name),
            *validation.all_match("node_roles", self.node_roles, ROLE, "the ARN of an IAM role"),
            *validation.all_match("roles[rolearn]", _arns(self.roles, "rolearn"), ROLE, "the ARN of an IAM role"),
            *validation.all_match("users[userarn]", _arns(self.users, "userarn"), USER, "the ARN of an IAM user"),
        ]

    def problems(self) -> list[str]:
        """Return all that is wrong with what is wanted."""
        problems = [
            *self.identity_problems(),
            *_entry_problems("roles", "rolearn", self.roles),
            *_entry_problems("users", "userarn", self.users),
        ]
        if not (self.node_roles or self.roles or self.users):
            problems.append("give node_roles, roles or users")
        if not problems:
            arns = [entry[LISTS[name]] for name, entries in self._wanted.items() for entry in entries]
            problems += [f"{arn} has several entries" for arn in sorted({a for a in arns if arns.count(a) > 1})]
        return problems

    @property
    def _wanted(self) -> dict[str, list[Entry]]:
        roles = [{"rolearn": arn, **NODE} for arn in self.node_roles] + self.roles
        return {
            "mapRoles": [{**entry, "rolearn": _without_path(entry["rolearn"])} for entry in roles],
            "mapUsers": self.users,
        }

    def plan(self, aws: AwsClients) -> Plan:
        """Say which entries are missing or differ."""
        if find_api_server(aws, self.cluster_name) is None:
            return self.a_plan(Action.CREATE, "the cluster is not there yet")
        with _api(aws, self.cluster_name) as api:
            found = self._read(api)
        try:
            edit = self._merge(found)
        except MalformedListError as error:
            return self.a_plan(Action.REFUSE, f"{self.name} can't be read and is left as it is: {error}")
        if edit.conflicts:
            return self.a_plan(Action.REFUSE, *edit.conflicts)
        if not edit.texts:
            return self.a_plan(Action.LEAVE)
        return self.a_plan(Action.CREATE if found is None else Action.CHANGE, *edit.reasons)

    def _merge(self, found: V1ConfigMap | None) -> Edit:
        if found is None:
            return aws_auth_map.merge({}, Record(created=True), self._wanted)
        return aws_auth_map.merge(found.data or {}, self._record(found), self._wanted)

    def _remove(self, found: V1ConfigMap | None) -> Edit:
        if found is None:
            return Edit({}, Record())
        named = {name: [entry[LISTS[name]] for entry in entries] for name, entries in self._wanted.items()}
        return aws_auth_map.remove(
            found.data or {}, self._record(found), named if self.node_roles or self.roles or self.users else None
        )

    def _record(self, found: V1ConfigMap) -> Record:
        return Record.from_annotation((found.metadata.annotations or {}).get(ANNOTATION), self.cluster_name)

    def apply(self, aws: AwsClients, plan: Plan) -> None:
        """
        Add and mend entries.

        :raises ResourceError: Meanwhile somebody else wrote what can't be read, or an entry that says otherwise.
        :raises KubernetesError: Kubernetes refused, or was not reached.
        """
        self._write(aws, self._merge)

    def _write(self, aws: AwsClients, change: Callable[[V1ConfigMap | None], Edit]) -> None:
        """Read, change and write until nobody else has written in between."""
        with _api(aws, self.cluster_name) as api:
            for tries in range(1, _TRIES + 1):
                found = self._read(api)
                try:
                    edit = change(found)
                except MalformedListError as error:
                    raise ResourceError(f"{self.name} can't be read and is left as it is: {error}") from None
                if edit.conflicts:
                    raise ResourceError("; ".join(edit.conflicts))
                if not edit.reasons or self._replace(api, found, edit):
                    return
                time.sleep(random.uniform(0, 0.1 * tries))  # noqa: S311
        raise ResourceError(f"{self.name}: each of {_TRIES} times somebody else wrote it just before. Run it again")

    def _replace(self, api: CoreV1Api, found: V1ConfigMap | None, edit: Edit) -> bool:
        """Write unless somebody else has written since; return whether it was written."""
        with kubernetes_errors(f"writing ConfigMap {self.name}"):
            try:
                if found is None:
                    api.create_namespaced_config_map(NAMESPACE, self._new(edit))
                elif self._is_used_up(found, edit):
                    condition = kubernetes.client.V1Preconditions(resource_version=found.metadata.resource_version)
                    api.delete_namespaced_config_map(
                        CONFIG_MAP, NAMESPACE, body=kubernetes.client.V1DeleteOptions(preconditions=condition)
                    )
                else:
                    api.patch_namespaced_config_map(CONFIG_MAP, NAMESPACE, self._patch(found, edit))
            except ApiException as error:
                # Gone: somebody else has deleted it.
                if error.status not in (CONFLICT, NOT_FOUND):
                    raise
                return False
        return True

    def _new(self, edit: Edit) -> V1ConfigMap:
        annotations = {ANNOTATION: edit.record.to_annotation(self.cluster_name)}
        return V1ConfigMap(
            metadata=kubernetes.client.V1ObjectMeta(name=CONFIG_MAP, annotations=annotations), data=dict(edit.texts)
        )

    def _patch(self, found: V1ConfigMap, edit: Edit) -> dict[str, Any]:
        return {
            "metadata": {
                "resourceVersion": found.metadata.resource_version,
                "annotations": {
                    ANNOTATION: edit.record.to_annotation(self.cluster_name) if any(edit.record.arns.values()) else None
                },
            },
            "data": {name: text if text.strip() else None for name, text in edit.texts.items()},
        }

    def _is_used_up(self, found: V1ConfigMap, edit: Edit) -> bool:
        """Whether a ConfigMap that we made has nothing of anybody any more."""
        left = {**(found.data or {}), **(found.binary_data or {}), **edit.texts}
        others = (found.metadata.annotations or {}).keys() - {ANNOTATION}
        return edit.record.created and not others and not any(text.strip() for text in left.values())

    def _read(self, api: CoreV1Api) -> V1ConfigMap | None:
        with kubernetes_errors(f"reading ConfigMap {self.name}"):
            try:
                return api.read_namespaced_config_map(CONFIG_MAP, NAMESPACE)
            except ApiException as error:
                if error.status == NOT_FOUND:
                    return None
                raise

    def progress(self, aws: AwsClients) -> Progress:
        """Entries are there at once."""
        return Progress(State.READY)

    def outputs(self, aws: AwsClients) -> dict[str, Any]:
        """Return ``entries``: the ARNs of those that are let in."""
        return {"entries": [entry[LISTS[name]] for name, entries in self._wanted.items() for entry in entries]}

    def plan_deletion(self, aws: AwsClients) -> Plan:
        """Say which entries are ours to take out."""
        if find_api_server(aws, self.cluster_name) is None:
            return self.a_plan(Action.LEAVE, "the cluster is gone")
        with _api(aws, self.cluster_name) as api:
            found = self._read(api)
        try:
            edit = self._remove(found)
        except MalformedListError as error:
            return self.a_plan(Action.REFUSE, f"{self.name} can't be read and is left as it is: {error}")
        return self.a_plan(Action.DELETE if edit.reasons else Action.LEAVE, *(edit.reasons or ("none is ours",)))

    def delete(self, aws: AwsClients, plan: Plan) -> None:
        """
        Take out our entries; the ConfigMap goes if we made it and nothing else is in it.

        :raises ResourceError: Meanwhile somebody else wrote what can't be read.
        :raises KubernetesError: Kubernetes refused, or was not reached.
        """
        self._write(aws, self._remove)


@contextmanager
def _api(aws: AwsClients, cluster_name: str) -> Iterator[CoreV1Api]:
    with EksKubernetes(aws, cluster_name).client() as client:
        yield CoreV1Api(client)


def _without_path(role_arn: str) -> str:
    """Return a role's ARN as ``aws-auth`` compares it: the caller's session doesn't tell the path of its role."""
    before, slash, rest = role_arn.partition("/")
    return before + slash + rest.rpartition("/")[2]


def _arns(entries: list[Entry], key: str) -> list[str]:
    return [str(entry.get(key, "")) for entry in entries]


def _entry_problems(field_name: str, key: str, entries: list[Entry]) -> list[str]:
    problems: list[str] = []
    for place, entry in enumerate(entries):
        where = f"{field_name}[{place}]"
        if surplus := sorted(entry.keys() - {key, "username", "groups"}):
            problems.append(f"{where}: {', '.join(surplus)}: there is no such key")
        if not isinstance(entry.get("username"), str):
            problems.append(f"{where}[username]: must be a text")
        groups = entry.get("groups", [])
        if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
            problems.append(f"{where}[groups]: must be a list of texts")
    return problems
