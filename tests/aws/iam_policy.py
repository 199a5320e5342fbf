"""
The IAM policy that bootstrap and teardown need, made from the calls that they make.

``python -m tests.aws.iam_policy --output docs/iam-policy.json`` writes it, ``--check`` compares.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import yaml

from airflow_eks_dask.bootstrap.admins import admitted
from airflow_eks_dask.hooks.aws import AwsClients
from tests.aws import dags, whole
from tests.aws.meddling import meddle
from tests.aws.simulation import ROOT, Simulation
from tests.aws.sweep import quick, silence

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from airflow.sdk import DAG

    from tests.aws.calls import Call

FILE = ROOT / "docs" / "iam-policy.json"
TEMPLATES = ROOT / "airflow_eks_dask" / "templates"
OF_CLOUDFORMATION = [file for file in TEMPLATES.glob("*.yaml") if "AWSTemplateFormatVersion" in file.read_text()]

PREFIXES = {"elb": "elasticloadbalancing", "elbv2": "elasticloadbalancing", "resourcegroupstaggingapi": "tag"}
"""Services whose actions have another prefix than boto3's name."""
S3_ACTIONS = {
    "HeadBucket": ["ListBucket"],
    "ListObjectsV2": ["ListBucket"],
    "ListObjectVersions": ["ListBucketVersions"],
    "ListMultipartUploads": ["ListBucketMultipartUploads"],
    "DeleteObjects": ["DeleteObject", "DeleteObjectVersion"],
    "CreateBucket": ["CreateBucket", "PutBucketTagging"],
    **{f"{verb}PublicAccessBlock": [f"{verb}BucketPublicAccessBlock"] for verb in ("Get", "Put")},
    **{f"{verb}BucketEncryption": [f"{verb}EncryptionConfiguration"] for verb in ("Get", "Put")},
    **{f"{verb}BucketLifecycleConfiguration": [f"{verb}LifecycleConfiguration"] for verb in ("Get", "Put")},
}
"""Operations of S3 whose actions have another name. Source: https://docs.aws.amazon.com/AmazonS3/latest/userguide/using-with-s3-policy-actions.html."""
ALSO = {
    "ec2:CreateSecurityGroup": ["ec2:CreateTags"],
    "eks:CreateCluster": ["eks:TagResource", "iam:PassRole", "kms:DescribeKey", "kms:CreateGrant"],
    "eks:CreateNodegroup": ["eks:TagResource", "iam:PassRole", "ec2:RunInstances", "ec2:DescribeSubnets"],
    "eks:CreateAddon": ["eks:TagResource", "iam:PassRole", "eks:CreatePodIdentityAssociation"],
    "eks:UpdateAddon": ["iam:PassRole", "eks:UpdatePodIdentityAssociation"],
    "eks:DeleteAddon": ["eks:DeletePodIdentityAssociation"],
    "eks:CreateAccessEntry": ["eks:TagResource"],
    "eks:CreatePodIdentityAssociation": ["eks:TagResource", "iam:PassRole", "iam:GetRole"],
    "iam:CreateRole": ["iam:TagRole"],
    "iam:CreateOpenIDConnectProvider": ["iam:TagOpenIDConnectProvider"],
    "rds:CreateDBInstance": [
        "rds:AddTagsToResource",
        "secretsmanager:CreateSecret",
        "secretsmanager:TagResource",
        "kms:DescribeKey",
    ],
    "rds:DeleteDBInstance": ["rds:CreateDBSnapshot", "rds:AddTagsToResource"],
    "rds:CreateDBSubnetGroup": ["rds:AddTagsToResource"],
    "cloudformation:CreateStack": ["cloudformation:TagResource"],
}
"""What a call needs beside its own action: tags, roles that are handed on, and what AWS does in the caller's name."""
SERVICE_LINKED = (
    "eks.amazonaws.com",
    "eks-nodegroup.amazonaws.com",
    "rds.amazonaws.com",
    "autoscaling.amazonaws.com",
    "spot.amazonaws.com",
    "elasticloadbalancing.amazonaws.com",
)
"""Services that make a role of their own with the first thing of theirs."""
OF_TYPES = {
    "AWS::AutoScaling::AutoScalingGroup": ["autoscaling:{Create,Update,Delete,Describe}AutoScalingGroup"],
    "AWS::EC2::EIP": ["ec2:{Allocate,Release}Address", "ec2:DescribeAddresses"],
    "AWS::EC2::InternetGateway": ["ec2:{Create,Delete}InternetGateway", "ec2:DescribeInternetGateways"],
    "AWS::EC2::LaunchTemplate": [
        "ec2:{Create,Delete,Modify}LaunchTemplate",
        "ec2:CreateLaunchTemplateVersion",
        "ec2:DescribeLaunchTemplate{s,Versions}",
        "ec2:RunInstances",
    ],
    "AWS::EC2::NatGateway": ["ec2:{Create,Delete}NatGateway", "ec2:DescribeNatGateways"],
    "AWS::EC2::Route": ["ec2:{Create,Replace,Delete}Route"],
    "AWS::EC2::RouteTable": ["ec2:{Create,Delete}RouteTable", "ec2:DescribeRouteTables"],
    "AWS::EC2::SecurityGroup": [
        "ec2:{Create,Delete}SecurityGroup",
        "ec2:{Authorize,Revoke}SecurityGroup{Ingress,Egress}",
        "ec2:DescribeSecurityGroups",
    ],
    "AWS::EC2::SecurityGroupIngress": ["ec2:{Authorize,Revoke}SecurityGroupIngress"],
    "AWS::EC2::Subnet": ["ec2:{Create,Delete}Subnet", "ec2:ModifySubnetAttribute", "ec2:DescribeSubnets"],
    "AWS::EC2::SubnetRouteTableAssociation": ["ec2:{Associate,Disassociate,Replace}RouteTable{,Association}"],
    "AWS::EC2::VPC": ["ec2:{Create,Delete}Vpc", "ec2:ModifyVpcAttribute", "ec2:DescribeVpc{s,Attribute}"],
    "AWS::EC2::VPCEndpoint": ["ec2:{Create,Modify}VpcEndpoint", "ec2:DeleteVpcEndpoints", "ec2:DescribeVpcEndpoints"],
    "AWS::EC2::VPCGatewayAttachment": ["ec2:{Attach,Detach}InternetGateway"],
    "AWS::IAM::InstanceProfile": [
        "iam:{Create,Get,Delete}InstanceProfile",
        "iam:{AddRoleTo,RemoveRoleFrom}InstanceProfile",
        "iam:PassRole",
    ],
}
"""What CloudFormation does in the caller's name, by type of resource."""
REPLACED = {
    "ec2:AssociateRouteTableAssociation": None,
    "ec2:DisassociateRouteTableAssociation": None,
    "ec2:ReplaceRouteTable": None,
    "autoscaling:DescribeAutoScalingGroup": "autoscaling:DescribeAutoScalingGroups",
}
"""What the patterns of OF_TYPES give beside what there is."""


