"""
What a cluster puts into its network by itself, and what keeps the network from being deleted if it stays behind.

Services of type LoadBalancer and Ingresses make load balancers, with target groups and security groups; nodes that end
in a hurry leave network interfaces.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from botocore.exceptions import ClientError

from airflow_eks_dask.hooks.aws import error_code
from airflow_eks_dask.resources import ownership, validation
from airflow_eks_dask.resources.base import UNKNOWN, Action, Plan, Progress, Resource, State
from airflow_eks_dask.resources.kubernetes_tags import is_of_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eks_dask.hooks.aws import AwsClients

_GONE = ("InvalidGroup.NotFound", "InvalidNetworkInterfaceID.NotFound", "LoadBalancerNotFound", "TargetGroupNotFound")
_STILL_USED = ("DependencyViolation", "InvalidParameterValue", "ResourceInUse")
_NODE_TAG = "node.k8s.amazonaws.com/instance_id"
_TAGS_AT_ONCE = 20
"""How many load balancers the API tells the tags of in one call."""


@dataclass(frozen=True)
class _Network:
    """
    The network that a cluster is or was in.

    :param is_ours: It was made for this cluster, and holds nothing else.
    """

    vpc_id: str
    is_ours: bool


@dataclass(frozen=True)
class _Found:
    """What a cluster left in its network: what AWS knows each thing by, and what to call it."""

    balancers: dict[str, str] = field(default_factory=dict)
    classic_balancers: dict[str, str] = field(default_factory=dict)
    target_groups: dict[str, str] = field(default_factory=dict)
    interfaces: dict[str, str] = field(default_factory=dict)
    security_groups: dict[str, str] = field(default_factory=dict)

    def in_words(self) -> list[str]:
        """Name each thing."""
        kinds = (
            self.balancers,
            self.classic_balancers,
            self.target_groups,
            self.interfaces,
            self.security_groups,
        )
        return [words for kind in kinds for words in kind.values()]


@dataclass(frozen=True, kw_only=True)
class ServiceLoadBalancers(Resource):
    """
    The load balancers of a cluster's Services, and all that comes with them.

    They carry the tags of Kubernetes, not ours: that the cluster or its network is ours makes them ours to delete. It
    doesn't matter whether the Services and the cluster are still there; a cluster that is may make them again, though.
    The provider has no operator for load balancers.

    :param vpc_id: The network that the cluster was in, for when the cluster is gone and the network is not ours.
        Default: that of the cluster, else the one that was made for it.
    """

    kind: ClassVar[str] = "load balancers"
    timeout: ClassVar[float] = 1200

    vpc_id: str = ""

    @property
    def name(self) -> str:
        """Whose they are."""
        return f"of {self.cluster_name}"

    def console_path(self, region: str) -> str:
        """Return the path of the page of all load balancers in the AWS console."""
        return f"ec2/home?region={region}#LoadBalancers:search={self.cluster_name}"

    def identity_problems(self) -> list[str]:
        """Return what is wrong with the cluster's name."""
        return validation.cluster_name(self.cluster_name)

    def problems(self) -> list[str]:
        """Return what is wrong with the cluster's name."""
        return self.identity_problems()

    def plan(self, aws: AwsClients) -> Plan:
        """Leave them: the cluster makes them, for its Services."""
        return self.a_plan(Action.LEAVE, *self._find(aws).in_words())

    def apply(self, aws: AwsClients, plan: Plan) -> None:
        """There is nothing to make or change."""

    def outputs(self, aws: AwsClients) -> dict[str, Any]:
        """Return ``load_balancers``: what there is, in words."""
        return {"load_balancers": self._find(aws).in_words()}

    def plan_deletion(self, aws: AwsClients) -> Plan:
        """Delete all that the cluster made in its network."""
        if reason := self._foreign(aws):
            return self.a_plan(Action.REFUSE, f"the cluster {self.cluster_name} exists, and {reason}")
        found = self._find(aws)
        if not (words := found.in_words()):
            return self.a_plan(Action.LEAVE, "there are none")
        return self.a_plan(Action.DELETE, *words, found=found)

    def delete(self, aws: AwsClients, plan: Plan) -> None:
        """Delete the load balancers; once there are none, what they and the nodes left."""
        found: _Found = plan.changes["found"]
        if found.balancers or found.classic_balancers:
            _delete_balancers(aws, found)
        else:
            self._delete_remains(aws, found)

    def progress(self, aws: AwsClients) -> Progress:
        """Wait for the network interfaces of load balancers that are gone: AWS takes minutes to remove them."""
        network = self._network(aws)
        leaving = [] if network is None else _interfaces_of_gone_balancers(aws, network.vpc_id)
        if leaving:
            return Progress(State.PENDING, tuple(f"AWS has yet to remove {interface}" for interface in leaving))
        return Progress(State.READY)

    def is_transient(self, error: ClientError) -> bool:
        """Whether something is still in use by what is being deleted."""
        return error_code(error) in _STILL_USED

    def _cluster(self, aws: AwsClients) -> dict[str, Any] | None:
        try:
            return dict(aws.client("eks").describe_cluster(name=self.cluster_name)["cluster"])
        except ClientError as error:
            if error_code(error) == "ResourceNotFoundException":
                return None
            raise

    def _foreign(self, aws: AwsClients) -> str | None:
        cluster = self._cluster(aws)
        return ownership.refusal(self.cluster_name, cluster.get("tags", {})) if cluster else None

    def _network(self, aws: AwsClients) -> _Network | None:
        ours = aws.client("ec2").describe_vpcs(
            Filters=[{"Name": f"tag:{ownership.TAG}", "Values": [self.cluster_name]}]
        )["Vpcs"]
        our_ids = [vpc["VpcId"] for vpc in ours]
        cluster = self._cluster(aws)
        of_cluster = cluster["resourcesVpcConfig"].get("vpcId", "") if cluster else ""
        given = "" if self.vpc_id == UNKNOWN else self.vpc_id
        vpc_id = of_cluster or given or next(iter(our_ids), "")
        return _Network(vpc_id, vpc_id in our_ids) if vpc_id else None

    def _find(self, aws: AwsClients) -> _Found:
        network = self._network(aws)
        if network is None:
            return _Found()
        return _Found(
            balancers=self._balancers(aws, network.vpc_id),
            classic_balancers=self._classic_balancers(aws, network.vpc_id),
            target_groups=self._target_groups(aws, network.vpc_id),
            interfaces=self._interfaces(aws, network),
            security_groups=self._security_groups(aws, network.vpc_id),
        )

    def _balancers(self, aws: AwsClients, vpc_id: str) -> dict[str, str]:
        all_of_them = {
            balancer["LoadBalancerArn"]: f"{balancer['Type']} load balancer {balancer['LoadBalancerName']}"
            for balancer in _v2_balancers(aws, vpc_id)
        }
        return self._ours_of_v2(aws, all_of_them)

    def _target_groups(self, aws: AwsClients, vpc_id: str) -> dict[str, str]:
        pages = aws.client("elbv2").get_paginator("describe_target_groups").paginate()
        all_of_them = {
            group["TargetGroupArn"]: f"target group {group['TargetGroupName']}"
            for page in pages
            for group in page["TargetGroups"]
            if group.get("VpcId") == vpc_id
        }
        return self._ours_of_v2(aws, all_of_them)

    def _ours_of_v2(self, aws: AwsClients, things: dict[str, str]) -> dict[str, str]:
        arns, ours = list(things), {}
        for start in range(0, len(arns), _TAGS_AT_ONCE):
            batch = arns[start : start + _TAGS_AT_ONCE]
            for tagged in aws.client("elbv2").describe_tags(ResourceArns=batch)["TagDescriptions"]:
                if is_of_cluster(self.cluster_name, ownership.as_mapping(tagged["Tags"])):
                    ours[tagged["ResourceArn"]] = things[tagged["ResourceArn"]]
        return ours

    def _classic_balancers(self, aws: AwsClients, vpc_id: str) -> dict[str, str]:
        names = [balancer["LoadBalancerName"] for balancer in _classic_balancers(aws, vpc_id)]
        ours = {}
        for start in range(0, len(names), _TAGS_AT_ONCE):
            batch = names[start : start + _TAGS_AT_ONCE]
            for tagged in aws.client("elb").describe_tags(LoadBalancerNames=batch)["TagDescriptions"]:
                if is_of_cluster(self.cluster_name, ownership.as_mapping(tagged["Tags"])):
                    name = tagged["LoadBalancerName"]
                    ours[name] = f"classic load balancer {name}"
        return ours

    def _interfaces(self, aws: AwsClients, network: _Network) -> dict[str, str]:
        """Return those that nodes left: attached to nothing, and made by the cluster's network plugin."""
        ours = {}
        for interface in _all_interfaces(aws, network.vpc_id):
            tags = ownership.as_mapping(interface.get("TagSet"))
            of_node = network.is_ours and _NODE_TAG in tags
            if interface["Status"] == "available" and (of_node or is_of_cluster(self.cluster_name, tags)):
                interface_id = interface["NetworkInterfaceId"]
                ours[interface_id] = f"network interface {interface_id} ({interface.get('Description', '')})"
        return ours

    def _security_groups(self, aws: AwsClients, vpc_id: str) -> dict[str, str]:
        """Return those of load balancers; that of the cluster itself has the same tags, and EKS deletes it."""
        return {
            group["GroupId"]: f"security group {group['GroupId']} ({group['GroupName']})"
            for group in _all_security_groups(aws, vpc_id)
            if group["GroupName"].startswith("k8s-")
            and is_of_cluster(self.cluster_name, ownership.as_mapping(group.get("Tags")))
        }

    def _delete_remains(self, aws: AwsClients, found: _Found) -> None:
        ec2 = aws.client("ec2")
        for arn in found.target_groups:
            with _absence_is_fine():
                aws.client("elbv2").delete_target_group(TargetGroupArn=arn)
        for interface_id in found.interfaces:
            with _absence_is_fine():
                ec2.delete_network_interface(NetworkInterfaceId=interface_id)
        for group_id in found.security_groups:
            self._forget_group(aws, group_id)
        for group_id in found.security_groups:
            with _absence_is_fine():
                ec2.delete_security_group(GroupId=group_id)

    def _forget_group(self, aws: AwsClients, group_id: str) -> None:
        """Take rules that let a load balancer in from the cluster's groups: a group that is named can't be deleted."""
        ec2 = aws.client("ec2")
        naming = ec2.describe_security_groups(Filters=[{"Name": "ip-permission.group-id", "Values": [group_id]}])
        for group in naming["SecurityGroups"]:
            tags = ownership.as_mapping(group.get("Tags"))
            if not (tags.get(ownership.TAG) == self.cluster_name or is_of_cluster(self.cluster_name, tags)):
                continue
            rules = [_only(group_id, rule) for rule in group["IpPermissions"] if _names(group_id, rule)]
            if rules:
                ec2.revoke_security_group_ingress(GroupId=group["GroupId"], IpPermissions=rules)


