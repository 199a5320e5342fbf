"""Wait until objects in Kubernetes have come about, or are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent
from asgiref.sync import sync_to_async

from airflow_eks_dask.hooks.kubernetes import KubernetesCluster
from airflow_eks_dask.manifests.objects import Goal, Reference
from airflow_eks_dask.resources.base import State
from airflow_eks_dask.triggers._polling import PollingTrigger, look_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_eks_dask.manifests.watch import Watch


class ManifestsTrigger(PollingTrigger):
    """
    Fires when all objects are ready or gone, when one has failed, or when the deadline has passed.

    It needs nothing but the triggerer: Kubernetes is asked in a thread, and no secret is kept.

    :param cluster: Where they are, as :meth:`.KubernetesCluster.to_json` gives it.
    :param references: Which they are, as :meth:`.Reference.to_json` gives them.
    :param goal: ``ready`` or ``gone``.
    :param poll_interval: Seconds between two looks.
    :param deadline: Seconds since the epoch after which waiting is no use.
    """

    arguments = ("cluster", "references", "goal", "poll_interval", "deadline")

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

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until nothing is pending; the event has the state and what was seen, or an error."""
        watch = await sync_to_async(self._watch, thread_sensitive=False)()
        from airflow_eks_dask.hooks.eks import KubernetesError

        try:
            progress = await look_until(
                lambda seen: seen.state is not State.PENDING,
                watch.look,
                interval=self.poll_interval,
                deadline=self.deadline,
            )
        except KubernetesError as error:
            event: dict[str, Any] = {"error": str(error)}
        else:
            event = {"state": progress.state.value, "detail": list(progress.detail)}
        finally:
            watch.close()
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    def _watch(self) -> Watch:
        """Import the clients of Kubernetes, too, which takes seconds: not in the event loop."""
        from airflow_eks_dask.manifests.watch import Watch

        references = [Reference.from_json(each) for each in self.references]
        return Watch(KubernetesCluster.from_json(self.cluster), references, Goal(self.goal), self.log)
