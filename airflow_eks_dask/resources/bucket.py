"""The bucket that Airflow keeps the logs of tasks in."""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from botocore.exceptions import ClientError

from airflow_eks_dask.hooks.aws import error_code, ignoring
from airflow_eks_dask.resources import bucket_contents, bucket_settings, ownership, validation
from airflow_eks_dask.resources.base import Action, Plan, Progress, Resource, ResourceError, State

if TYPE_CHECKING:
    from airflow_eks_dask.hooks.aws import AwsClients

BUCKET_NAME = re.compile(
    r"(?!xn--|sthree-|amzn-s3-demo-)(?!\d+\.\d+\.\d+\.\d+$)(?!.*(-s3alias|--ol-s3|--x-s3|--table-s3|\.mrap)$)"
    r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"
)
_NAMES = "3 to 63 lower case letters, digits, - and ., first and last a letter or digit, and no name that S3 keeps"
_TAKEN = (
    "the name is taken by another account, or s3:ListBucket is not allowed. Names of buckets are unique in all of AWS: "
    "choose another, such as one with the number of the account in it"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Bucket(Resource):
    """
    A private, encrypted bucket that takes requests by TLS only and forgets what is old.

    An S3 bucket is found by its name, which no two accounts share: one in another account is refused, and so is one in
    our account without our tag, even if it is empty. The provider's ``S3CreateBucketOperator`` and ``S3Hook`` aren't
    used: they create only, without tags, and delete no versions. Source:
    https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateBucket.html.

    :param bucket_name: What it is called.
    :param retention_days: Days after which objects are deleted; 0 for never.
    :param versioning: Whether what was overwritten or deleted can be had back, for ``retention_days``.
    :param kms_key_arn: The KMS key that it is encrypted with; empty for S3's own keys.
    :param keep: Whether it is left, with all that is in it, when it is to be deleted.
    """

    kind: ClassVar[str] = "S3 bucket"

    bucket_name: str
    retention_days: int = 90
    versioning: bool = False
    kms_key_arn: str = ""
    keep: bool = True

    @property
    def name(self) -> str:
        """Its name."""
        return self.bucket_name

    def console_path(self, region: str) -> str:
        """Return the path of its page in the AWS console."""
        return f"s3/buckets/{self.bucket_name}?region={region}"

    def identity_problems(self) -> list[str]:
        """Return what is wrong with its names."""
        return [
            *validation.cluster_name(self.cluster_name),
            *validation.matches("bucket_name", self.bucket_name, BUCKET_NAME, _NAMES),
        ]

    def problems(self) -> list[str]:
        """Return all that is wrong with what is wanted."""
        problems = [
            *self.identity_problems(),
            *validation.at_least("retention_days", self.retention_days, 0),
        ]
        if self.kms_key_arn:
            problems += validation.matches("kms_key_arn", self.kms_key_arn, validation.KMS_KEY, "the ARN of a KMS key")
        return problems

    def plan(self, aws: AwsClients) -> Plan:
        """Compare all of its settings and tags."""
        found = self._look(aws)
        if isinstance(found, Plan):
            return found
        if found is None:
            return self.a_plan(Action.CREATE, "there is none")
        if found != aws.region:
            return self.a_plan(Action.REFUSE, f"{self.kind} {self.name} is in {found}, not in {aws.region}")
        if self.existing:
            return self.a_plan(Action.LEAVE)
        tags = self._tags(aws)
        if refused := self.refused(tags):
            return refused
        return self._compare(aws, tags)

    def _look(self, aws: AwsClients) -> str | Plan | None:
        """Return the region that it is in, a refusal if it isn't ours to see, or None if there is no such bucket."""
        # Else somebody could wait for our logs in a bucket that has our tag and lets us in.
        owner = {} if self.existing else {"ExpectedBucketOwner": aws.account_id}
        try:
            answer = aws.client("s3").head_bucket(Bucket=self.bucket_name, **owner)
        except ClientError as error:
            code = error_code(error)
            if code in ("404", "NoSuchBucket"):
                return None
            if code in ("403", "AccessDenied"):
                return self.a_plan(Action.REFUSE, f"{self.kind} {self.name}: {_TAKEN}")
            if code in ("301", "PermanentRedirect"):
                where = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-bucket-region")
                return self.a_plan(Action.REFUSE, f"{self.kind} {self.name} is in {where}, not in {aws.region}")
            raise
        return str(answer.get("BucketRegion", aws.region))

    def _tags(self, aws: AwsClients) -> dict[str, str]:
        try:
            return ownership.as_mapping(aws.client("s3").get_bucket_tagging(Bucket=self.bucket_name)["TagSet"])
        except ClientError as error:
            if error_code(error) == "NoSuchTagSet":
                return {}
            raise

    def _compare(self, aws: AwsClients, tags: dict[str, str]) -> Plan:
        wanted = bucket_settings.wanted(self, aws.partition)
        s3 = aws.client("s3")
        changes: dict[str, Any] = {}
        reasons: list[str] = []
        for setting in bucket_settings.SETTINGS:
            found = setting.read(s3, self.bucket_name)
            if not setting.is_same(found, wanted[setting.name]):
                changes[setting.name] = wanted[setting.name]
                reasons.append(f"{setting.name} is {json.dumps(found)}" if found else f"{setting.name} is not set")
        if differing := ownership.tag_changes(self.wanted_tags, tags):
            # S3 replaces all tags at once.
            changes["tags"] = {**tags, **differing}
            reasons.append(f"tags missing or different: {', '.join(sorted(differing))}")
        return self.a_plan(Action.CHANGE if changes else Action.LEAVE, *reasons, **changes)

    def apply(self, aws: AwsClients, plan: Plan) -> None:
        """Create it, with its tags at once; or make all changes."""
        if plan.action is Action.CREATE:
            self._create(aws)
            return
        s3 = aws.client("s3")
        for setting in bucket_settings.SETTINGS:
            if setting.name in plan.changes:
                setting.write(s3, self.bucket_name, plan.changes[setting.name])
        if "tags" in plan.changes:
            s3.put_bucket_tagging(Bucket=self.bucket_name, Tagging={"TagSet": ownership.as_list(plan.changes["tags"])})

    def _create(self, aws: AwsClients) -> None:
        configuration: dict[str, Any] = {"Tags": ownership.as_list(self.wanted_tags)}
        # The first of all regions is the only one that may not be named.
        if aws.region != "us-east-1":
            configuration["LocationConstraint"] = aws.region
        try:
            with ignoring("BucketAlreadyOwnedByYou"):
                aws.client("s3").create_bucket(
                    Bucket=self.bucket_name,
                    CreateBucketConfiguration=configuration,
                    ObjectOwnership="BucketOwnerEnforced",
                )
        except ClientError as error:
            if error_code(error) == "BucketAlreadyExists":
                raise ResourceError(f"{self.kind} {self.name}: {_TAKEN}") from error
            raise

    def is_transient(self, error: ClientError) -> bool:
        """A bucket is not seen everywhere as soon as it is made or emptied; its name is free some time after it."""
        return error_code(error) in ("NoSuchBucket", "OperationAborted", "BucketNotEmpty")

    def progress(self, aws: AwsClients) -> Progress:
        """Buckets are there at once."""
        return Progress(State.READY if self._look(aws) else State.ABSENT)

    def outputs(self, aws: AwsClients) -> dict[str, Any]:
        """Return its name and ARN, and ``remote_base_log_folder`` as Airflow's configuration calls it."""
        return {
            "bucket_name": self.bucket_name,
            "bucket_arn": f"arn:{aws.partition}:s3:::{self.bucket_name}",
            "remote_base_log_folder": f"s3://{self.bucket_name}/logs",
        }

    def plan_deletion(self, aws: AwsClients) -> Plan:
        """Leave it with what is in it, unless its deletion was asked for."""
        found = self._look(aws)
        if isinstance(found, Plan):
            return found
        if found is None:
            return self.a_plan(Action.LEAVE, "it is gone")
        if refused := self.refused(self._tags(aws)):
            return refused
        if self.keep:
            return self.a_plan(Action.LEAVE, "it is kept, with its data; with keep = False it would be deleted")
        return self.a_plan(Action.DELETE, "with all that is in it, all versions of it")

    def delete(self, aws: AwsClients, plan: Plan) -> None:
        """Empty it, then delete it. Killed in between, it goes on with what is left."""
        s3 = aws.client("s3")
        with ignoring("NoSuchBucket"):
            for count in bucket_contents.delete_all(s3, self.bucket_name):
                log.info("%s %s: %d objects and versions deleted so far", self.kind, self.name, count)
            s3.delete_bucket(Bucket=self.bucket_name)
