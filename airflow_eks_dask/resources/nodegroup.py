"""Managed node groups: the machines of an EKS cluster that AWS makes, replaces and upgrades."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_eks_dask.resources import validation
from airflow_eks_dask.resources.base import UNKNOWN, Action, Plan
from airflow_eks_dask.resources.cost import instances, volumes
from airflow_eks_dask.resources.eks import (
    EksPart,
    Step,
    describe,
    find_cluster,
    is_unknown,
    issues_in_words,
)
from airflow_eks_dask.resources.nodegroup_changes import (
    CUSTOM_AMI,
    config_steps,
    fixed_differences,
    scaling,
    version_refusals,
    version_steps,
)

if TYPE_CHECKING:
    from airflow_eks_dask.hooks.aws import AwsClients
    from airflow_eks_dask.resources.cost import CostItem

NODEGROUP_NAME = re.compile(r"[0-9A-Za-z][A-Za-z0-9_-]{0,62}")
RELEASE_VERSION = re.compile(r"\d+\.\d+\.\d+-\d+")
AMI_TYPES = (
    "AL2023_x86_64_STANDARD",
    "AL2023_ARM_64_STANDARD",
    "AL2023_x86_64_NVIDIA",
    "AL2023_ARM_64_NVIDIA",
    "AL2023_x86_64_NEURON",
    CUSTOM_AMI,
)
CAPACITY_TYPES = ("ON_DEMAND", "SPOT")
TAINT_EFFECTS = ("NO_SCHEDULE", "NO_EXECUTE", "PREFER_NO_SCHEDULE")

_DISK_SIZE = 20
_MOST_INSTANCE_TYPES = 20


@dataclass(frozen=True, kw_only=True)
class EksNodegroup(EksPart):
    """
    A managed node group of a cluster.

    Scaling, labels, taints, update configuration and tags become what is wanted. A size that an autoscaler chose
    between ``min_size`` and ``max_size`` is left alone. When the cluster has been upgraded, so is the node group,
    unless ``release_version`` holds it. One that AWS failed to create is deleted and made anew by the next run.

    What AWS can't change (role, subnets, instance types, capacity type, AMI type, disk size, which launch template) is
    refused, as other nodes take the place of those that are there best under a new name, beside them; or, with
    ``replace``, the group is deleted and made anew, which ends all that runs on it.

    The provider's ``EksCreateNodegroupOperator`` fails on one that exists and changes none; its deferral needs
    aiobotocore. Source: https://docs.aws.amazon.com/eks/latest/APIReference/API_CreateNodegroup.html.

    :param nodegroup_name: What it is called.
    :param node_role_arn: The role that the nodes take.
    :param subnet_ids: Where the nodes are.
    :param instance_types: Such as ``["m7i.large", "m6i.large"]``: for spot several of about the same size, so that AWS
        finds one; may be left to the launch template.
    :param ami_type: One of :data:`AMI_TYPES`; ``CUSTOM`` if the launch template names an AMI.
    :param capacity_type: ``ON_DEMAND`` or ``SPOT``.
    :param min_size: Fewest nodes.
    :param max_size: Most nodes.
    :param desired_size: Nodes at first; later it is the business of an autoscaler. None: ``min_size``.
    :param labels: Labels of the nodes in Kubernetes.
    :param taints: Their taints, such as ``[{"key": "dask", "value": "worker", "effect": "NO_SCHEDULE"}]``.
    :param disk_size: GiB of each node's disk; None for 20, or for what the launch template says.
    :param launch_template: ``{"id": ...}`` or ``{"name": ...}``, and a ``version``, a number, as text; without it the
        template's default version is taken when the group is created.
    :param update_config: How many nodes are replaced at a time: ``{"maxUnavailable": 1}`` or
        ``{"maxUnavailablePercentage": 20}``; empty leaves it to AWS.
    :param release_version: Version of the AMI, such as ``1.34.1-20251112``, and with it that of Kubernetes. None: the
        newest for the cluster's version when the group is created, and again when the cluster's version has changed.
    :param force_upgrade: Whether an upgrade ends pods that a disruption budget protects.
    :param replace: Whether to make it anew if AWS can't change what differs.
    """

    kind: ClassVar[str] = "EKS node group"
    timeout: ClassVar[float] = 3600
    name_pattern: ClassVar[re.Pattern[str]] = NODEGROUP_NAME
    name_is: ClassVar[str] = "up to 63 letters, digits, - and _, first a letter or digit"
    name_field: ClassVar[str] = "nodegroup_name"
    name_key: ClassVar[str] = "nodegroupName"
    deletion: ClassVar[str] = "delete_nodegroup"

    nodegroup_name: str
    node_role_arn: str = ""
    subnet_ids: list[str] = field(default_factory=list)
    instance_types: list[str] = field(default_factory=list)
    ami_type: str = "AL2023_x86_64_STANDARD"
    capacity_type: str = "ON_DEMAND"
    min_size: int = 1
    max_size: int = 3
    desired_size: int | None = None
    labels: dict[str, str] = field(default_factory=dict)
    taints: list[dict[str, str]] = field(default_factory=list)
    disk_size: int | None = None
    launch_template: dict[str, str] = field(default_factory=dict)
    update_config: dict[str, Any] = field(default_factory=dict)
    release_version: str | None = None
    force_upgrade: bool = False
    replace: bool = False

    @property
    def first_size(self) -> int:
        """How many nodes it begins with."""
        return self.min_size if self.desired_size is None else self.desired_size

    def console_path(self, region: str) -> str:
        """Return the path of its page in the AWS console."""
        return f"eks/clusters/{self.cluster_name}/nodegroups/{self.nodegroup_name}?region={region}"

    def problems(self) -> list[str]:
        """Return all that is wrong with what is wanted; of an existing node group only the names are needed."""
        problems = self.identity_problems()
        if not self.existing:
            problems += validation.needed("node_role_arn", self.node_role_arn)
            problems += validation.needed("subnet_ids", self.subnet_ids)
            if not self.launch_template:
                problems += validation.needed("instance_types", self.instance_types)
        if self.node_role_arn:
            problems += validation.matches("node_role_arn", self.node_role_arn, validation.ARN, "an ARN")
        if self.release_version:
            what = "a version of an AMI such as 1.34.1-20251112"
            problems += validation.matches("release_version", self.release_version, RELEASE_VERSION, what)
        what = "a type of EC2 instance such as m7i.large"
        return [
            *problems,
            *validation.all_match("subnet_ids", self.subnet_ids, validation.SUBNET_ID, "the id of a subnet"),
            *validation.all_match("instance_types", self.instance_types, validation.INSTANCE_TYPE, what),
            *validation.one_of("ami_type", self.ami_type, AMI_TYPES),
            *validation.one_of("capacity_type", self.capacity_type, CAPACITY_TYPES),
            *self._size_problems(),
            *self._taint_problems(),
            *self._template_problems(),
        ]

    def _size_problems(self) -> list[str]:
        problems = [
            *validation.at_least("min_size", self.min_size, 0),
            *validation.at_least("max_size", self.max_size, 1),
        ]
        if self.desired_size is not None:
            problems += validation.at_least("desired_size", self.desired_size, 0)
        if self.disk_size is not None:
            problems += validation.at_least("disk_size", self.disk_size, 1)
        sizes = [self.min_size, self.first_size, self.max_size]
        if not problems and not any(is_unknown(size) for size in sizes) and sizes != sorted(sizes):
            problems.append(f"min_size, desired_size, max_size = {', '.join(map(str, sizes))}: must not descend")
        return problems

    def _taint_problems(self) -> list[str]:
        problems = []
        for taint in self.taints:
            problems += validation.needed("taints: key", taint.get("key"))
            problems += validation.one_of("taints: effect", taint.get("effect", ""), TAINT_EFFECTS)
            if surplus := sorted(taint.keys() - {"key", "value", "effect"}):
                problems.append(f"taints: {', '.join(surplus)}: a taint has key, value and effect")
        return problems

    def _template_problems(self) -> list[str]:
        problems = []
        if len(self.instance_types) > _MOST_INSTANCE_TYPES and not is_unknown(self.instance_types):
            problems.append(f"instance_types: must be {_MOST_INSTANCE_TYPES} at most")
        if self.launch_template:
            if len(self.launch_template.keys() & {"id", "name"}) != 1:
                problems.append("launch_template: give either id or name")
            if surplus := sorted(self.launch_template.keys() - {"id", "name", "version"}):
                problems.append(f"launch_template: {', '.join(surplus)}: it has id or name, and version")
            version: object = self.launch_template.get("version", "1")
            if not isinstance(version, str) or not (version.isdigit() or version == UNKNOWN):
                problems.append(f"launch_template: version = {version!r}: must be a number, as text")
            if self.disk_size is not None:
                problems.append("disk_size: the launch template has to say it")
        elif self.ami_type == CUSTOM_AMI:
            problems.append(f"ami_type = {CUSTOM_AMI!r}: needs a launch_template that names the AMI")
        return problems

    def find(self, aws: AwsClients) -> dict[str, Any] | None:
        """Return what AWS says of it; None if it or its cluster isn't there."""
        return describe(aws, "describe_nodegroup", "nodegroup", **self.names)

    def plan(self, aws: AwsClients) -> Plan:
        """Compare configuration, version and tags; remake one that failed to be created."""
        found = self.find(aws)
        if found is None:
            return self.step_plan(Action.CREATE, [Step("there is none", "create_nodegroup", self._creation)])
        if refused := self.refused(found.get("tags", {})):
            return refused
        if found["status"].endswith("FAILED"):
            return self.plan_remaking(found)
        fixed = fixed_differences(self, found)
        if fixed and self.replace:
            reasons = "; ".join(fixed)
            return self.plan_removal(f"{reasons}: AWS can't change that, so made anew")
        refusals = version_refusals(self, found)
        if fixed:
            refusals.append(
                f"{'; '.join(fixed)}: AWS can't change that. Want what is there; or give another nodegroup_name and "
                "delete this one afterwards; or give replace=True, which ends all that runs on it"
            )
        if refusals and not self.existing:
            return self.a_plan(Action.REFUSE, *refusals)
        return self._changes(aws, found, refusals)

    def _changes(self, aws: AwsClients, found: dict[str, Any], notes: list[str]) -> Plan:
        cluster = find_cluster(aws, self.cluster_name)
        steps = [
            *config_steps(self, found),
            *version_steps(self, found, cluster["version"] if cluster else found["version"]),
            *self.tag_steps(found, "nodegroupArn"),
        ]
        if found["status"] == "DEGRADED" and (self.existing or not steps):
            issues = issues_in_words(found)
            return self.a_plan(Action.REFUSE, f"it is degraded: {issues}. Mend that, then run again")
        return self.step_plan(Action.CHANGE if steps else Action.LEAVE, steps, notes)

    @property
    def _creation(self) -> dict[str, Any]:
        optional = {
            "amiType": "" if self.ami_type == CUSTOM_AMI else self.ami_type,
            "instanceTypes": self.instance_types,
            "labels": self.labels,
            "taints": self.taints,
            "diskSize": self.disk_size,
            "launchTemplate": self.launch_template,
            "updateConfig": self.update_config,
            "releaseVersion": self.release_version,
        }
        return {
            **self.names,
            "nodeRole": self.node_role_arn,
            "subnets": self.subnet_ids,
            "capacityType": self.capacity_type,
            "scalingConfig": scaling(self, self.first_size),
            "tags": self.wanted_tags,
            **{key: value for key, value in optional.items() if value},
        }

    def outputs(self, aws: AwsClients) -> dict[str, Any]:
        """Return its names, ARN, role, versions, and the Auto Scaling group that AWS made for it."""
        found = self.find(aws) or {}
        groups = found.get("resources", {}).get("autoScalingGroups", ())
        return {
            "cluster_name": self.cluster_name,
            "nodegroup_name": self.nodegroup_name,
            "arn": found.get("nodegroupArn", UNKNOWN),
            "node_role_arn": found.get("nodeRole", UNKNOWN),
            "version": found.get("version", UNKNOWN),
            "release_version": found.get("releaseVersion", UNKNOWN),
            "auto_scaling_group": groups[0]["name"] if groups else UNKNOWN,
        }

    def cost_items(self) -> list[CostItem]:
        """Return what its nodes cost while there are as many as at first, all of the first type."""
        # A launch template's type would have to be looked up: its price is unknown, not nothing.
        instance_type = self.instance_types[0] if self.instance_types else UNKNOWN
        return [
            instances(instance_type, self.first_size, spot=self.capacity_type == "SPOT"),
            volumes((self.disk_size or _DISK_SIZE) * self.first_size),
        ]
