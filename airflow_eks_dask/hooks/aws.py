"""Clients of AWS, with the credentials of one Airflow connection."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.amazon.aws.hooks.base_aws import AwsBaseHook
from botocore.config import Config
from botocore.exceptions import ClientError

if TYPE_CHECKING:
    from collections.abc import Iterator

# Adaptive would slow down for minutes after one throttled call; standard backs off with jitter, and ends.
CONFIG = Config(connect_timeout=10, read_timeout=60, retries={"mode": "standard", "total_max_attempts": 6})


class AwsClients:
    """
    Clients of any AWS service for one account and region.

    The credentials are those of an Airflow connection of type AWS and all that it supports: keys, profiles, roles,
    web identity. :class:`~airflow.providers.amazon.aws.hooks.base_aws.AwsBaseHook` makes each client.

    :param aws_conn_id: The connection; None for what boto3 finds by itself.
    :param region_name: Region; None for the connection's own.
    """

    def __init__(self, aws_conn_id: str | None = "aws_default", region_name: str | None = None) -> None:
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self._hooks: dict[tuple[str, str | None], Any] = {}

    def hook(self, service: str, region_name: str | None = None) -> Any:
        """
        Return the provider's hook for a service.

        :param service: As boto3 calls it, such as ``eks``.
        :param region_name: Another region, for services that are in one only.
        """
        region = region_name or self.region_name
        if (service, region) not in self._hooks:
            self._hooks[service, region] = AwsBaseHook(
                aws_conn_id=self.aws_conn_id, client_type=service, region_name=region, config=CONFIG
            )
        return self._hooks[service, region]

    def client(self, service: str, region_name: str | None = None) -> Any:
        """Return the boto3 client of a service; the parameters are those of :meth:`hook`."""
        return self.hook(service, region_name).conn

    @cached_property
    def region(self) -> str:
        """
        The region, such as ``eu-central-1``.

        :raises ValueError: Neither the user nor the connection says one.
        """
        region = self._session.region_name
        if region is None:
            raise ValueError(f"Give region_name, or region_name in the extra of the connection {self.aws_conn_id!r}")
        return str(region)

    @cached_property
    def partition(self) -> str:
        """The partition: ``aws``, ``aws-cn`` or ``aws-us-gov``."""
        return str(self._session.get_partition_for_region(self.region))

    @cached_property
    def _session(self) -> Any:
        return self.hook("sts").get_session(region_name=self.region_name)

    @cached_property
    def account_id(self) -> str:
        """The account that the credentials belong to."""
        return str(self.client("sts").get_caller_identity()["Account"])


def error_code(error: ClientError) -> str:
    """Return AWS's name for an error, such as ``ResourceNotFoundException``."""
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def ignoring(*codes: str) -> Iterator[None]:
    """
    Let some errors pass that say that something is already as it was to become.

    So it is after a call whose answer was lost: botocore makes it again by itself.

    :param codes: AWS's names of the errors.
    """
    try:
        yield
    except ClientError as error:
        if error_code(error) not in codes:
            raise
