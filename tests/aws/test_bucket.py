"""The bucket of logs."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

from airflow_eks_dask.hooks.aws import AwsClients
from airflow_eks_dask.operators.bucket import DeleteBucketOperator, EnsureBucketOperator
from airflow_eks_dask.resources import bucket_contents
from airflow_eks_dask.resources.base import Action, ResourceError
from airflow_eks_dask.resources.bucket import Bucket

TAG = "airflow-eks-dask/cluster"
NAME = "pipelines-logs-123456789012"
KEY = "arn:aws:kms:eu-central-1:123456789012:key/one"
HERE = {"LocationConstraint": "eu-central-1"}
ALL = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True}


@pytest.fixture
def s3(simulation):
    return simulation.boto("s3")


@pytest.fixture
def wanted():
    return {"cluster_name": "pipelines", "bucket_name": NAME}


@pytest.fixture
def ensure(converge, wanted):
    return lambda **other: converge(EnsureBucketOperator(task_id="ensure", **{**wanted, **other}))


@pytest.fixture
def delete(converge, wanted):
    return lambda **other: converge(DeleteBucketOperator(task_id="delete", **{**wanted, **other}))


def names(s3):
    return [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]


def tags(s3):
    return {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=NAME)["TagSet"]}


def fill(s3, count):
    for number in range(count):
        s3.put_object(Bucket=NAME, Key=f"logs/{number}", Body=b"line")


def test_a_bucket_is_private_encrypted_and_forgets(ensure, s3, converge):
    assert ensure(retention_days=30, tags={"team": "etl"}) == {
        "bucket_name": NAME,
        "bucket_arn": f"arn:aws:s3:::{NAME}",
        "remote_base_log_folder": f"s3://{NAME}/logs",
    }
    assert converge.actions == ["create", "change", "leave"]
    assert s3.get_public_access_block(Bucket=NAME)["PublicAccessBlockConfiguration"] == ALL
    (ownership,) = s3.get_bucket_ownership_controls(Bucket=NAME)["OwnershipControls"]["Rules"]
    assert ownership == {"ObjectOwnership": "BucketOwnerEnforced"}
    (encryption,) = s3.get_bucket_encryption(Bucket=NAME)["ServerSideEncryptionConfiguration"]["Rules"]
    assert encryption["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket=NAME)["Rules"]
    assert rule["Expiration"] == {"Days": 30}
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    (statement,) = json.loads(s3.get_bucket_policy(Bucket=NAME)["Policy"])["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert statement["Resource"] == [f"arn:aws:s3:::{NAME}", f"arn:aws:s3:::{NAME}/*"]
    assert tags(s3) == {TAG: "pipelines", "team": "etl"}
    assert s3.get_bucket_location(Bucket=NAME)["LocationConstraint"] == "eu-central-1"


def test_versions_and_a_key_of_ones_own_can_be_had(ensure, s3, simulation):
    ensure(versioning=True, kms_key_arn=KEY)
    assert s3.get_bucket_versioning(Bucket=NAME)["Status"] == "Enabled"
    (rule,) = s3.get_bucket_encryption(Bucket=NAME)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}
    assert rule["BucketKeyEnabled"] is True
    simulation.forget_calls()
    ensure(versioning=True, kms_key_arn=KEY)
    assert simulation.writes() == []


def test_logs_can_be_kept_for_ever(ensure, s3):
    ensure(retention_days=0)
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket=NAME)["Rules"]
    assert "Expiration" not in rule
    assert rule["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}


def test_a_second_run_writes_nothing(ensure, simulation, converge):
    first = ensure()
    simulation.forget_calls()
    assert ensure() == first
    assert simulation.writes() == []
    assert converge.actions == ["leave"]


def test_it_has_its_owner_from_the_first_call(aws, wanted, simulation, s3):
    resource = Bucket(**wanted)
    simulation.forget_calls()
    resource.apply(aws, resource.plan(aws))
    assert simulation.writes() == ["s3:CreateBucket"]
    assert tags(s3) == {TAG: "pipelines"}


def test_a_run_that_was_killed_after_the_first_call_is_finished_by_the_next(aws, wanted, ensure, s3):
    resource = Bucket(**wanted)
    resource.apply(aws, resource.plan(aws))
    ensure()
    assert s3.get_public_access_block(Bucket=NAME)["PublicAccessBlockConfiguration"] == ALL


def test_calls_whose_answers_were_lost_are_no_error(simulation, ensure, delete, s3):
    simulation.fail("dropped", operation="CreateBucket")
    ensure()
    simulation.fail("dropped", operation="DeleteBucket")
    delete(keep=False)
    assert names(s3) == []


def test_the_first_region_is_not_named(simulation, s3):
    aws = AwsClients(region_name="us-east-1")
    bucket = Bucket(cluster_name="pipelines", bucket_name=NAME)
    bucket.apply(aws, bucket.plan(aws))
    assert s3.head_bucket(Bucket=NAME)["BucketRegion"] == "us-east-1"
    assert tags(s3) == {TAG: "pipelines"}


def test_what_drifted_is_mended(ensure, s3, converge):
    ensure()
    s3.put_public_access_block(Bucket=NAME, PublicAccessBlockConfiguration=ALL | {"BlockPublicPolicy": False})
    s3.put_bucket_ownership_controls(
        Bucket=NAME, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
    )
    s3.put_bucket_encryption(
        Bucket=NAME,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}}]
        },
    )
    s3.put_bucket_versioning(Bucket=NAME, VersioningConfiguration={"Status": "Enabled"})
    s3.put_bucket_lifecycle_configuration(
        Bucket=NAME,
        LifecycleConfiguration={
            "Rules": [{"ID": "x", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]
        },
    )
    s3.put_bucket_policy(Bucket=NAME, Policy=json.dumps({"Version": "2012-10-17", "Statement": []}))
    s3.put_bucket_tagging(
        Bucket=NAME, Tagging={"TagSet": [{"Key": TAG, "Value": "pipelines"}, {"Key": "cost", "Value": "data"}]}
    )
    ensure(tags={"team": "etl"})
    assert converge.actions == ["change", "leave"]
    assert [reason.split(" is ")[0] for reason in converge.plans[0]["reasons"]] == [
        "public access block",
        "object ownership",
        "encryption",
        "versioning",
        "lifecycle",
        "policy",
        "tags missing or different: team",
    ]
    assert s3.get_public_access_block(Bucket=NAME)["PublicAccessBlockConfiguration"] == ALL
    assert s3.get_bucket_versioning(Bucket=NAME)["Status"] == "Suspended"
    assert tags(s3) == {TAG: "pipelines", "team": "etl", "cost": "data"}


@pytest.mark.parametrize(
    "remove",
    [
        "delete_public_access_block",
        "delete_bucket_ownership_controls",
        "delete_bucket_encryption",
        "delete_bucket_lifecycle",
        "delete_bucket_policy",
    ],
)
def test_what_was_taken_away_is_set_again(ensure, s3, converge, simulation, remove):
    ensure()
    getattr(s3, remove)(Bucket=NAME)
    ensure()
    assert converge.actions == ["change", "leave"]
    simulation.forget_calls()
    ensure()
    assert simulation.writes() == []


@pytest.mark.parametrize("owner", [None, "others"], ids=["no tag", "another cluster"])
def test_a_foreign_bucket_is_refused_and_untouched_even_if_it_is_empty(ensure, delete, s3, simulation, owner):
    s3.create_bucket(Bucket=NAME, CreateBucketConfiguration=HERE)
    if owner:
        s3.put_bucket_tagging(Bucket=NAME, Tagging={"TagSet": [{"Key": TAG, "Value": owner}]})
    simulation.forget_calls()
    for run in (ensure, lambda: delete(keep=False)):
        with pytest.raises(ResourceError, match="has not the tag airflow-eks-dask/cluster=pipelines"):
            run()
    assert simulation.writes() == []


def test_a_name_that_another_account_has_is_explained(ensure, delete, simulation):
    for run in (ensure, lambda: delete(keep=False)):
        simulation.fail("denied", operation="HeadBucket", times=2)
        with pytest.raises(ResourceError, match="the name is taken by another account, or s3:ListBucket"):
            run()
        simulation.heal()
    assert simulation.writes() == []


def test_a_name_that_another_account_took_in_the_meantime_is_explained(aws, wanted, monkeypatch):
    def taken(**_):
        raise ClientError({"Error": {"Code": "BucketAlreadyExists", "Message": "taken"}}, "CreateBucket")

    bucket = Bucket(**wanted)
    plan = bucket.plan(aws)
    monkeypatch.setattr(aws.client("s3"), "create_bucket", taken)
    with pytest.raises(ResourceError, match="choose another"):
        bucket.apply(aws, plan)


def test_a_bucket_in_another_region_is_refused(ensure, simulation):
    elsewhere = AwsClients(region_name="eu-west-1")
    bucket = Bucket(cluster_name="pipelines", bucket_name=NAME)
    bucket.apply(elsewhere, bucket.plan(elsewhere))
    simulation.forget_calls()
    with pytest.raises(ResourceError, match="is in eu-west-1, not in eu-central-1"):
        ensure()
    assert simulation.writes() == []


def test_what_is_in_it_is_kept_unless_its_deletion_is_asked_for(ensure, delete, s3, simulation):
    ensure()
    fill(s3, 2)
    simulation.forget_calls()
    assert delete()["reasons"] == ["it is kept, with its data; with keep = False it would be deleted"]
    assert simulation.writes() == []
    assert s3.list_objects_v2(Bucket=NAME)["KeyCount"] == 2


def test_it_is_emptied_of_all_versions_and_uploads_and_deleted(ensure, delete, s3, converge, caplog):
    ensure(versioning=True)
    for _ in range(2):
        fill(s3, 3)
    s3.delete_object(Bucket=NAME, Key="logs/0")
    s3.create_multipart_upload(Bucket=NAME, Key="half")
    with caplog.at_level("INFO", "airflow_eks_dask.resources.bucket"):
        assert delete(keep=False)["reasons"] == ["it is gone"]
    assert converge.actions == ["delete", "leave"]
    assert "7 objects and versions deleted so far" in caplog.text
    assert names(s3) == []


def test_emptying_it_goes_batch_by_batch_and_on_where_it_stopped(ensure, delete, s3, monkeypatch):
    monkeypatch.setattr(bucket_contents, "BATCH", 3)
    ensure()
    fill(s3, 10)
    batches = bucket_contents.delete_all(s3, NAME)
    assert [next(batches), next(batches)] == [3, 6]
    assert s3.list_objects_v2(Bucket=NAME)["KeyCount"] == 4
    delete(keep=False)
    assert names(s3) == []


def test_what_cannot_be_deleted_is_said(ensure, s3, monkeypatch):
    ensure()
    fill(s3, 1)
    error = {"Key": "logs/0", "Code": "AccessDenied", "Message": "it is locked"}
    monkeypatch.setattr(s3, "delete_objects", lambda **_: {"Errors": [error]})
    with pytest.raises(ResourceError, match="1 objects can't be deleted, such as logs/0: AccessDenied it is locked"):
        list(bucket_contents.delete_all(s3, NAME))


def test_deleting_it_twice_is_no_error(ensure, delete, simulation):
    ensure()
    delete(keep=False)
    simulation.forget_calls()
    assert delete(keep=False)["reasons"] == ["it is gone"]
    assert simulation.writes() == []


@pytest.mark.parametrize(
    ("code", "transient"),
    [("BucketNotEmpty", True), ("OperationAborted", True), ("NoSuchBucket", True), ("AccessDenied", False)],
)
def test_what_goes_away_by_itself_is_tried_again(wanted, code, transient):
    assert Bucket(**wanted).is_transient(ClientError({"Error": {"Code": code}}, "DeleteBucket")) is transient


def test_an_existing_bucket_is_used_and_left_alone(ensure, delete, s3, simulation, converge):
    s3.create_bucket(Bucket=NAME, CreateBucketConfiguration=HERE)
    simulation.forget_calls()
    assert ensure(existing=True)["bucket_name"] == NAME
    assert delete(existing=True, keep=False)["reasons"] == ["it is not ours to delete"]
    assert simulation.writes() == []


def test_an_existing_bucket_has_to_be_there(ensure):
    with pytest.raises(ResourceError, match="is to be there already, and is not"):
        ensure(existing=True)


def test_a_dry_run_changes_nothing(ensure, delete, s3, simulation, converge):
    assert ensure(dry_run=True)["bucket_name"] == NAME
    assert converge.actions == ["create"]
    assert names(s3) == []
    ensure()
    simulation.forget_calls()
    ensure(dry_run=True, retention_days=1)
    assert converge.actions == ["change"]
    assert delete(dry_run=True, keep=False)["action"] == Action.DELETE.value
    assert simulation.writes() == []


def test_bad_input_is_refused_at_once_and_all_of_it(ensure, simulation):
    with pytest.raises(ResourceError) as error:
        ensure(cluster_name="", bucket_name="Logs_", retention_days=-1, kms_key_arn="alias/key")
    for words in ("cluster_name = ''", "bucket_name = 'Logs_'", "retention_days = -1", "kms_key_arn = 'alias/key'"):
        assert words in str(error.value)
    assert simulation.calls() == []


@pytest.mark.parametrize(
    "name",
    [
        "ab",
        "a" * 64,
        "Upper",
        "under_score",
        "-first",
        "last-",
        "two..dots",
        "10.0.0.1",
        "xn--x",
        "logs-s3alias",
        ".x.",
    ],
)
def test_a_name_that_s3_does_not_take_is_refused(name):
    assert len(Bucket(cluster_name="pipelines", bucket_name=name).problems()) == 1


@pytest.mark.parametrize("name", ["abc", "a" * 63, "logs.example.com", "1-2-3", NAME])
def test_a_name_that_s3_takes_is_taken(name):
    assert Bucket(cluster_name="pipelines", bucket_name=name).problems() == []
