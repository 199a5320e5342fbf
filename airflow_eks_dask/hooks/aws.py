"""Clients of AWS, with the credentials of one Airflow connection."""

from __future__ import annotations

import threading
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

_DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError")


class _OneSession(AwsBaseHook):
    """
    Makes the clients of all services in one session.

    The provider's hook makes a session for each client, and so reads the connection, takes its role and loads what
    botocore knows of all services each time.
    """

    @cached_property
    def session(self) -> Any:
        """The session, in the region of the hook."""
        return super().get_session(self.region_name)

    def get_session(self, region_name: str | None = None, deferrable: bool = False) -> Any:
        return self.session

    def client_of(self, service: str) -> Any:
        """Return a new client of a service."""
        self.client_type = service
        return self.get_client_type()


class AwsClients:
    """
    Clients of any AWS service for one account and region.

    The credentials are those of an Airflow connection of type AWS and all that it supports: keys, profiles, roles,
    web identity. :class:`~airflow.providers.amazon.aws.hooks.base_aws.AwsBaseHook` makes each client. May be used by
    several threads.

    :param aws_conn_id: The connection; None for what boto3 finds by itself.
    :param region_name: Region; None for the connection's own.
    """

    def __init__(self, aws_conn_id: str | None = "aws_default", region_name: str | None = None) -> None:
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self._hooks: dict[str | None, _OneSession] = {}
        self._clients: dict[tuple[str, str | None], Any] = {}
        # Clients are made for threads; making them is not.
        self._lock = threading.RLock()

    def client(self, service: str, region_name: str | None = None) -> Any:
        """
        Return the boto3 client of a service.

        :param service: As boto3 calls it, such as ``eks``.
        :param region_name: Another region, for services that are in one only.
        """
        key = service, region_name or self.region_name
        with self._lock:
            if key not in self._clients:
                self._clients[key] = self._hook(key[1]).client_of(service)
            return self._clients[key]

    def _hook(self, region_name: str | None) -> _OneSession:
        if region_name not in self._hooks:
            self._hooks[region_name] = _OneSession(self.aws_conn_id, region_name=region_name, config=CONFIG)
        return self._hooks[region_name]

    @property
    def session(self) -> Any:
        """The session that has the credentials, which renew themselves."""
        with self._lock:
            return self._hook(self.region_name).session

    @cached_property
    def region(self) -> str:
        """
        The region, such as ``eu-central-1``.

        :raises ValueError: Neither the user nor the connection says one.
        """
        region = self.session.region_name
        if region is None:
            raise ValueError(f"Give region_name, or region_name in the extra of the connection {self.aws_conn_id!r}")
        return str(region)

    @cached_property
    def partition(self) -> str:
        """The partition: ``aws``, ``aws-cn`` or ``aws-us-gov``."""
        return str(self.session.get_partition_for_region(self.region))

    @cached_property
    def account_id(self) -> str:
        """The account that the credentials belong to."""
        return str(self.client("sts").get_caller_identity()["Account"])


def error_code(error: ClientError) -> str:
    """Return AWS's name for an error, such as ``ResourceNotFoundException``."""
    return str(error.response.get("Error", {}).get("Code", ""))


def is_denial(error: ClientError) -> bool:
    """Whether an error says that the credentials may not do something."""
    return error_code(error) in _DENIED


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
