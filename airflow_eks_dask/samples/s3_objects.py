"""Trips in S3: Parquet objects, and a wait for them that holds no slot."""

from __future__ import annotations

import fnmatch
import io
import re
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException
from airflow.triggers.base import TriggerEvent
from asgiref.sync import sync_to_async

from airflow_eks_dask.operators._deferral import is_deferrable
from airflow_eks_dask.triggers._polling import PollingTrigger, look_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import pyarrow as pa  # type: ignore[import-untyped]
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook
    from airflow.sdk import Context

# The provider takes a second to import: that is for tasks, not for whoever reads the DAG file.

TRIP_COLUMNS = ("trip_id", "pickup_at", "zone", "distance_m", "duration_s", "fare_cents")


class S3Object(TypedDict):
    """
    An object as it was when it was listed.

    :param key: Its name in the bucket.
    :param etag: What changes with its content.
    """

    key: str
    etag: str


def s3_hook(aws_conn_id: str) -> S3Hook:
    """Return the provider's hook, with an end to each call."""
    from airflow.providers.amazon.aws.hooks.s3 import S3Hook

    from airflow_eks_dask.hooks.aws import CONFIG

    return S3Hook(aws_conn_id=aws_conn_id, config=CONFIG)


def matching(hook: S3Hook, bucket: str, pattern: str) -> list[S3Object]:
    """
    List the objects of a bucket whose names match a pattern, in the order of their names.

    :param pattern: Such as ``trips/2025-*.parquet``; ``*``, ``?`` and ``[...]`` stand for others.
    """
    prefix = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    found = hook.iter_file_metadata(prefix, bucket)
    return [S3Object(key=each["Key"], etag=each["ETag"]) for each in found if fnmatch.fnmatchcase(each["Key"], pattern)]


