"""Deletes what is in a bucket."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eks_dask.hooks.aws import ignoring
from airflow_eks_dask.resources.base import ResourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

_SHOWN = 3


def delete_all(s3: Any, bucket: str) -> Iterator[int]:
    """
    Delete all objects with all their versions, and what was uploaded of others; yield the count after each batch.

    What is gone is gone: it can be called again for what is left.

    :raises ResourceError: S3 refuses to delete some.
    """
    count = 0
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        # A page has up to 1000: as many as S3 deletes at once.
        entries = [*page.get("Versions", ()), *page.get("DeleteMarkers", ())]
        if not entries:
            continue
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
