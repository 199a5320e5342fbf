"""EKS clusters: the control plane, without nodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_eks_dask.resources import cluster_versions, validation
from airflow_eks_dask.resources.base import UNKNOWN, Action, Plan, ResourceError
from airflow_eks_dask.resources.cluster_changes import (
    AUTHENTICATION_MODES,
    config_steps,
    encryption,
    endpoint_access,
    refusals,
)
from airflow_eks_dask.resources.cost import cluster_control_plane
from airflow_eks_dask.resources.eks import (
    EksResource,
    Step,
    describe,
    differs,
    find_cluster,
    is_unknown,
    issues_in_words,
    nodegroup_names,
)

if TYPE_CHECKING:
    from airflow_eks_dask.hooks.aws import AwsClients
    from airflow_eks_dask.resources.cost import CostItem

LOG_TYPES = ("api", "audit", "authenticator", "controllerManager", "scheduler")
SUPPORT_TYPES = ("STANDARD", "EXTENDED")


@dataclass(frozen=True, kw_only=True)
class EksCluster(EksResource):
    """
    A control plane of EKS.

    AWS takes one update at a time, so that several differences are mended one after the other, with a wait each.

    ``version`` decides about upgrades. A version such as ``1.34`` is what the cluster gets, by one minor version after
    the other, and a cluster that is newer is refused. AWS upgrades a cluster only once all of its managed node groups
    have its version: while one hasn't, the cluster is left as it is, and the plan says so; the next run goes on.
    ``default`` and ``latest`` choose the version of a new cluster, and never upgrade one: an upgrade is a decision.

    The provider's ``EksCreateClusterOperator`` fails on a cluster that exists, changes none, and deletes the cluster
    when waiting for it failed; its deferral needs aiobotocore.
    Source: https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateCluster.html.

    :param version: Version of Kubernetes; ``default`` for the one that AWS prefers, ``latest`` for the newest with
        standard support.
    :param role_arn: The role that the control plane takes.
    :param subnet_ids: Two subnets or more, in different zones.
    :param security_group_ids: Further security groups of the control plane, beside the one that EKS makes.
    :param public_access_cidrs: From where the public endpoint can be reached; ``["0.0.0.0/0"]`` is from everywhere.
        None: there is no public endpoint.
    :param endpoint_private_access: Whether there is an endpoint within the VPC.
    :param log_types: What is logged to CloudWatch; any of :data:`LOG_TYPES`.
    :param secrets_key_arn: KMS key that encrypts secrets. It can be given to a cluster that has none, but neither
        be taken away nor be exchanged; None leaves it as it is.
    :param authentication_mode: Who decides who may use the Kubernetes API; it can only go forward in
        :data:`AUTHENTICATION_MODES`.
    :param creator_is_admin: Whether who creates the cluster is its administrator.
    :param support_type: What happens at the end of standard support: ``STANDARD``, AWS upgrades the cluster;
        ``EXTENDED``, support goes on, at several times the price.
    :param deletion_protection: Whether AWS refuses to delete the cluster.
    :param service_cidr: From where Services get their addresses; None for AWS's choice. It can't be changed.
    :param lift_deletion_protection: Whether deleting first turns deletion protection off.
    """

    kind: ClassVar[str] = "EKS cluster"
    timeout: ClassVar[float] = 3600

    version: str = cluster_versions.DEFAULT
    role_arn: str = ""
    subnet_ids: list[str] = field(default_factory=list)
    security_group_ids: list[str] = field(default_factory=list)
    public_access_cidrs: list[str] = field(default_factory=list)
    endpoint_private_access: bool = True
    log_types: list[str] = field(default_factory=list)
    secrets_key_arn: str | None = None
    authentication_mode: str = "API_AND_CONFIG_MAP"
    creator_is_admin: bool = True
    support_type: str = "STANDARD"
    deletion_protection: bool = False
    service_cidr: str | None = None
    lift_deletion_protection: bool = False

    @property
    def name(self) -> str:
        """Its name."""
        return self.cluster_name

    @property
    def update_names(self) -> dict[str, str]:
        """What it is to ``ListUpdates``."""
        return {"name": self.cluster_name}

    def console_path(self, region: str) -> str:
        """Return the path of its page in the AWS console."""
        return f"eks/clusters/{self.cluster_name}?region={region}"

    def identity_problems(self) -> list[str]:
        """Return what is wrong with its name."""
        return validation.cluster_name(self.cluster_name)

    def problems(self) -> list[str]:
        """Return all that is wrong with what is wanted; of an existing cluster only the name is needed."""
        problems = self.identity_problems()
        if not self.existing:
            problems += validation.needed("role_arn", self.role_arn) + validation.needed("subnet_ids", self.subnet_ids)
            if not self.public_access_cidrs and self.endpoint_private_access is False:
                problems.append("give public_access_cidrs or endpoint_private_access: there would be no endpoint")
            if not is_unknown(self.subnet_ids) and len(self.subnet_ids) == 1:
                problems.append("subnet_ids: must be two or more, in different zones")
        if self.role_arn:
            problems += validation.matches("role_arn", self.role_arn, validation.ARN, "an ARN")
        if self.secrets_key_arn:
            problems += validation.matches(
                "secrets_key_arn", self.secrets_key_arn, validation.KMS_KEY, "the ARN of a KMS key"
            )
        if self.service_cidr:
            problems += validation.network("service_cidr", self.service_cidr)
        for cidr in [] if is_unknown(self.public_access_cidrs) else self.public_access_cidrs:
            problems += validation.network("public_access_cidrs", cidr)
        for log_type in self.log_types:
            problems += validation.one_of("log_types", log_type, LOG_TYPES)
        return [
            *problems,
            *validation.matches("version", self.version, cluster_versions.VERSION, "1.34, default or latest"),
            *validation.all_match("subnet_ids", self.subnet_ids, validation.SUBNET_ID, "the id of a subnet"),
            *validation.all_match(
                "security_group_ids", self.security_group_ids, validation.SECURITY_GROUP_ID, "a group's id"
            ),
            *validation.one_of("authentication_mode", self.authentication_mode, AUTHENTICATION_MODES),
            *validation.one_of("support_type", self.support_type, SUPPORT_TYPES),
        ]

    def find(self, aws: AwsClients) -> dict[str, Any] | None:
        """Return what AWS says of it; None if there is none."""
        return find_cluster(aws, self.cluster_name)

    def plan(self, aws: AwsClients) -> Plan:
        """Compare version, configuration and tags; remake a cluster that failed to be created."""
        found = self.find(aws)
        try:
            if found is None:
                return self.step_plan(Action.CREATE, [self._creation(aws)])
            if refused := self.refused(found.get("tags", {})):
                return refused
            if found["status"] == "FAILED":
                return self._remake(aws, found)
            upgrade, notes = self._upgrade(aws, found)
        except ResourceError as error:
            return self.a_plan(Action.REFUSE, str(error))
        refused_changes = [*refusals(self, found), *self._other_network(aws, found)]
        if refused_changes and not self.existing:
            return self.a_plan(Action.REFUSE, *refused_changes)
        steps = [*config_steps(self, found), *upgrade, *self.tag_steps(found, "arn")]
        return self.step_plan(Action.CHANGE if steps else Action.LEAVE, steps, [*notes, *refused_changes])

    def _creation(self, aws: AwsClients) -> Step:
        """Return the step that creates it; its protection follows, so that one that fails can be deleted."""
        version = cluster_versions.choose(self.version, cluster_versions.offered_versions(aws))
        network: dict[str, Any] = {
            "subnetIds": self.subnet_ids,
            "securityGroupIds": self.security_group_ids,
            **endpoint_access(self),
        }
        arguments: dict[str, Any] = {
            "name": self.cluster_name,
            "version": version,
            "roleArn": self.role_arn,
            "resourcesVpcConfig": network,
            "accessConfig": {
                "authenticationMode": self.authentication_mode,
                "bootstrapClusterCreatorAdminPermissions": self.creator_is_admin,
            },
            "upgradePolicy": {"supportType": self.support_type},
            "tags": self.wanted_tags,
        }
        if self.log_types:
            arguments["logging"] = {"clusterLogging": [{"types": self.log_types, "enabled": True}]}
        if self.secrets_key_arn:
            arguments["encryptionConfig"] = encryption(self)
        if self.service_cidr:
            arguments["kubernetesNetworkConfig"] = {"serviceIpv4Cidr": self.service_cidr}
        return Step(f"there is none; its version will be {version}", "create_cluster", arguments)

    def _remake(self, aws: AwsClients, found: dict[str, Any]) -> Plan:
        """Plan to delete a cluster that failed, unless something is in it."""
        issues = issues_in_words(found)
        if self.existing:
            return self.a_plan(Action.REFUSE, f"it has failed: {issues}")
        if inside := self._inside(aws):
            return self.a_plan(
                Action.REFUSE, f"it has failed: {issues}. In it there are {inside}, so it is not made anew"
            )
        return self.step_plan(Action.DELETE, [self._deletion(f"it failed to be created, and is made anew: {issues}")])

    def _other_network(self, aws: AwsClients, found: dict[str, Any]) -> list[str]:
        """Return why its subnets can't become those that are wanted; AWS is asked only if they are others."""
        network = found["resourcesVpcConfig"]
        if not self.subnet_ids or not differs(self.subnet_ids, network["subnetIds"]) or not network.get("vpcId"):
            return []
        subnets = aws.client("ec2").describe_subnets(SubnetIds=self.subnet_ids)["Subnets"]
        foreign = [subnet["SubnetId"] for subnet in subnets if subnet["VpcId"] != network["vpcId"]]
        if not foreign:
            return []
        return [f"it is in {network['vpcId']}, and {', '.join(foreign)} is not: AWS can't move it to another VPC"]

    def _upgrade(self, aws: AwsClients, found: dict[str, Any]) -> tuple[list[Step], list[str]]:
        """Return the step to the next version, or why it has to wait."""
        if cluster_versions.is_moving(self.version) or not differs(self.version, found["version"]):
            return [], []
        offered = cluster_versions.offered_versions(aws)
        version = cluster_versions.next_version(found["version"], self.version, offered)
        if behind := self._nodegroups_behind(aws, found["version"]):
            note = (
                f"stays at {found['version']} on its way to {self.version} until its node groups have that version, too"
            )
            return [], [f"{note}: {', '.join(behind)}. Upgrade them, then run again"]
        reason = f"its version is {found['version']}, not {self.version}: upgrade to {version}"
        return [Step(reason, "update_cluster_version", {"name": self.cluster_name, "version": version})], []

    def _nodegroups_behind(self, aws: AwsClients, version: str) -> list[str]:
        groups = [
            describe(aws, "describe_nodegroup", "nodegroup", clusterName=self.cluster_name, nodegroupName=name)
            for name in nodegroup_names(aws, self.cluster_name)
        ]
        return [
            f"{each['nodegroupName']} ({each['version']})" for each in groups if each and each["version"] != version
        ]

    def outputs(self, aws: AwsClients) -> dict[str, Any]:
        """Return name, ARN, version, and how to reach the API; the certificate of its authority is PEM in base64."""
        found = self.find(aws) or {}
        network = found.get("resourcesVpcConfig", {})
        return {
            "cluster_name": self.cluster_name,
            "arn": found.get("arn", UNKNOWN),
            "version": found.get("version", UNKNOWN),
            "endpoint": found.get("endpoint", UNKNOWN),
            "certificate_authority": found.get("certificateAuthority", {}).get("data", UNKNOWN),
            "oidc_issuer": found.get("identity", {}).get("oidc", {}).get("issuer", UNKNOWN),
            "vpc_id": network.get("vpcId", UNKNOWN),
            "cluster_security_group_id": network.get("clusterSecurityGroupId", UNKNOWN),
        }

    def plan_deletion(self, aws: AwsClients) -> Plan:
        """Delete it if it is ours, empty and not protected; or lift the protection first, if that is wanted."""
        found = self.find(aws)
        if found is None:
            return self.a_plan(Action.LEAVE, "it is gone")
        if refused := self.refused(found.get("tags", {})):
            return refused
        if inside := self._inside(aws):
            return self.a_plan(Action.REFUSE, f"in it there are still {inside}: delete them first")
        if not found.get("deletionProtection"):
            return self.step_plan(Action.DELETE, [self._deletion("it is ours")])
        if not self.lift_deletion_protection:
            reason = "it is protected from deletion. Give lift_deletion_protection=True to delete it nevertheless"
            return self.a_plan(Action.REFUSE, reason)
        lifting = {"name": self.cluster_name, "deletionProtection": False}
        reason = "it is protected from deletion, which is lifted first"
        return self.step_plan(Action.DELETE, [Step(reason, "update_cluster_config", lifting)])

    def _inside(self, aws: AwsClients) -> str:
        pages = aws.client("eks").get_paginator("list_fargate_profiles").paginate(clusterName=self.cluster_name)
        found = {
            "node groups": nodegroup_names(aws, self.cluster_name),
            "Fargate profiles": [name for page in pages for name in page["fargateProfileNames"]],
        }
        return " and ".join(f"{what} {', '.join(names)}" for what, names in found.items() if names)

    def _deletion(self, reason: str) -> Step:
        return Step(reason, "delete_cluster", {"name": self.cluster_name})

    def cost_items(self) -> list[CostItem]:
        """Return what the control plane costs while its version has standard support."""
        return [cluster_control_plane()]
