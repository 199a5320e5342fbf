"""What a cluster has in the VPC of its subnets: a security group, and a network interface in each subnet."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from moto.core.exceptions import ServiceException
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import ec2_backends
from moto.moto_api._internal import mock_random

if TYPE_CHECKING:
    from tests.aws.eks.store import Store

ERRORS = (ServiceException, EC2ClientError)


def build(store: Store, name: str, subnet_ids: list[str]) -> dict[str, Any]:
    """Make them, and return what the cluster tells of them; subnets that aren't there are taken as given."""
    ec2 = ec2_backends[store.account_id][store.region_name]
    try:
        subnets = [ec2.get_subnet(subnet_id) for subnet_id in subnet_ids]
    except ERRORS:
        unknown = mock_random.get_random_hex(17)
        return {"vpcId": f"vpc-{unknown}", "clusterSecurityGroupId": f"sg-{unknown}"}
    group = ec2.create_security_group(
        f"eks-cluster-sg-{name}-{mock_random.get_random_hex(8)}",
        "EKS created security group applied to ENI that is attached to EKS Control Plane master nodes",
        subnets[0].vpc_id,
        {f"kubernetes.io/cluster/{name}": "owned", "aws:eks:cluster-name": name},
    )
    for subnet in subnets:
        ec2.create_network_interface(subnet, [], group_ids=[group.id], description=_description(name))
    return {"vpcId": subnets[0].vpc_id, "clusterSecurityGroupId": group.id}


def demolish(store: Store, name: str, group_id: str) -> None:
    """Delete them. As in AWS, a security group that another one refers to stays."""
    ec2 = ec2_backends[store.account_id][store.region_name]
    for interface in [each for each in ec2.enis.values() if each.description == _description(name)]:
        ec2.delete_network_interface(interface.id)
    with suppress(*ERRORS):
        ec2.delete_security_group(group_id=group_id)


def _description(name: str) -> str:
    return f"Amazon EKS {name}"
