"""Wait until a Service in Kubernetes is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent
from asgiref.sync import sync_to_async
from botocore.exceptions import BotoCoreError, ClientError

from airflow_eks_dask.triggers._polling import PollingTrigger, look_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_eks_dask.resources.service_address import ServiceAddressWatch
    from airflow_eks_dask.resources.waiting import Log


class ServiceAddressTrigger(PollingTrigger):
    """
    Fires when a Service is reached, never will be, or the deadline has passed.

    It needs nothing but the triggerer: Kubernetes is asked with its synchronous client, in a thread, and no secret is
    kept. A kubeconfig has to be where the triggerer runs.

    :param wanted: The Service, as :meth:`.ServiceAddress.to_json` gives it.
    :param poke_interval: Seconds between two looks.
    :param deadline: Seconds since the epoch after which waiting is no use.
    """

    arguments = ("wanted", "poke_interval", "deadline")

    def __init__(self, *, wanted: dict[str, Any], poke_interval: float, deadline: float) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.wanted = wanted
        self.poke_interval = poke_interval
        self.deadline = deadline

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is an event: with ``address``; with ``late``, what hung and why; or with ``error``."""
        watch = await sync_to_async(_watch, thread_sensitive=False)(self.wanted, self.log)
        from airflow_eks_dask.hooks.eks import KubernetesError
        from airflow_eks_dask.resources.service_address import ServiceAddressError

        try:
            looked = await look_until(
                lambda seen: bool(seen.address), watch.look, interval=self.poke_interval, deadline=self.deadline
            )
        except (ServiceAddressError, KubernetesError, BotoCoreError, ClientError, ValueError) as error:
            event = {"error": str(error)}
        else:
            event = {"address": looked.address} if looked.address else {"late": watch.late()}
        finally:
            watch.close()
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]


def _watch(wanted: dict[str, Any], log: Log) -> ServiceAddressWatch:
    """Import the clients of Kubernetes, too, which takes seconds: not in the event loop."""
    from airflow_eks_dask.resources.service_address import ServiceAddress, ServiceAddressWatch

    return ServiceAddressWatch(ServiceAddress.from_json(wanted), log)
