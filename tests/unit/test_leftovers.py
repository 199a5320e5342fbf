"""What kind of thing an ARN is for."""

from __future__ import annotations

import pytest

from airflow_eks_dask.resources.leftovers import kind_of


@pytest.mark.parametrize(
    ("arn", "kind"),
    [
        ("arn:aws:ec2:eu-central-1:123456789012:vpc/vpc-1", "ec2:vpc"),
        ("arn:aws:rds:eu-central-1:123456789012:db:pipelines", "rds:db"),
        ("arn:aws:rds:eu-central-1:123456789012:snapshot:rds:pipelines-2026", "rds:snapshot"),
        ("arn:aws-cn:s3:::logs", "s3:bucket"),
        ("arn:aws:eks:eu-central-1:123456789012:cluster/pipelines", "eks:cluster"),
        ("arn:aws:logs:eu-central-1:123456789012:log-group:/aws/eks/pipelines/cluster", "logs:log-group"),
        ("arn:aws:elasticloadbalancing:eu-central-1:1:loadbalancer/net/a/1", "elasticloadbalancing:loadbalancer"),
        ("arn:aws:iam::123456789012:oidc-provider/oidc.example.com/id/1", "iam:oidc-provider"),
        ("arn:aws:sqs:eu-central-1:123456789012:events", "sqs:events"),
    ],
)
def test_kind_of_an_arn(arn, kind):
    assert kind_of(arn) == kind
