"""Security groups: who may reach something inside the VPC, and on which port."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from airflow_eks_dask.hooks.aws import error_code, ignoring
from airflow_eks_dask.resources import ownership, validation
from airflow_eks_dask.resources.base import UNKNOWN, Action, Plan, Progress, Resource, ResourceError, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from botocore.exceptions import ClientError

    from airflow_eks_dask.hooks.aws import AwsClients

GROUP_NAME = re.compile(r"(?!sg-)[\w .:/()#,@\[\]+=&;{}!$*-]{1,255}", re.ASCII)
DESCRIPTION = re.compile(r"[\w .:/()#,@\[\]+=&;{}!$*-]{1,255}", re.ASCII)
PROTOCOLS = ("tcp", "udp")
_PRIVATE = tuple(
    ipaddress.IPv4Network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")
)


class Rule(NamedTuple):
    """
    Traffic that is let through.

    :param peer: The other side: a security group's id, or a network in CIDR notation.
    """

    protocol: str
    from_port: int
    to_port: int
    peer: str

    def __str__(self) -> str:
        ports = "all ports" if self.protocol == "-1" else f"{self.protocol} {self.from_port}"
        return f"{ports}{f'-{self.to_port}' if self.to_port != self.from_port else ''} of {self.peer}"

    def permission(self) -> dict[str, Any]:
        """Return it as EC2 takes it."""
        ports = {"IpProtocol": self.protocol, "FromPort": self.from_port, "ToPort": self.to_port}
        if "/" in self.peer:
            return ports | {"IpRanges": [{"CidrIp": self.peer}]}
        return ports | {"UserIdGroupPairs": [{"GroupId": self.peer}]}


@dataclass(frozen=True, kw_only=True)
class SecurityGroup(Resource):
    """
    A security group with exactly the wanted rules.

    Nothing public gets in: only security groups and private networks can be named. Nothing gets out that isn't wanted
    either; what answers a request needs no rule, so a database needs none, and the rule that AWS gives to a new group
    (everything to everywhere) is taken away. It is found by name and VPC. The provider has no operator for security
    groups. Source: https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateSecurityGroup.html.

    :param group_name: What it is called.
    :param vpc_id: The VPC that it is in. Needed to create it.
    :param group_id: An existing group, instead of name and VPC.
    :param description: What it is for; set when it is created.
    :param ingress: What may get in: ``{"source": a security group's id or a private CIDR, "port": 5432, "protocol":
        "tcp"}``, where tcp is the default.
    :param egress: What may get out: ``{"destination": ..., "port": ..., "protocol": ...}``.
    :param keep: Whether to leave it when it is to be deleted, for a database that is kept.
    """

    kind: ClassVar[str] = "Security group"

    group_name: str = ""
    vpc_id: str = ""
    group_id: str = ""
    description: str = "Made by airflow-eks-dask"
    ingress: list[dict[str, Any]] = field(default_factory=list)
    egress: list[dict[str, Any]] = field(default_factory=list)
    keep: bool = False

    @property
    def name(self) -> str:
        """Its name; its id if it was given by that."""
        return self.group_name or self.group_id

    def console_path(self, region: str) -> str:
        """Return the path of its page in the AWS console."""
        if self.group_id:
            return f"ec2/home?region={region}#SecurityGroup:groupId={self.group_id}"
        return f"ec2/home?region={region}#SecurityGroups:groupName={self.group_name}"

    def identity_problems(self) -> list[str]:
        """Return what is wrong with its name, id and VPC."""
        problems = validation.cluster_name(self.cluster_name)
        if self.group_id:
            problems += validation.matches(
                "group_id", self.group_id, validation.SECURITY_GROUP_ID, "the id of a security group"
            )
            if not self.existing:
                problems.append("group_id: is for existing groups; AWS chooses that of a new one")
        else:
            what = "1 to 255 letters, digits, spaces and ._-:/()#,@[]+=&;{}!$*, not beginning with sg-"
            problems += validation.matches("group_name", self.group_name, GROUP_NAME, what)
        if self.vpc_id:
            problems += validation.matches("vpc_id", self.vpc_id, validation.VPC_ID, "the id of a VPC")
        return problems

    def problems(self) -> list[str]:
        """Return all that is wrong with what is wanted."""
        problems = self.identity_problems()
        if not self.existing:
            problems += validation.needed("vpc_id", self.vpc_id)
        what = "up to 255 letters, digits, spaces and ._-:/()#,@[]+=&;{}!$*"
        problems += validation.matches("description", self.description, DESCRIPTION, what)
        for number, rule in enumerate(self.ingress):
            problems += _rule_problems(f"ingress[{number}]", rule, "source")
        for number, rule in enumerate(self.egress):
            problems += _rule_problems(f"egress[{number}]", rule, "destination")
        return problems

    def plan(self, aws: AwsClients) -> Plan:
        """Compare rules and tags."""
        group = self._find(aws)
        if group is None:
            return self.a_plan(Action.CREATE, "there is none")
        tags = ownership.as_mapping(group.get("Tags"))
        if refused := self.refused(tags):
            return refused
        changes: dict[str, Any] = {"group_id": group["GroupId"]}
        reasons: list[str] = []
        found = self._rules(aws, group["GroupId"])
        for direction, wanted in (("ingress", self._wanted("ingress")), ("egress", self._wanted("egress"))):
            there = found[direction]
            if not self.existing and (surplus := there.keys() - wanted):
                changes[f"revoke_{direction}"] = sorted(there[rule] for rule in surplus)
                reasons.append(f"{direction} not wanted: {_in_words(surplus)}")
            if missing := wanted - there.keys():
                changes[f"authorize_{direction}"] = [rule.permission() for rule in sorted(missing)]
                reasons.append(f"{direction} missing: {_in_words(missing)}")
        differing = ownership.tag_changes(self.wanted_tags, tags)
        if differing and not self.existing:
            changes["tags"] = differing
            reasons.append(f"tags missing or different: {', '.join(sorted(differing))}")
        return self.a_plan(Action.CHANGE if reasons else Action.LEAVE, *reasons, **changes)

    def _find(self, aws: AwsClients) -> dict[str, Any] | None:
        """
        Return the group as EC2 describes it; without a VPC, that of this name which is ours.

        :raises ResourceError: Several groups of the name are there, and no VPC says which.
        """
        if UNKNOWN in (self.vpc_id, self.group_id):
            return None
        filters = {"group-id": self.group_id} if self.group_id else {"group-name": self.group_name}
        if self.vpc_id:
            filters["vpc-id"] = self.vpc_id
        elif not self.existing:
            filters[f"tag:{ownership.TAG}"] = self.cluster_name
        pages = (
            aws.client("ec2")
            .get_paginator("describe_security_groups")
            .paginate(Filters=[{"Name": name, "Values": [value]} for name, value in filters.items()])
        )
        groups = [group for page in pages for group in page["SecurityGroups"]]
        if len(groups) > 1:
            where = ", ".join(sorted(group["VpcId"] for group in groups))
            raise ResourceError(f"{self.kind} {self.name}: is there in several VPCs ({where}): say which with vpc_id")
        return groups[0] if groups else None

    def _wanted(self, direction: str) -> set[Rule]:
        rules, key = (self.ingress, "source") if direction == "ingress" else (self.egress, "destination")
        return {
            Rule(rule.get("protocol", "tcp"), int(rule["port"]), int(rule["port"]), str(rule[key])) for rule in rules
        }

    def _rules(self, aws: AwsClients, group_id: str) -> dict[str, dict[Rule, str]]:
        """Return the ids of the rules that are there, for ingress and egress."""
        pages = (
            aws.client("ec2")
            .get_paginator("describe_security_group_rules")
            .paginate(Filters=[{"Name": "group-id", "Values": [group_id]}])
        )
        found: dict[str, dict[Rule, str]] = {"ingress": {}, "egress": {}}
        for page in pages:
            for rule in page["SecurityGroupRules"]:
                found["egress" if rule["IsEgress"] else "ingress"][_read_rule(rule)] = rule["SecurityGroupRuleId"]
        return found

    def apply(self, aws: AwsClients, plan: Plan) -> None:
        """Create it, with its tags at once; or make all changes: first what closes, then what opens."""
        ec2 = aws.client("ec2")
        if plan.action is Action.CREATE:
            with ignoring("InvalidGroup.Duplicate"):
                ec2.create_security_group(
                    GroupName=self.group_name,
                    Description=self.description,
                    VpcId=self.vpc_id,
                    TagSpecifications=[{"ResourceType": "security-group", "Tags": ownership.as_list(self.wanted_tags)}],
                )
            return
        changes = plan.changes
        group_id = changes["group_id"]
        with ignoring("InvalidPermission.NotFound", "InvalidSecurityGroupRuleId.NotFound"):
            if "revoke_ingress" in changes:
                ec2.revoke_security_group_ingress(GroupId=group_id, SecurityGroupRuleIds=changes["revoke_ingress"])
            if "revoke_egress" in changes:
                ec2.revoke_security_group_egress(GroupId=group_id, SecurityGroupRuleIds=changes["revoke_egress"])
        with ignoring("InvalidPermission.Duplicate"):
            if "authorize_ingress" in changes:
                ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=changes["authorize_ingress"])
            if "authorize_egress" in changes:
                ec2.authorize_security_group_egress(GroupId=group_id, IpPermissions=changes["authorize_egress"])
        if "tags" in changes:
            ec2.create_tags(Resources=[group_id], Tags=ownership.as_list(changes["tags"]))

    def is_transient(self, error: ClientError) -> bool:
        """It is in use for some time after what used it is gone; a new one is not known everywhere at once."""
        return error_code(error) in ("DependencyViolation", "InvalidGroup.NotFound", "InvalidGroupId.NotFound")

    def progress(self, aws: AwsClients) -> Progress:
        """Security groups are there at once."""
        return Progress(State.READY if self._find(aws) else State.ABSENT)

    def outputs(self, aws: AwsClients) -> dict[str, Any]:
        """Return ``security_group_id``, ``security_group_name`` and ``vpc_id``."""
        group = self._find(aws) or {}
        return {
            "security_group_id": group.get("GroupId", UNKNOWN),
            "security_group_name": group.get("GroupName", self.name),
            "vpc_id": group.get("VpcId", self.vpc_id or UNKNOWN),
        }

    def plan_deletion(self, aws: AwsClients) -> Plan:
        """Delete it if it is ours and not to be kept; say what still uses it."""
        group = self._find(aws)
        if group is None:
            return self.a_plan(Action.LEAVE, "it is gone")
        if refused := self.refused(ownership.as_mapping(group.get("Tags"))):
            return refused
        if self.keep:
            return self.a_plan(Action.LEAVE, "it is kept: keep is set")
        users = self._users(aws, group["GroupId"])
        return self.a_plan(Action.DELETE, *users, group_id=group["GroupId"])

    def _users(self, aws: AwsClients, group_id: str) -> list[str]:
        pages = (
            aws.client("ec2")
            .get_paginator("describe_network_interfaces")
            .paginate(Filters=[{"Name": "group-id", "Values": [group_id]}])
        )
        return [
            f"{interface['NetworkInterfaceId']} still uses it ({interface.get('Description') or 'no description'})"
            for page in pages
            for interface in page["NetworkInterfaces"]
        ]

    def delete(self, aws: AwsClients, plan: Plan) -> None:
        """Delete it."""
        with ignoring("InvalidGroup.NotFound", "InvalidGroupId.NotFound"):
            aws.client("ec2").delete_security_group(GroupId=plan.changes["group_id"])


def _read_rule(rule: Mapping[str, Any]) -> Rule:
    peers = (
        rule.get("CidrIpv4"),
        rule.get("CidrIpv6"),
        rule.get("PrefixListId"),
        rule.get("ReferencedGroupInfo", {}).get("GroupId"),
    )
    peer = next((peer for peer in peers if peer), "")
    return Rule(rule["IpProtocol"], rule.get("FromPort", -1), rule.get("ToPort", -1), peer)


def _in_words(rules: Iterable[Rule]) -> str:
    return ", ".join(str(rule) for rule in sorted(rules))


def _rule_problems(where: str, rule: Mapping[str, Any], peer_key: str) -> list[str]:
    known = {peer_key, "port", "protocol"}
    problems = [
        f"{where}: {key!r} is unknown; known are {', '.join(sorted(known))}" for key in sorted(rule.keys() - known)
    ]
    problems += validation.one_of(f"{where}.protocol", rule.get("protocol", "tcp"), PROTOCOLS)
    port = str(rule.get("port", ""))
    if not (port.isdecimal() and 1 <= int(port) <= 65535):
        problems.append(f"{where}.port = {port!r}: must be from 1 to 65535")
    return problems + _peer_problems(f"{where}.{peer_key}", str(rule.get(peer_key, "")))


def _peer_problems(where: str, peer: str) -> list[str]:
    if "/" not in peer:
        return validation.matches(
            where, peer, validation.SECURITY_GROUP_ID, "the id of a security group or a private IPv4 network"
        )
    if problems := validation.network(where, peer):
        return problems
    if any(ipaddress.IPv4Network(peer).subnet_of(network) for network in _PRIVATE):
        return []
    return [f"{where} = {peer!r}: must be a private network: within {', '.join(str(network) for network in _PRIVATE)}"]
