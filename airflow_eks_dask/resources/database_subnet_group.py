"""The subnets that an RDS database may be in."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from botocore.exceptions import ClientError

from airflow_eks_dask.hooks.aws import error_code, ignoring
from airflow_eks_dask.resources import ownership, validation
from airflow_eks_dask.resources.base import UNKNOWN, Action, Plan, Progress, Resource, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_eks_dask.hooks.aws import AwsClients

# RDS stores names in lower case: another spelling would never be found again.
GROUP_NAME = re.compile(r"(?!default$)[a-z0-9][a-z0-9 ._-]{0,254}")


@dataclass(frozen=True, kw_only=True)
class DatabaseSubnetGroup(Resource):
    """
    A DB subnet group of exactly the wanted subnets. It costs nothing, and holds nothing.

    A group whose VPC is another is made anew if no database is in it. The provider has no operator for it. Source:
    https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBSubnetGroup.html.

    :param group_name: What it is called; in lower case.
    :param subnet_ids: Private subnets of one VPC, in two or more zones.
    :param description: What it is for.
    :param keep: Whether to leave it when it is to be deleted, for a database that is kept.
    """

    kind: ClassVar[str] = "DB subnet group"

    group_name: str
    subnet_ids: list[str] = field(default_factory=list)
    description: str = "Made by airflow-eks-dask"
    keep: bool = False

    @property
    def name(self) -> str:
        """Its name."""
        return self.group_name

    def console_path(self, region: str) -> str:
        """Return the path of its page in the AWS console."""
        return f"rds/home?region={region}#db-subnet-group:id={self.group_name}"

    def identity_problems(self) -> list[str]:
        """Return what is wrong with its names."""
        what = "up to 255 lower case letters, digits, spaces and ._-, first a letter or digit, and not default"
        return [
            *validation.cluster_name(self.cluster_name),
            *validation.matches("group_name", self.group_name, GROUP_NAME, what),
        ]

    def problems(self) -> list[str]:
        """Return all that is wrong with what is wanted."""
        problems = self.identity_problems()
        if self.existing:
            return problems
        problems += validation.all_match("subnet_ids", self.subnet_ids, validation.SUBNET_ID, "the id of a subnet")
        if len(set(self.subnet_ids)) < 2 and UNKNOWN not in self.subnet_ids:
            problems.append("subnet_ids: RDS needs two or more, in different zones")
        return [*problems, *validation.needed("description", self.description)]

    def plan(self, aws: AwsClients) -> Plan:
        """Compare subnets, description and tags."""
        group = self._find(aws)
        if group is None:
            return self.a_plan(Action.CREATE, "there is none")
        tags = self._tags(aws, group)
        if refused := self.refused(tags):
            return refused
        if self.existing:
            return self.a_plan(Action.LEAVE)
        return self._compare(aws, group, tags)

    def _find(self, aws: AwsClients) -> dict[str, Any] | None:
        try:
            return dict(
                aws.client("rds").describe_db_subnet_groups(DBSubnetGroupName=self.group_name)["DBSubnetGroups"][0]
            )
        except ClientError as error:
            if error_code(error) == "DBSubnetGroupNotFoundFault":
                return None
            raise

    def _tags(self, aws: AwsClients, group: Mapping[str, Any]) -> dict[str, str]:
        answer = aws.client("rds").list_tags_for_resource(ResourceName=group["DBSubnetGroupArn"])
        return ownership.as_mapping(answer["TagList"])

    def _compare(self, aws: AwsClients, group: Mapping[str, Any], tags: Mapping[str, str]) -> Plan:
        changes: dict[str, Any] = {"arn": group["DBSubnetGroupArn"]}
        reasons: list[str] = []
        found, wanted = {subnet["SubnetIdentifier"] for subnet in group["Subnets"]}, set(self.subnet_ids)
        if found != wanted:
            if moved := self._moved(aws, group):
                return moved
            changes["modify"] = True
            reasons.append(f"subnets are {_listed(found)}, not {_listed(wanted)}")
        if group.get("DBSubnetGroupDescription") != self.description:
            changes["modify"] = True
            reasons.append("another description")
        if differing := ownership.tag_changes(self.wanted_tags, tags):
            changes["tags"] = differing
            reasons.append(f"tags missing or different: {_listed(differing)}")
        return self.a_plan(Action.CHANGE if reasons else Action.LEAVE, *reasons, **changes)

    def _moved(self, aws: AwsClients, group: Mapping[str, Any]) -> Plan | None:
        """Return what to do if the wanted subnets are in another VPC, which AWS does not change."""
        if UNKNOWN in self.subnet_ids:
            return None
        subnets = aws.client("ec2").describe_subnets(SubnetIds=self.subnet_ids)["Subnets"]
        vpcs = {subnet["VpcId"] for subnet in subnets} - {group["VpcId"]}
        if not vpcs:
            return None
        reason = f"it is in {group['VpcId']}, the subnets are in {_listed(vpcs)}, and AWS moves no group"
        if users := self._databases(aws):
            what = f"used by {_listed(users)}: choose another name, or delete what uses it"
            return self.a_plan(Action.REFUSE, f"{reason}. It is {what}")
        return self.a_plan(Action.DELETE, f"{reason}; no database is in it, so it is made anew")

    def _databases(self, aws: AwsClients) -> list[str]:
        pages = aws.client("rds").get_paginator("describe_db_instances").paginate()
        return [
            database["DBInstanceIdentifier"]
            for page in pages
            for database in page["DBInstances"]
            if database.get("DBSubnetGroup", {}).get("DBSubnetGroupName") == self.group_name
        ]

    def apply(self, aws: AwsClients, plan: Plan) -> None:
        """Create it, with its tags at once; or make all changes."""
        rds = aws.client("rds")
        wanted = {
            "DBSubnetGroupName": self.group_name,
            "DBSubnetGroupDescription": self.description,
            "SubnetIds": sorted(set(self.subnet_ids)),
        }
        if plan.action is Action.CREATE:
            with ignoring("DBSubnetGroupAlreadyExists"):
                rds.create_db_subnet_group(**wanted, Tags=ownership.as_list(self.wanted_tags))
            return
        if "modify" in plan.changes:
            rds.modify_db_subnet_group(**wanted)
        if "tags" in plan.changes:
            rds.add_tags_to_resource(ResourceName=plan.changes["arn"], Tags=ownership.as_list(plan.changes["tags"]))

    def is_transient(self, error: ClientError) -> bool:
        """It is in use for some time after its database is gone."""
        return error_code(error) == "InvalidDBSubnetGroupStateFault"

    def progress(self, aws: AwsClients) -> Progress:
        """DB subnet groups are there at once."""
        return Progress(State.READY if self._find(aws) else State.ABSENT)

    def outputs(self, aws: AwsClients) -> dict[str, Any]:
        """Return ``subnet_group_name`` and ``vpc_id``."""
        group = self._find(aws) or {}
        return {"subnet_group_name": self.group_name, "vpc_id": group.get("VpcId", UNKNOWN)}

    def plan_deletion(self, aws: AwsClients) -> Plan:
        """Delete it if it is ours and not to be kept."""
        group = self._find(aws)
        if group is None:
            return self.a_plan(Action.LEAVE, "it is gone")
        if refused := self.refused(self._tags(aws, group)):
            return refused
        if self.keep:
            return self.a_plan(Action.LEAVE, "it is kept: keep is set")
        users = [f"database {user} is still in it" for user in self._databases(aws)]
        return self.a_plan(Action.DELETE, *users)

    def delete(self, aws: AwsClients, plan: Plan) -> None:
        """Delete it."""
        with ignoring("DBSubnetGroupNotFoundFault"):
            aws.client("rds").delete_db_subnet_group(DBSubnetGroupName=self.group_name)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))
