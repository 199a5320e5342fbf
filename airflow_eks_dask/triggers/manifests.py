"""Wait until objects in Kubernetes have come about, or are gone."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from airflow_eks_dask.hooks.kubernetes import KubernetesCluster
from airflow_eks_dask.manifests.objects import Goal, Reference
from airflow_eks_dask.resources.base import State

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class ManifestsTrigger(BaseTrigger):
    """
    Fires when all objects are ready or gone, when one has failed, or when the deadline has passed.

    It needs nothing but the triggerer: Kubernetes is asked in a thread, and no secret is kept.

    :param cluster: Where they are, as :meth:`.KubernetesCluster.to_json` gives it.
    :param references: Which they are, as :meth:`.Reference.to_json` gives them.
    :param goal: ``ready`` or ``gone``.
    :param poll_interval: Seconds between two looks.
    :param deadline: Seconds since the epoch after which waiting is no use.
    """

    def __init__(
        self,
        *,
        cluster: dict[str, Any],
        references: list[dict[str, Any]],
        goal: str,
        poll_interval: float,
        deadline: float,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.cluster = cluster
        self.references = references
        self.goal = goal
        self.poll_interval = poll_interval
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the import path of this class and the arguments to make it again."""
        names = ("cluster", "references", "goal", "poll_interval", "deadline")
        return f"{type(self).__module__}.{type(self).__qualname__}", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until nothing is pending; the event has the state and what was seen, or an error."""
        # Imports the clients of Kubernetes, which takes seconds.
        from airflow_eks_dask.hooks.eks import KubernetesError
        from airflow_eks_dask.manifests.watch import Watch

        references = [Reference.from_json(each) for each in self.references]
        watch = Watch(KubernetesCluster.from_json(self.cluster), references, Goal(self.goal), self.log)
        look = sync_to_async(watch.look, thread_sensitive=False)
        try:
            # Nothing tells us when Kubernetes is done.
            while (progress := await look()).state is State.PENDING and time.time() < self.deadline:  # noqa: ASYNC110
                await asyncio.sleep(self.poll_interval)
        except KubernetesError as error:
            event: dict[str, Any] = {"error": str(error)}
        else:
            event = {"state": progress.state.value, "detail": list(progress.detail)}
        finally:
            watch.close()
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]
