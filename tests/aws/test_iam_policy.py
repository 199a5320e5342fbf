"""docs/iam-policy.json is what bootstrap and teardown need."""

from __future__ import annotations

import json

import pytest

from tests.aws import iam_policy
from tests.aws.calls import Call
from tests.aws.sweep import quick

MANAGED_POLICY = 6144
"""Characters, but for white space, that a managed policy of IAM may have."""


def test_the_policy_is_that_of_the_calls(simulation, aws):
    with quick():
        made = iam_policy.policy(iam_policy.recorded(simulation, aws))
    assert iam_policy.FILE.read_text() == iam_policy.text(made)


def test_the_policy_is_short_enough_for_iam():
    text = json.dumps(json.loads(iam_policy.FILE.read_text()), separators=(",", ":"))
    assert len(text) <= MANAGED_POLICY


@pytest.mark.parametrize(
    ("service", "operation", "expected"),
    [
        ("s3", "HeadBucket", "s3:ListBucket"),
        ("elbv2", "DescribeTags", "elasticloadbalancing:DescribeTags"),
        ("resourcegroupstaggingapi", "GetResources", "tag:GetResources"),
        ("eks", "CreateCluster", "iam:PassRole"),
    ],
)
def test_the_action_of_a_call_may_have_another_name(service, operation, expected):
    assert expected in iam_policy.actions_of(Call(service, operation))


def test_roles_are_handed_on_to_known_services_only():
    statements = json.loads(iam_policy.FILE.read_text())["Statement"]
    (conditions,) = [each["Condition"] for each in statements if each["Action"] == "iam:PassRole"]
    assert conditions == {"StringEquals": {"iam:PassedToService": list(iam_policy.PASSED_TO)}}
    assert not [each for each in statements if "*" in str(each["Action"])]


@pytest.mark.parametrize("what", ["Addon", "ClusterVersion", "NodegroupVersion"])
def test_upgrades_are_allowed(what):
    allowed = [each["Action"] for each in json.loads(iam_policy.FILE.read_text())["Statement"]]
    assert [own for own in allowed if f"eks:Update{what}" in own]
