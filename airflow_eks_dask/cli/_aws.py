"""What commands ask of AWS."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowNotFoundException
from botocore.exceptions import BotoCoreError, ClientError

from airflow_eks_dask.cli._errors import CommandError
from airflow_eks_dask.hooks.aws import AwsClients

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def aws_clients(aws_conn_id: str | None, region_name: str | None) -> Iterator[AwsClients]:
    """
    Give clients of AWS for a while.

    :param aws_conn_id: The Airflow connection, which has to be there; None for ``aws_default`` if that is there, else
        what boto3 finds by itself.
    :param region_name: Region; None for the connection's own.
    :raises CommandError: Instead of any error of AWS.
    """
    # Loads the ORM, which other commands do without.
    from airflow.models import Connection

    # Without it, connections in Airflow's database are not looked for.
    os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
    if aws_conn_id is not None:
        try:
            Connection.get_connection_from_secrets(aws_conn_id)
        except AirflowNotFoundException:
            raise CommandError(
                f"there is no Airflow connection {aws_conn_id!r}: see `airflow connections list`"
            ) from None
    try:
        yield AwsClients(aws_conn_id or "aws_default", region_name)
    except (BotoCoreError, ClientError) as error:
        raise CommandError(f"AWS: {error}") from None
