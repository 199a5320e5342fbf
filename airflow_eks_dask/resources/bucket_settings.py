"""The settings of a bucket: how each is read, compared and written."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eks_dask.hooks.aws import error_code
from airflow_eks_dask.resources import policy_document

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_eks_dask.resources.bucket import Bucket

_ABORT_DAYS = 7
"""Days after which what was uploaded of an object that never became whole is deleted."""


@dataclass(frozen=True)
class Setting:
    """
    A setting of a bucket.

    :param name: For people.
    :param operation: boto3's name of what reads and writes it, without get and put.
    :param absent: The error that says that it isn't set.
    :param from_answer: Takes it out of the answer.
    :param to_parameters: Makes the parameters that write it.
    :param is_same: Whether two of them mean the same.
    """

    name: str
    operation: str
    absent: str
    from_answer: Callable[[dict[str, Any]], Any]
    to_parameters: Callable[[Any], dict[str, Any]]
    is_same: Callable[[Any, Any], bool] = lambda found, wanted: bool(found == wanted)

    def read(self, s3: Any, bucket: str) -> Any:
        """Return it; None if it isn't set."""
        try:
            return self.from_answer(getattr(s3, f"get_{self.operation}")(Bucket=bucket))
        except ClientError as error:
            if error_code(error) == self.absent:
                return None
            raise

    def write(self, s3: Any, bucket: str, value: Any) -> None:
        """Set it."""
        getattr(s3, f"put_{self.operation}")(Bucket=bucket, **self.to_parameters(value))


def _is_encrypted_so(found: Any, wanted: Any) -> bool:
    def picture(rules: Any) -> Any:
        rule = rules[0] if rules else {}
        default = rule.get("ApplyServerSideEncryptionByDefault", {})
        key = default.get("KMSMasterKeyID")
        # Without a key of KMS there is nothing to be saved by a key of the bucket.
        return default.get("SSEAlgorithm"), key, rule.get("BucketKeyEnabled", False) if key else None

    return bool(picture(found) == picture(wanted))


def _are_same_rules(found: Any, wanted: Any) -> bool:
    def picture(rules: Any) -> list[str]:
        return sorted(json.dumps(rule, sort_keys=True) for rule in rules or ())

    return picture(found) == picture(wanted)


SETTINGS = (
    Setting(
        "public access block",
        "public_access_block",
        "NoSuchPublicAccessBlockConfiguration",
        lambda answer: answer["PublicAccessBlockConfiguration"],
        lambda value: {"PublicAccessBlockConfiguration": value},
    ),
    Setting(
        "object ownership",
        "bucket_ownership_controls",
        "OwnershipControlsNotFoundError",
        lambda answer: answer["OwnershipControls"]["Rules"][0]["ObjectOwnership"],
        lambda value: {"OwnershipControls": {"Rules": [{"ObjectOwnership": value}]}},
    ),
    Setting(
        "encryption",
        "bucket_encryption",
        "ServerSideEncryptionConfigurationNotFoundError",
        lambda answer: answer["ServerSideEncryptionConfiguration"]["Rules"],
        lambda value: {"ServerSideEncryptionConfiguration": {"Rules": value}},
        _is_encrypted_so,
    ),
    Setting(
        "versioning",
        "bucket_versioning",
        "",
        # What never had versions says nothing, and can be called suspended.
        lambda answer: answer.get("Status", "Suspended"),
        lambda value: {"VersioningConfiguration": {"Status": value}},
    ),
    Setting(
        "lifecycle",
        "bucket_lifecycle_configuration",
        "NoSuchLifecycleConfiguration",
        lambda answer: answer["Rules"],
        lambda value: {"LifecycleConfiguration": {"Rules": value}},
        _are_same_rules,
    ),
    Setting(
        "policy",
        "bucket_policy",
        "NoSuchBucketPolicy",
        lambda answer: json.loads(answer["Policy"]),
        lambda value: {"Policy": json.dumps(value)},
        policy_document.is_same,
    ),
)


def wanted(bucket: Bucket, partition: str) -> dict[str, Any]:
    """Return what each setting is to be, by its name."""
    return {
        "public access block": dict.fromkeys(
            ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
        ),
        "object ownership": "BucketOwnerEnforced",
        "encryption": [_encryption(bucket.kms_key_arn)],
        "versioning": "Enabled" if bucket.versioning else "Suspended",
        "lifecycle": _lifecycle(bucket.retention_days),
        "policy": _policy(f"arn:{partition}:s3:::{bucket.bucket_name}"),
    }


def _encryption(kms_key_arn: str) -> dict[str, Any]:
    if not kms_key_arn:
        return {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": kms_key_arn}
    return {"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}


def _lifecycle(retention_days: int) -> list[dict[str, Any]]:
    rule: dict[str, Any] = {
        "ID": "airflow-eks-dask",
        "Status": "Enabled",
        "Filter": {"Prefix": ""},
        "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": _ABORT_DAYS},
    }
    if retention_days:
        rule |= {
            "Expiration": {"Days": retention_days},
            "NoncurrentVersionExpiration": {"NoncurrentDays": retention_days},
        }
    return [rule]


def _policy(arn: str) -> dict[str, Any]:
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "OnlyWithTLS",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "s3:*",
                "Resource": [arn, f"{arn}/*"],
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            }
        ],
    }
