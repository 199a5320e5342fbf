"""The simulation itself: what it records, and how it fails."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, HTTPClientError

READS = {
    "ec2": "describe_vpcs",
    "eks": "list_clusters",
    "iam": "list_roles",
    "s3": "list_buckets",
    "secretsmanager": "list_secrets",
}


def buckets(simulation):
    simulation.heal()
    return [bucket["Name"] for bucket in simulation.boto("s3").list_buckets()["Buckets"]]


def create_bucket(simulation, **client):
    simulation.boto("s3", **client).create_bucket(
        Bucket="logs", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )


def test_calls_are_recorded_as_botocore_names_them(simulation):
    simulation.boto("ec2").describe_vpcs()
    simulation.boto("sts").get_caller_identity()
    simulation.boto("eks").list_clusters()
    create_bucket(simulation)
    simulation.boto("s3").head_bucket(Bucket="logs")
    assert [str(call) for call in simulation.calls()] == [
        "ec2:DescribeVpcs",
        "sts:GetCallerIdentity",
        "eks:ListClusters",
        "s3:CreateBucket",
        "s3:HeadBucket",
    ]
    assert simulation.writes() == ["s3:CreateBucket"]


def test_the_account_is_empty_again_after_a_reset(simulation):
    create_bucket(simulation)
    simulation.fail("denied")
    simulation.reset()
    assert simulation.calls() == []
    assert buckets(simulation) == []


@pytest.mark.parametrize("service", READS)
@pytest.mark.parametrize(
    ("kind", "code"),
    [("throttle", "Throttling|LimitExceeded|SlowDown"), ("error", "Internal"), ("denied", "AccessDenied|Unauthorized")],
)
def test_a_service_says_in_its_own_words_that_it_fails(simulation, service, kind, code):
    simulation.fail(kind)
    with pytest.raises(ClientError, match=code):
        getattr(simulation.boto(service, attempts=1), READS[service])()


@pytest.mark.parametrize(
    ("kind", "expected"), [("denied", []), ("error", []), ("timeout", []), ("dropped", ["logs"]), ("killed", ["logs"])]
)
def test_whether_a_call_that_fails_was_carried_out(simulation, kind, expected):
    simulation.fail(kind, operation="CreateBucket")
    with pytest.raises((ClientError, HTTPClientError)):
        create_bucket(simulation, attempts=1)
    assert buckets(simulation) == expected


def test_nothing_comes_from_a_caller_that_was_killed(simulation):
    simulation.fail("killed")
    for _ in range(2):
        with pytest.raises(HTTPClientError):
            create_bucket(simulation, attempts=1)
    assert len(simulation.calls()) == 1
    assert buckets(simulation) == ["logs"]


def test_the_nth_call_fails_and_no_other(simulation):
    simulation.fail("denied", nth=2)
    ec2 = simulation.boto("ec2", attempts=1)
    ec2.describe_vpcs()
    with pytest.raises(ClientError):
        ec2.describe_vpcs()
    ec2.describe_vpcs()
    assert [call.status for call in simulation.calls()] == [200, 403, 200]


def test_a_fault_that_does_not_last_is_outlived(simulation):
    simulation.fail("throttle", times=3)
    simulation.boto("ec2").describe_vpcs()
    assert len(simulation.calls()) == 4