def _delete_balancers(aws: AwsClients, found: _Found) -> None:
    for arn in found.balancers:
        with _absence_is_fine():
            aws.client("elbv2").delete_load_balancer(LoadBalancerArn=arn)
    for name in found.classic_balancers:
        with _absence_is_fine():
            aws.client("elb").delete_load_balancer(LoadBalancerName=name)


def _v2_balancers(aws: AwsClients, vpc_id: str) -> list[dict[str, Any]]:
    pages = aws.client("elbv2").get_paginator("describe_load_balancers").paginate()
    return [each for page in pages for each in page["LoadBalancers"] if each.get("VpcId") == vpc_id]


def _classic_balancers(aws: AwsClients, vpc_id: str) -> list[dict[str, Any]]:
    pages = aws.client("elb").get_paginator("describe_load_balancers").paginate()
    return [each for page in pages for each in page["LoadBalancerDescriptions"] if each.get("VPCId") == vpc_id]


def _all_interfaces(aws: AwsClients, vpc_id: str) -> list[dict[str, Any]]:
    pages = aws.client("ec2").get_paginator("describe_network_interfaces").paginate(Filters=_within(vpc_id))
    return [each for page in pages for each in page["NetworkInterfaces"]]


def _all_security_groups(aws: AwsClients, vpc_id: str) -> list[dict[str, Any]]:
    pages = aws.client("ec2").get_paginator("describe_security_groups").paginate(Filters=_within(vpc_id))
    return [each for page in pages for each in page["SecurityGroups"]]


