"""Operators for the bucket of logs."""

from __future__ import annotations

from airflow_eks_dask.operators.resource import DeleteOperator, EnsureOperator
from airflow_eks_dask.resources.bucket import Bucket


class EnsureBucketOperator(EnsureOperator):
    """
    Have a private, encrypted S3 bucket for logs.

    Returns ``bucket_name``, ``bucket_arn`` and ``remote_base_log_folder``.

    .. code-block:: python

        EnsureBucketOperator(
            task_id="log_bucket",
            cluster_name="pipelines",
            bucket_name="pipelines-logs-123456789012",
            retention_days=30,
        )
    """

    resource_class = Bucket


class DeleteBucketOperator(DeleteOperator):
    """
    Delete a bucket that was made for the cluster with all that is in it, if ``keep`` is False; any other is refused.

    .. code-block:: python

        DeleteBucketOperator(
            task_id="delete_log_bucket",
            cluster_name="pipelines",
            bucket_name="pipelines-logs-123456789012",
            keep=False,
        )
    """

    resource_class = Bucket
