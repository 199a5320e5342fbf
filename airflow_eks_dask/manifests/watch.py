"""Looking at objects again and again, until they have come about or are gone."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.hooks.eks import KubernetesError
from airflow_eks_dask.manifests.api import object_api
from airflow_eks_dask.manifests.objects import Goal
from airflow_eks_dask.manifests.pods import held_up, pods_of, warnings_about
from airflow_eks_dask.manifests.rollout import has_pods, judged
from airflow_eks_dask.manifests.waiting import still_there
from airflow_eks_dask.resources.base import Progress, State
from airflow_eks_dask.resources.waiting import OnceLog

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import kubernetes.client  # type: ignore[import-untyped]
    from typing_extensions import Self

    from airflow_eks_dask.hooks.kubernetes import KubernetesCluster
    from airflow_eks_dask.manifests.api import ObjectApi
    from airflow_eks_dask.manifests.objects import Reference
    from airflow_eks_dask.resources.waiting import Log

_MOST_FAILURES = 5
"""Looks in a row that may fail, each after the attempts that :class:`.ObjectApi` makes by itself."""


class Watch:
    """
    Looks at objects for as long as something is still to come; a context manager.

    :param cluster: Where they are.
    :param references: Which they are.
    :param goal: What is to become of them.
    :param log: Gets what is seen, each line once.
    """

    def __init__(self, cluster: KubernetesCluster, references: Collection[Reference], goal: Goal, log: Log) -> None:
        self._cluster = cluster
        self._references = references
        self._goal = goal
        self._log = OnceLog(log)
        self._failures = 0
        self._stack = ExitStack()
        self._open: tuple[kubernetes.client.ApiClient, ObjectApi] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the client."""
        self._open = None
        self._stack.close()

    def look(self) -> Progress:
        """
        Return how far all of them have come; pending if that can't be found out at the moment.

        :raises KubernetesError: Kubernetes refused, or was not reached, for many looks.
        """
        try:
            progress = self._progress()
        except KubernetesError as error:
            self.close()
            self._failures += 1
            if self._failures > _MOST_FAILURES:
                raise
            progress = Progress(State.PENDING, (f"{error}. It will be asked again",))
        else:
            self._failures = 0
        for line in progress.detail:
            self._log.tell(line)
        return progress

    def _progress(self) -> Progress:
        if self._open is None:
            client = self._stack.enter_context(self._cluster.client())
            self._open = client, self._stack.enter_context(object_api(client))
        client, api = self._open
        if self._goal is Goal.GONE:
            left = still_there(api, self._references)
            return Progress(State.PENDING if left else State.READY, tuple(left))
        seen = [_seen(client, api, each) for each in self._references]
        states = {each.state for each in seen}
        state = next((each for each in (State.FAILED, State.PENDING) if each in states), State.READY)
        return Progress(state, tuple(line for each in seen for line in each.detail))


def _seen(client: kubernetes.client.ApiClient, api: ObjectApi, reference: Reference) -> Progress:
    found = api.get(reference)
    if found is None:
        return Progress(State.FAILED, (f"{reference}: somebody has deleted it",))
    progress = judged(reference, found)
    if progress.state is State.READY:
        return progress
    lines = [*progress.detail, *(_reasons(client, found) if has_pods(reference) else ())]
    return Progress(progress.state, tuple(f"{reference}: {line}" for line in lines))


def _reasons(client: kubernetes.client.ApiClient, found: Mapping[str, Any]) -> list[str]:
    pods = pods_of(client, found)
    return [*held_up(pods), *warnings_about(client, found, pods)]
