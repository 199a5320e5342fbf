"""Templates of CloudFormation: ours are sound and open nothing, and any is read for what it means."""

from __future__ import annotations

import json

import cfnlint
import pytest

from airflow_eks_dask.resources import cloudformation_template

OURS = ("network.yaml", "nodes.yaml")

SHORT = """
Parameters: {Size: {Type: String, Default: small}}
Conditions:
  IsLarge: !Equals [!Ref Size, large]
  IsSmall: !Not [!Condition IsLarge]
Resources:
  # The one.
  Large: {Type: "AWS::S3::Bucket", Condition: IsLarge, Properties: {BucketName: !Sub "${AWS::StackName}-x"}}
  Small: {Type: "AWS::EC2::VPC", Condition: IsSmall}
Outputs: {Arn: {Value: !GetAtt Large.Arn}}
"""
LONG = {
    "Parameters": {"Size": {"Type": "String", "Default": "small"}},
    "Conditions": {
        "IsLarge": {"Fn::Equals": [{"Ref": "Size"}, "large"]},
        "IsSmall": {"Fn::Not": [{"Condition": "IsLarge"}]},
    },
    "Resources": {
        "Large": {
            "Type": "AWS::S3::Bucket",
            "Condition": "IsLarge",
            "Properties": {"BucketName": {"Fn::Sub": "${AWS::StackName}-x"}},
        },
        "Small": {"Type": "AWS::EC2::VPC", "Condition": "IsSmall"},
    },
    "Outputs": {"Arn": {"Value": {"Fn::GetAtt": ["Large", "Arn"]}}},
}


def ours(name):
    return cloudformation_template.parse(cloudformation_template.shipped(name))


def resources_of(name, kind):
    return [each for each in ours(name)["Resources"].values() if each["Type"] == kind]


@pytest.mark.parametrize("name", OURS)
def test_cfn_lint_finds_no_error_and_warns_of_nothing(name):
    matches = cfnlint.lint_all(cloudformation_template.shipped(name))
    found = [f"{match.rule.id} {match.message}" for match in matches]
    # What begins with I is a hint that is off unless one asks for it.
    assert [each for each in found if not each.startswith("I")] == []


@pytest.mark.parametrize("name", OURS)
def test_nothing_is_open_to_the_internet(name):
    text = json.dumps(ours(name))
    for word in ("CidrIp", '"SecurityGroupIngress"', "AssociatePublicIpAddress", "Export", "KeyName"):
        assert word not in text


def test_addresses_of_the_internet_are_only_where_traffic_goes():
    for route in resources_of("network.yaml", "AWS::EC2::Route"):
        assert route["Properties"]["DestinationCidrBlock"] == "0.0.0.0/0"
    assert json.dumps(ours("network.yaml")).count("0.0.0.0/0") == len(resources_of("network.yaml", "AWS::EC2::Route"))
    assert "0.0.0.0/0" not in json.dumps(ours("nodes.yaml"))


def test_instances_get_public_addresses_only_where_there_is_no_nat():
    given = [subnet["Properties"]["MapPublicIpOnLaunch"] for subnet in resources_of("network.yaml", "AWS::EC2::Subnet")]
    assert given.count(False) == 3
    assert given.count({"Fn::If": ["HasOwnAddresses", True, False]}) == 3


def test_a_template_is_what_it_means():
    assert cloudformation_template.parse(SHORT) == LONG
    assert cloudformation_template.parse(json.dumps(LONG)) == LONG
    assert cloudformation_template.parse(LONG) == LONG


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [({}, {"Small": "AWS::EC2::VPC"}), ({"Size": "large"}, {"Large": "AWS::S3::Bucket"})],
)
def test_what_a_stack_gets_depends_on_its_parameters(parameters, expected):
    assert cloudformation_template.resources(LONG, parameters) == expected


def test_conditions_are_joined():
    template = {
        "Conditions": {
            "Both": {"Fn::And": [{"Fn::Equals": ["a", "a"]}, {"Fn::Equals": ["a", "b"]}]},
            "Either": {"Fn::Or": [{"Fn::Equals": ["a", "a"]}, {"Fn::Equals": ["a", "b"]}]},
        },
        "Resources": {name: {"Type": "X", "Condition": name} for name in ("Both", "Either")},
    }
    assert cloudformation_template.resources(template, {}) == {"Either": "X"}


def test_a_condition_that_is_not_understood_is_no_reason_to_guess():
    template = {"Conditions": {"Odd": {"Fn::Odd": []}}, "Resources": {"One": {"Type": "X", "Condition": "Odd"}}}
    with pytest.raises(ValueError, match="Fn::Odd"):
        cloudformation_template.resources(template, {})
