"""Looking at a resource again and again, and telling each thing once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError

from airflow_eks_dask.hooks.aws import error_code
from airflow_eks_dask.resources.base import Progress, State

if TYPE_CHECKING:
    from airflow_eks_dask.hooks.aws import AwsClients
    from airflow_eks_dask.resources.base import Resource

_PASSING = ("Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException", "SlowDown")

_MOST_FAILURES = 10
"""Looks in a row that may fail, each after the attempts that botocore makes by itself."""


def is_passing(error: BotoCoreError | ClientError) -> bool:
    """Whether an error says that AWS, or the way to it, has too much to do: asking again later may help."""
    if not isinstance(error, ClientError):
        unreached = isinstance(error, (exceptions.ConnectionError, exceptions.HTTPClientError))
        return unreached and not isinstance(error, exceptions.SSLError)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return error_code(error) in _PASSING or status >= 500


class Log(Protocol):
    """What is needed of a logger: those of operators, triggers and the standard library have it."""

    def info(self, message: str, /, *args: object) -> Any:
        """Write a line."""


class OnceLog:
    """
    Writes each line once, however often it is seen.

    :param log: Gets the lines.
    :param subject: What they are about; they begin with it.
    """

    def __init__(self, log: Log, subject: object = None) -> None:
        self._log = log
        self._before = "" if subject is None else f"{subject}: "
        self._told: set[str] = set()

    def tell(self, line: str) -> None:
        """Write a line, unless it was written before."""
        if line not in self._told:
            self._told.add(line)
            self._log.info("%s%s", self._before, line)


class Watcher:
    """
    Looks at one resource for as long as something happens to it.

    :param log: Gets what AWS says, each line once.
    """

    def __init__(self, resource: Resource, aws: AwsClients, log: Log) -> None:
        self._resource = resource
        self._aws = aws
        self._log = OnceLog(log, f"{resource.kind} {resource.name}")
        self._failures = 0

    def look(self) -> Progress:
        """
        Return where the resource stands now; pending if that can't be found out at the moment.

        :raises ClientError: AWS refuses to tell, or has had too much to do for many looks.
        :raises BotoCoreError: AWS can't be asked: there are no credentials, or has not been reached for many looks.
        """
        try:
            progress = self._resource.progress(self._aws)
        except (BotoCoreError, ClientError) as error:
            self._failures += 1
            if not is_passing(error) or self._failures > _MOST_FAILURES:
                raise
            progress = Progress(State.PENDING, (f"AWS could not be asked, will ask again: {error}",))
        else:
            self._failures = 0
        for line in progress.detail:
            self._log.tell(line)
        return progress