def actions_of(call: Call) -> list[str]:
    """Return the actions that a caller must be allowed for a call."""
    prefix = PREFIXES.get(call.service, call.service)
    own = S3_ACTIONS.get(call.operation, [call.operation]) if call.service == "s3" else [call.operation]
    return [f"{prefix}:{name}" for name in own] + ALSO.get(str(call), [])


def actions_of_templates() -> set[str]:
    """Return the actions that CloudFormation takes in the caller's name."""
    found = {"ec2:CreateTags", "ec2:DeleteTags", "ec2:DescribeAvailabilityZones", "ssm:GetParameters"}
    for file in OF_CLOUDFORMATION:
        types = {resource["Type"] for resource in _parsed(file)["Resources"].values()}
        for each in types:
            found |= {action for pattern in OF_TYPES[each] for action in _expanded(pattern)}
    wanted = {REPLACED.get(action, action) for action in found}
    return {action for action in wanted if action is not None}


def _expanded(pattern: str) -> list[str]:
    before, brace, rest = pattern.partition("{")
    if not brace:
        return [pattern]
    choices, _, after = rest.partition("}")
    return [before + choice + more for choice in choices.split(",") for more in _expanded(after)]


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's own tags as what is behind them."""


def _plain(loader: yaml.SafeLoader, _: str, node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node)
    return loader.construct_sequence(node) if isinstance(node, yaml.SequenceNode) else node.value