def read_trips(hook: S3Hook, bucket: str, found: S3Object) -> pa.Table:
    """
    Read the trips of an object.

    :raises botocore.exceptions.ClientError: It is gone, or another than the one that was listed.
    :raises ValueError: There are no trips in it.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    answer = hook.get_conn().get_object(Bucket=bucket, Key=found["key"], IfMatch=found["etag"])
    where = f"s3://{bucket}/{found['key']}"
    try:
        trips = pq.read_table(io.BytesIO(answer["Body"].read()))
    except pa.ArrowInvalid as error:
        raise ValueError(f"{where} is not Parquet: {error}") from None
    if missing := [name for name in TRIP_COLUMNS if name not in trips.column_names]:
        raise ValueError(f"{where} has no trips: it lacks the columns {', '.join(missing)}")
    return trips


def month_of(key: str) -> str:
    """
    Return the month that is in an object's name, such as ``2025-01``.

    :raises ValueError: There is none.
    """
    found = re.search(r"\d{4}-(0[1-9]|1[0-2])(?!\d)", key)
    if found is None:
        raise ValueError(f"The name {key!r} should say of which month its trips are, such as 2025-01")
    return found[0]


def write_trips(hook: S3Hook, bucket: str, key: str, trips: pa.Table) -> None:
    """Write trips as an object, in place of one that is there."""
    import pyarrow.parquet as pq

    content = io.BytesIO()
    pq.write_table(trips, content)
    hook.load_bytes(content.getvalue(), key, bucket, replace=True)


class WaitForObjects(BaseOperator):
    """
    Wait until S3 has as many objects as are expected; return how many there are.

    The provider's ``S3KeySensor`` waits for one, and its deferral needs aiobotocore.

    :param bucket: The bucket.
    :param pattern: Pattern of their names, as :func:`matching` takes it.
    :param at_least: How many there have to be.
    :param minutes: How long to wait at most.
    :param aws_conn_id: Airflow connection of type AWS.
    :param poll_interval: Seconds between two looks.
    :param deferrable: Whether to wait in the triggerer, without a slot. Default: ``[operators] default_deferrable``.
    """

    template_fields: Sequence[str] = ("bucket", "pattern", "at_least", "minutes", "aws_conn_id")

    def __init__(
        self,
        *,
        bucket: str,
        pattern: str,
        at_least: int | str = 1,
        minutes: float | str = 60,
        aws_conn_id: str = "aws_default",
        poll_interval: float = 30,
        deferrable: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.bucket = bucket
        self.pattern = pattern
        self.at_least = at_least
        self.minutes = minutes
        self.aws_conn_id = aws_conn_id
        self.poll_interval = poll_interval
        self.deferrable = is_deferrable(deferrable)

    def execute(self, context: Context) -> int:
        """
        Look, and wait if there are too few.

        :raises AirflowFailException: There were too few in the end.
        """
        deadline = time.time() + 60 * float(self.minutes)
        found = self._count()
        if found < int(self.at_least) and self.deferrable:
            self.defer(
                trigger=ObjectsTrigger(
                    bucket=self.bucket,
                    pattern=self.pattern,
                    at_least=int(self.at_least),
                    aws_conn_id=self.aws_conn_id,
                    poll_interval=self.poll_interval,
                    deadline=deadline,
                ),
                method_name="resume",
                # The trigger ends by itself; this is for one that cannot.
                timeout=timedelta(minutes=float(self.minutes) + 10),
            )
        while found < int(self.at_least) and time.time() < deadline:
            time.sleep(self.poll_interval)
            found = self._count()
        return self._judged(found)

    def resume(self, context: Context, event: dict[str, Any]) -> int:
        """
        Go on after the wait in the triggerer.

        :raises RuntimeError: S3 did not let the triggerer look.
        """
        if "error" in event:
            raise RuntimeError(f"s3://{self.bucket}/{self.pattern}: {event['error']}")
        return self._judged(event["found"])

    def _count(self) -> int:
        found = len(matching(s3_hook(self.aws_conn_id), self.bucket, self.pattern))
        self.log.info("s3://%s/%s: %d of %s objects", self.bucket, self.pattern, found, self.at_least)
        return found

    def _judged(self, found: int) -> int:
        if found < int(self.at_least):
            raise AirflowFailException(
                f"s3://{self.bucket}/{self.pattern} matches {found} objects, and after {self.minutes} minutes there "
                f"should be {self.at_least}. Look at what writes them, then clear this task"
            )
        return found


class ObjectsTrigger(PollingTrigger):
    """
    Fires when S3 has enough objects, or the deadline has passed; S3 is asked with boto3, in a thread.

    :param bucket: The bucket.
    :param pattern: Pattern of their names.
    :param at_least: How many are enough.
    :param aws_conn_id: Airflow connection of type AWS.
    :param poll_interval: Seconds between two looks.
    :param deadline: Seconds since the epoch after which waiting is no use.
    """

    arguments = ("bucket", "pattern", "at_least", "aws_conn_id", "poll_interval", "deadline")

    def __init__(
        self, *, bucket: str, pattern: str, at_least: int, aws_conn_id: str, poll_interval: float, deadline: float
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bucket = bucket
        self.pattern = pattern
        self.at_least = at_least
        self.aws_conn_id = aws_conn_id
        self.poll_interval = poll_interval
        self.deadline = deadline

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there are enough; the event says how many there are, or what went wrong."""
        from botocore.exceptions import BotoCoreError, ClientError

        # To import the provider takes a second, in which other triggers would stand still.
        hook = await sync_to_async(s3_hook, thread_sensitive=False)(self.aws_conn_id)
        try:
            found = await look_until(
                lambda seen: seen >= self.at_least,
                lambda: len(matching(hook, self.bucket, self.pattern)),
                interval=self.poll_interval,
                deadline=self.deadline,
            )
        except (BotoCoreError, ClientError) as error:
            event: dict[str, Any] = {"error": str(error)}
        else:
            event = {"found": found}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]
