"""What AWS denies, it denies again half a minute later: such a task fails for good, until somebody clears it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowFailException
from botocore.exceptions import ClientError

from airflow_eks_dask.hooks.aws import is_denial

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def failing_for_good_if_denied() -> Iterator[None]:
    """
    Let Airflow not retry a task whose credentials may not do what it does.

    :raises AirflowFailException: AWS has denied a call.
    """
    try:
        yield
    except ClientError as error:
        if not is_denial(error):
            raise
        raise AirflowFailException(
            f"{error}. Allow that to the credentials of aws_conn_id, and clear the task"
        ) from error
