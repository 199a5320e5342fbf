"""S3 that takes a bucket's tags with its creation and reads the conditions of its policy: moto overlooks both."""

from __future__ import annotations

import json
from typing import Any

import xmltodict
from moto.iam.access_control import IAMPolicy, PermissionResult
from moto.s3.models import FakeBucket
from moto.s3.responses import S3Response

_WITHOUT_TLS = {"Bool": {"aws:SecureTransport": "false"}}
_put = S3Response._bucket_response_put


def _put_with_tags(response: S3Response, request: Any, bucket_name: str, querystring: dict[str, Any]) -> Any:
    answer = _put(response, request, bucket_name, querystring)
    if not querystring and response.body:
        wanted = xmltodict.parse(response.body, force_list=("Tag",))["CreateBucketConfiguration"].get("Tags")
        tags = {each["Key"]: each["Value"] or "" for each in (wanted or {}).get("Tag", ())}
        if tags:
            response.backend.put_bucket_tagging(bucket_name, tags)
    return answer


def _permission(bucket: FakeBucket, action: str, resource: str) -> PermissionResult:
    """As for requests by TLS: what is denied to others only is not denied."""
    if bucket.policy is None:
        return PermissionResult.NEUTRAL
    policy = json.loads(bucket.policy)
    policy["Statement"] = [statement for statement in policy["Statement"] if statement.get("Condition") != _WITHOUT_TLS]
    return IAMPolicy(json.dumps(policy)).is_action_permitted(action, resource)


def install() -> None:
    """Take the place of moto's."""
    FakeBucket.get_permission = _permission
    S3Response._bucket_response_put = _put_with_tags
