"""S3 that takes a bucket's tags with its creation: moto overlooks them."""

from __future__ import annotations

from typing import Any

import xmltodict
from moto.s3.responses import S3Response

_put = S3Response._bucket_response_put


def _put_with_tags(response: S3Response, request: Any, bucket_name: str, querystring: dict[str, Any]) -> Any:
    answer = _put(response, request, bucket_name, querystring)
    if not querystring and response.body:
        wanted = xmltodict.parse(response.body, force_list=("Tag",))["CreateBucketConfiguration"].get("Tags")
        tags = {each["Key"]: each["Value"] or "" for each in (wanted or {}).get("Tag", ())}
        if tags:
            response.backend.put_bucket_tagging(bucket_name, tags)
    return answer


def install() -> None:
    """Take the place of moto's."""
    S3Response._bucket_response_put = _put_with_tags
