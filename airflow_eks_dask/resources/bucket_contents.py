"""Deletes what is in a bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eks_dask.hooks.aws import ignoring
from airflow_eks_dask.resources.base import ResourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 1000
"""As many as S3 deletes at once."""

_SHOWN = 3


def delete_all(s3: Any, bucket: str) -> Iterator[int]:
    """
    Delete all objects with all their versions, and what was uploaded of others; yield the count after each batch.

    What is gone is gone: it can be called again for what is left.

    :raises ResourceError: S3 refuses to delete some.
    """
    count = 0
    # What comes first is deleted, so the next batch comes first then.
    while entries := _first(s3, bucket):
        versions = [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in entries]
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": versions, "Quiet": True})
        if errors := answer.get("Errors"):
            some = "; ".join(f"{error['Key']}: {error['Code']} {error['Message']}" for error in errors[:_SHOWN])
            raise ResourceError(f"S3 bucket {bucket}: {len(errors)} objects can't be deleted, such as {some}")
        count += len(versions)
        yield count
    for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=bucket):
        for upload in page.get("Uploads", ()):
            with ignoring("NoSuchUpload"):
                s3.abort_multipart_upload(Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"])


def _first(s3: Any, bucket: str) -> list[dict[str, Any]]:
    page = s3.list_object_versions(Bucket=bucket, MaxKeys=BATCH)
    return [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