_Loader.add_multi_constructor("!", _plain)


def _parsed(file: Path) -> dict[str, Any]:
    return dict(yaml.load(file.read_text(), Loader=_Loader))


def policy(calls: Iterable[Call]) -> dict[str, Any]:
    """Return the policy document for some calls, and for what the templates make."""
    actions = {action for call in calls for action in actions_of(call)} | actions_of_templates()
    # Anybody may ask who he is; and roles are handed on to certain services only.
    actions -= {"sts:GetCallerIdentity", "iam:PassRole"}
    services: dict[str, list[str]] = defaultdict(list)
    for action in sorted(actions):
        services[action.partition(":")[0]].append(action)
    statements = [
        {"Sid": service.replace("-", "").capitalize(), "Effect": "Allow", "Action": own, "Resource": "*"}
        for service, own in services.items()
    ]
    return {
        "Version": "2012-10-17",
        "Statement": [
            *statements,
            {
                "Sid": "PassRole",
                "Effect": "Allow",
                "Action": "iam:PassRole",
                "Resource": "arn:*:iam::*:role/*",
                "Condition": {"StringEquals": {"iam:PassedToService": list(PASSED_TO)}},
            },
            {
                "Sid": "ServiceLinkedRoles",
                "Effect": "Allow",
                "Action": "iam:CreateServiceLinkedRole",
                "Resource": "arn:*:iam::*:role/aws-service-role/*",
                "Condition": {"StringEquals": {"iam:AWSServiceName": list(SERVICE_LINKED)}},
            },
        ],
    }


PASSED_TO = ("eks.amazonaws.com", "ec2.amazonaws.com", "pods.eks.amazonaws.com")


def recorded(simulation: Simulation, aws: AwsClients) -> list[Call]:
    """Return the calls that bootstrap and teardown make: at first, again, to mend, to change and to upgrade."""
    calls: list[Call] = []

    def record(make: Callable[..., DAG], **parameters: Any) -> None:
        simulation.forget_calls()
        whole.run(make, aws, **parameters)
        calls.extend(simulation.calls())

    record(dags.bootstrap, dry_run=True)
    record(dags.bootstrap, version="1.33")
    meddle(simulation)
    record(dags.bootstrap, dry_run=True)
    record(dags.bootstrap)
    record(dags.bootstrap, version="1.34", tags={"team": "data"})
    simulation.forget_calls()
    admitted(aws, dags.CLUSTER)
    calls.extend(simulation.calls())
    record(dags.teardown)
    record(dags.teardown)
    return calls


def text(document: dict[str, Any]) -> str:
    """Return the policy as it is written into the file."""
    return json.dumps(document, indent=2) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.aws.iam_policy", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help=f"fail if {FILE.name} is not what would be written")
    what.add_argument("--output", type=Path, help="write the policy into this file")
    arguments = parser.parse_args()
    silence()
    with Simulation.started() as simulation, mock.patch.dict(os.environ, simulation.environment), quick():
        made = text(policy(recorded(simulation, AwsClients())))
    if arguments.output:
        arguments.output.write_text(made)
        return 0
    if FILE.read_text() == made:
        return 0
    print(f"{FILE} is not what the calls need: run `python -m tests.aws.iam_policy --output {FILE}`", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