def _within(vpc_id: str) -> list[dict[str, Any]]:
    return [{"Name": "vpc-id", "Values": [vpc_id]}]


def _interfaces_of_gone_balancers(aws: AwsClients, vpc_id: str) -> list[str]:
    """
    Return the interfaces of load balancers that are no longer there, in words.

    Such an interface has no tags; its description names its load balancer: ``ELB net/web/0123`` or ``ELB web``.
    """
    leaving = {
        each["NetworkInterfaceId"]: each["Description"]
        for each in _all_interfaces(aws, vpc_id)
        if each.get("Description", "").startswith("ELB ")
    }
    if not leaving:
        return []
    present = {f"ELB {each['LoadBalancerArn'].partition(':loadbalancer/')[2]}" for each in _v2_balancers(aws, vpc_id)}
    present |= {f"ELB {each['LoadBalancerName']}" for each in _classic_balancers(aws, vpc_id)}
    return [f"network interface {key} of {words}" for key, words in sorted(leaving.items()) if words not in present]


def _names(group_id: str, rule: dict[str, Any]) -> bool:
    return any(pair.get("GroupId") == group_id for pair in rule.get("UserIdGroupPairs", ()))


def _only(group_id: str, rule: dict[str, Any]) -> dict[str, Any]:
    """Return the part of a rule that names a group."""
    named = {"UserIdGroupPairs": [{"GroupId": group_id}]}
    return {key: value for key, value in rule.items() if key in ("IpProtocol", "FromPort", "ToPort")} | named


@contextmanager
def _absence_is_fine() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        if error_code(error) not in _GONE:
            raise
