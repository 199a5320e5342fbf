"""What is left of a cluster and all that was made for it, by the tags that things carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from airflow_eks_dask.hooks.aws import error_code
from airflow_eks_dask.resources import ownership
from airflow_eks_dask.resources.kubernetes_tags import cluster_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_eks_dask.hooks.aws import AwsClients

DATA = ("rds:db", "rds:snapshot", "rds:auto-backup", "s3:bucket", "logs:log-group")
"""The kinds of things that hold data: deleting the rest keeps them unless told otherwise."""

_AWS_ROLES = ("/aws-service-role/", "/aws-reserved/")
"""Paths of roles that AWS makes for itself: nobody can tag them."""


@dataclass(frozen=True)
class Leftover:
    """
    A thing that is left.

    :param kind: Service and type, such as ``ec2:vpc``.
    :param why: What makes it one of the cluster's, in words.
    """

    arn: str
    kind: str
    why: str

    def in_words(self) -> str:
        """Return a line for people."""
        return f"{self.kind} {self.arn} ({self.why})"


def kind_of(arn: str) -> str:
    """Return service and type of what an ARN is for, such as ``rds:db``; AWS writes ARNs in several ways."""
    service, _, _, resource = arn.split(":", 5)[2:]
    kind = resource.replace(":", "/").partition("/")
    return f"{service}:{kind[0] if kind[1] else 'bucket' if service == 's3' else resource}"


def find(aws: AwsClients, cluster_name: str) -> list[Leftover]:
    """
    Return all that carries our tag for a cluster, or Kubernetes's tags of it, in this account and region.

    Source: https://docs.aws.amazon.com/resourcegroupstagging/latest/APIReference/API_GetResources.html. It knows
    most kinds; roles and identity providers are looked at one by one. It may name things for some minutes after they
    are gone.
    """
    found: dict[str, str] = {}
    for key, value in {ownership.TAG: cluster_name, **cluster_tags(cluster_name)}.items():
        for arn in _tagged(aws, key, value):
            found.setdefault(arn, f"it has the tag {key}={value}")
    for arn in (*_clusters(aws, cluster_name), *_roles(aws, cluster_name), *_identity_providers(aws, cluster_name)):
        found.setdefault(arn, f"it has the tag {ownership.TAG}={cluster_name}")
    for arn in _log_groups(aws, cluster_name):
        found.setdefault(arn, "the cluster wrote it")
    return [Leftover(arn, kind_of(arn), why) for arn, why in sorted(found.items()) if not _is_gone(aws, arn)]


def _tagged(aws: AwsClients, key: str, value: str) -> Iterator[str]:
    pages = (
        aws.client("resourcegroupstaggingapi")
        .get_paginator("get_resources")
        .paginate(TagFilters=[{"Key": key, "Values": [value]}])
    )
    for page in pages:
        yield from (each["ResourceARN"] for each in page["ResourceTagMappingList"])


def _clusters(aws: AwsClients, cluster_name: str) -> Iterator[str]:
    eks = aws.client("eks")
    try:
        cluster = eks.describe_cluster(name=cluster_name)["cluster"]
    except eks.exceptions.ResourceNotFoundException:
        return
    if cluster.get("tags", {}).get(ownership.TAG) == cluster_name:
        yield cluster["arn"]


def _roles(aws: AwsClients, cluster_name: str) -> Iterator[str]:
    iam = aws.client("iam")
    for page in iam.get_paginator("list_roles").paginate():
        for role in page["Roles"]:
            if role["Path"].startswith(_AWS_ROLES):
                continue
            try:
                tags = iam.list_role_tags(RoleName=role["RoleName"])["Tags"]
            except iam.exceptions.NoSuchEntityException:
                continue
            if ownership.as_mapping(tags).get(ownership.TAG) == cluster_name:
                yield role["Arn"]


def _identity_providers(aws: AwsClients, cluster_name: str) -> Iterator[str]:
    iam = aws.client("iam")
    for provider in iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]:
        arn = provider["Arn"]
        tags = iam.list_open_id_connect_provider_tags(OpenIDConnectProviderArn=arn)["Tags"]
        if ownership.as_mapping(tags).get(ownership.TAG) == cluster_name:
            yield arn


def _log_groups(aws: AwsClients, cluster_name: str) -> Iterator[str]:
    """EKS makes these without tags, and never deletes them."""
    pages = (
        aws.client("logs").get_paginator("describe_log_groups").paginate(logGroupNamePrefix=f"/aws/eks/{cluster_name}/")
    )
    for page in pages:
        yield from (each["arn"].removesuffix(":*") for each in page["logGroups"])


def _is_gone(aws: AwsClients, arn: str) -> bool:
    """Whether something is only remembered: AWS shows such things for an hour or more after they ended."""
    look = _REMEMBERED.get(kind_of(arn))
    if look is None:
        return False
    try:
        return look(aws, arn)
    except ClientError as error:
        if error_code(error).endswith("NotFound") or "does not exist" in str(error):
            return True
        raise


def _gateway_is_gone(aws: AwsClients, arn: str) -> bool:
    gateways = aws.client("ec2").describe_nat_gateways(NatGatewayIds=[_id(arn)])["NatGateways"]
    return all(gateway["State"] == "deleted" for gateway in gateways)


def _instance_is_gone(aws: AwsClients, arn: str) -> bool:
    found: list[dict[str, Any]] = aws.client("ec2").describe_instances(InstanceIds=[_id(arn)])["Reservations"]
    return all(each["State"]["Name"] == "terminated" for reservation in found for each in reservation["Instances"])


def _stack_is_gone(aws: AwsClients, arn: str) -> bool:
    stacks = aws.client("cloudformation").describe_stacks(StackName=arn)["Stacks"]
    return all(stack["StackStatus"] == "DELETE_COMPLETE" for stack in stacks)


def _id(arn: str) -> str:
    return arn.rpartition("/")[2]


_REMEMBERED: dict[str, Callable[[AwsClients, str], bool]] = {
    "cloudformation:stack": _stack_is_gone,
    "ec2:instance": _instance_is_gone,
    "ec2:natgateway": _gateway_is_gone,
}
