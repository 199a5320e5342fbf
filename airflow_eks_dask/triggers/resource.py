"""Wait until nothing happens to a resource any more."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import TriggerEvent
from botocore.exceptions import BotoCoreError, ClientError

from airflow_eks_dask.hooks.aws import AwsClients
from airflow_eks_dask.resources.base import State
from airflow_eks_dask.resources.waiting import Watcher
from airflow_eks_dask.triggers._polling import PollingTrigger, look_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from airflow_eks_dask.resources.base import Resource


class ResourceTrigger(PollingTrigger):
    """
    Fires when a resource is no longer pending, or the deadline has passed.

    It needs nothing but the triggerer: AWS is asked with boto3, in a thread, and no secret is kept.

    :param resource_class: Import path of the resource's class.
    :param resource: Its wanted state, as :meth:`.Resource.to_json` gives it.
    :param aws_conn_id: Airflow connection of type AWS.
    :param region_name: Region.
    :param poll_interval: Seconds between two looks.
    :param deadline: Seconds since the epoch after which waiting is no use.
    """

    arguments = ("resource_class", "resource", "aws_conn_id", "region_name", "poll_interval", "deadline")

    def __init__(
        self,
        *,
        resource_class: str,
        resource: dict[str, Any],
        aws_conn_id: str | None,
        region_name: str | None,
        poll_interval: float,
        deadline: float,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.resource_class = resource_class
        self.resource = resource
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.poll_interval = poll_interval
        self.deadline = deadline

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until something is to be done; the event has the state, what AWS said, and an error if there is one."""
        module, _, name = self.resource_class.rpartition(".")
        resource: Resource = getattr(import_module(module), name).from_json(self.resource)
        watcher = Watcher(resource, AwsClients(self.aws_conn_id, self.region_name), self.log)
        try:
            progress = await look_until(
                lambda seen: seen.state is not State.PENDING,
                watcher.look,
                interval=self.poll_interval,
                deadline=self.deadline,
            )
        except (BotoCoreError, ClientError) as error:
            event: dict[str, Any] = {"error": str(error)}
        else:
            event = {"state": progress.state.value, "detail": list(progress.detail)}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]
