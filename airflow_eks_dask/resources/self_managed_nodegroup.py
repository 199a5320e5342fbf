"""Nodes of a cluster that EKS doesn't manage: an auto scaling group of our own."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_eks_dask.resources import auto_scaling, cost, validation
from airflow_eks_dask.resources.base import UNKNOWN, Action, Plan, Progress, State
from airflow_eks_dask.resources.eks import is_unknown
from airflow_eks_dask.resources.iam_role import ROLE_NAME
from airflow_eks_dask.resources.nodegroup import CAPACITY_TYPES, NODEGROUP_NAME, TAINT_EFFECTS
from airflow_eks_dask.resources.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eks_dask.hooks.aws import AwsClients
    from airflow_eks_dask.resources.cost import CostItem

ARCHITECTURES = ("x86_64", "arm64")
_MOST_INSTANCE_TYPES = 4
_PROFILE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:instance-profile/.+")
_LABEL_KEY = re.compile(r"([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([\w.-]{0,61}[A-Za-z0-9])?)?")
_VERSION = re.compile(r"(\d+\.\d+)?")
_RESERVED_LABEL = re.compile(r"(?!(node|kubelet)\.kubernetes\.io/)([\w.-]*\.)?(kubernetes|k8s)\.io/.*")
"""Labels that the API server doesn't let a kubelet give its node."""


@dataclass(frozen=True, kw_only=True)
class SelfManagedNodegroup(Stack):
    """
    Instances that boot Amazon Linux 2023 with nodeadm and join a cluster, in a stack of our own template.

    Endpoint, certificate, network and version of the cluster are read from EKS when the stack is made or changed. The
    nodes get their image from the public parameter of the cluster's version, only answer metadata requests with a
    session token, and have encrypted disks. Which image and settings a node has is decided when it starts: nodes that
    run keep theirs, as what runs on them can't be moved from here; end them one by one and others take their place. How
    many there are between ``min_size`` and ``max_size`` is for the cluster autoscaler to say, which finds the group by
    its tags. The role needs access to the cluster: an access entry of type ``EC2_LINUX``, or ``aws-auth``. The provider
    has no operator for self-managed nodes.
    Source: https://docs.aws.amazon.com/eks/latest/userguide/self-managed-nodes.html.

    :param nodegroup_name: What it is called; a part of the stack's name.
    :param subnet_ids: Where the nodes are.
    :param node_role_name: The role of the nodes; it gets an instance profile.
    :param instance_profile_arn: An instance profile, instead of a role.
    :param instance_types: Up to four, the preferred first: for spot several of about the same size.
    :param capacity_type: ``ON_DEMAND`` or ``SPOT``.
    :param min_size: Fewest nodes, and how many there are at first.
    :param max_size: Most nodes.
    :param disk_size: GiB of each node's disk.
    :param labels: Labels of the nodes in Kubernetes.
    :param taints: Their taints, such as ``[{"key": "dask", "value": "worker", "effect": "NO_SCHEDULE"}]``.
    :param kubelet_flags: Further flags of the kubelet, such as ``--max-pods=50``.
    :param architecture: That of the instance types: ``x86_64`` or ``arm64``.
    :param kubernetes_version: Version of the image, such as ``1.34``; default: the cluster's.
    """

    kind: ClassVar[str] = "self-managed node group"
    template_name: ClassVar[str] = "nodes.yaml"
    capabilities: ClassVar[tuple[str, ...]] = ("CAPABILITY_IAM",)

    nodegroup_name: str = "nodes"
    subnet_ids: list[str] = field(default_factory=list)
    node_role_name: str = ""
    instance_profile_arn: str = ""
    instance_types: list[str] = field(default_factory=list)
    capacity_type: str = "ON_DEMAND"
    min_size: int = 1
    max_size: int = 3
    disk_size: int = 20
    labels: dict[str, str] = field(default_factory=dict)
    taints: list[dict[str, str]] = field(default_factory=list)
    kubelet_flags: list[str] = field(default_factory=list)
    architecture: str = "x86_64"
    kubernetes_version: str = ""

    @property
    def suffix(self) -> str:  # type: ignore[override]
        """What the stack's name has behind the cluster's."""
        return f"nodegroup-{self.nodegroup_name.replace('_', '-')}"

    def identity_problems(self) -> list[str]:
        """Return what is wrong with its names."""
        what = "up to 63 letters, digits, - and _, first a letter or digit"
        return [
            *super().identity_problems(),
            *validation.matches("nodegroup_name", self.nodegroup_name, NODEGROUP_NAME, what),
        ]

    def problems(self) -> list[str]:
        """Return all that is wrong with what is wanted; of an existing one only the names are needed."""
        problems = self.identity_problems()
        if self.existing:
            return problems
        problems += validation.needed("subnet_ids", self.subnet_ids)
        problems += validation.all_match("subnet_ids", self.subnet_ids, validation.SUBNET_ID, "the id of a subnet")
        problems += validation.needed("instance_types", self.instance_types)
        what = "a type of EC2 instance such as m7i.large"
        problems += validation.all_match("instance_types", self.instance_types, validation.INSTANCE_TYPE, what)
        if len(self.instance_types) > _MOST_INSTANCE_TYPES and not is_unknown(self.instance_types):
            problems.append(f"instance_types: must be {_MOST_INSTANCE_TYPES} at most")
        return [
            *problems,
            *self._profile_problems(),
            *validation.matches(
                "kubernetes_version", self.kubernetes_version, _VERSION, "a version such as 1.34, or empty"
            ),
            *validation.one_of("capacity_type", self.capacity_type, CAPACITY_TYPES),
            *validation.one_of("architecture", self.architecture, ARCHITECTURES),
            *validation.at_least("disk_size", self.disk_size, 20),
            *self._size_problems(),
            *self._label_problems(),
            *self._taint_problems(),
        ]

    def _profile_problems(self) -> list[str]:
        if bool(self.node_role_name) == bool(self.instance_profile_arn):
            return ["give either node_role_name or instance_profile_arn"]
        if self.node_role_name:
            what = "1 to 64 letters, digits and +=,.@-_"
            return validation.matches("node_role_name", self.node_role_name, ROLE_NAME, what)
        what = "the ARN of an instance profile"
        return validation.matches("instance_profile_arn", self.instance_profile_arn, _PROFILE, what)

    def _size_problems(self) -> list[str]:
        problems = [
            *validation.at_least("min_size", self.min_size, 0),
            *validation.at_least("max_size", self.max_size, 1),
        ]
        sizes = [self.min_size, self.max_size]
        if not problems and not any(is_unknown(size) for size in sizes) and sizes != sorted(sizes):
            problems.append(f"min_size, max_size = {self.min_size}, {self.max_size}: must not descend")
        return problems

    def _label_problems(self) -> list[str]:
        problems = [
            *validation.all_match("labels", self.labels, _LABEL_KEY, "the name of a Kubernetes label"),
            *validation.all_match("labels", self.labels.values(), _LABEL_VALUE, "the value of a Kubernetes label"),
        ]
        return problems + [
            f"labels: {label!r}: Kubernetes lets no node give itself that one"
            for label in self.labels
            if _RESERVED_LABEL.fullmatch(label)
        ]

    def _taint_problems(self) -> list[str]:
        problems = []
        for taint in self.taints:
            problems += validation.matches("taints: key", taint.get("key", ""), _LABEL_KEY, "a name as of a label")
            problems += validation.matches("taints: value", taint.get("value", ""), _LABEL_VALUE, "as that of a label")
            problems += validation.one_of("taints: effect", taint.get("effect", ""), TAINT_EFFECTS)
            if surplus := sorted(taint.keys() - {"key", "value", "effect"}):
                problems.append(f"taints: {', '.join(surplus)}: a taint has key, value and effect")
        return problems

    def parameters(self, aws: AwsClients, found: Mapping[str, str]) -> dict[str, str]:
        """Return what the user wants, and what the cluster's nodes need to know of it."""
        types = [UNKNOWN] if is_unknown(self.instance_types) else self.instance_types
        subnets = [UNKNOWN] if is_unknown(self.subnet_ids) else self.subnet_ids
        return {
            **self._cluster_parameters(aws),
            "ClusterName": self.cluster_name,
            "SubnetIds": ",".join(subnets),
            "NodeRoleName": self.node_role_name,
            "InstanceProfileArn": self.instance_profile_arn,
            **{
                f"InstanceType{number}": types[number - 1] if number <= len(types) else ""
                for number in range(1, _MOST_INSTANCE_TYPES + 1)
            },
            "CapacityType": self.capacity_type.lower(),
            "MinSize": str(self.min_size),
            "MaxSize": str(self.max_size),
            "VolumeSize": str(self.disk_size),
            "KubeletFlags": json.dumps(self._all_flags()),
        }

    def _cluster_parameters(self, aws: AwsClients) -> dict[str, str]:
        eks = aws.client("eks")
        try:
            cluster = eks.describe_cluster(name=self.cluster_name)["cluster"]
        except eks.exceptions.ResourceNotFoundException:
            cluster = {}
        network = cluster.get("resourcesVpcConfig", {})
        version = self.kubernetes_version or cluster.get("version", UNKNOWN)
        return {
            "ApiServerEndpoint": cluster.get("endpoint", UNKNOWN),
            "CertificateAuthority": cluster.get("certificateAuthority", {}).get("data", UNKNOWN),
            "ServiceCidr": cluster.get("kubernetesNetworkConfig", {}).get("serviceIpv4Cidr", UNKNOWN),
            "ClusterSecurityGroupId": network.get("clusterSecurityGroupId", UNKNOWN),
            "VpcId": network.get("vpcId", UNKNOWN),
            "Image": f"/aws/service/eks/optimized-ami/{version}/amazon-linux-2023/{self.architecture}"
            "/standard/recommended/image_id",
        }

    def _all_flags(self) -> list[str]:
        flags = []
        if self.labels:
            flags.append("--node-labels=" + ",".join(f"{key}={value}" for key, value in sorted(self.labels.items())))
        if self.taints:
            taints = [
                f"{taint['key']}={taint.get('value', '')}:{_in_kubernetes(taint['effect'])}" for taint in self.taints
            ]
            flags.append("--register-with-taints=" + ",".join(taints))
        return [*flags, *self.kubelet_flags]

    def plan(self, aws: AwsClients) -> Plan:
        """Compare the stack; if it is as wanted, say why there are too few nodes."""
        plan = super().plan(aws)
        if plan.action is not Action.LEAVE or self.existing:
            return plan
        group = self._group(aws)
        if group is not None and group.is_short and (problems := group.problems()):
            return self.a_plan(Action.REFUSE, f"{self.kind} {self.name}: {group.in_words()}", *problems, *plan.reasons)
        return plan

    def progress(self, aws: AwsClients) -> Progress:
        """Tell the events of the stack; once it is there, wait for its nodes to start, or to fail to."""
        progress = super().progress(aws)
        if progress.state is not State.READY:
            return progress
        group = self._group(aws)
        if group is None or not group.is_short:
            return progress
        problems = group.problems()
        return Progress(State.FAILED if problems else State.PENDING, (group.in_words(), *problems))

    def _group(self, aws: AwsClients) -> auto_scaling.Group | None:
        name = self.stack_outputs(aws).get("AutoScalingGroupName")
        return auto_scaling.find(aws, name) if name else None

    def outputs(self, aws: AwsClients) -> dict[str, Any]:
        """Return ``stack_name``, ``auto_scaling_group_name`` and ``node_security_group_id``."""
        found = self.stack_outputs(aws)
        return {
            "stack_name": self.name,
            "auto_scaling_group_name": found.get("AutoScalingGroupName", UNKNOWN),
            "node_security_group_id": found.get("NodeSecurityGroupId", UNKNOWN),
        }

    def cost_items(self) -> list[CostItem]:
        """As many instances of the preferred type as there are at first, and their disks."""
        if is_unknown(self.min_size) or is_unknown(self.instance_types) or not self.min_size:
            return []
        return [
            cost.instances(self.instance_types[0], self.min_size, spot=self.capacity_type == "SPOT"),
            cost.volumes(self.min_size * self.disk_size),
        ]


def _in_kubernetes(effect: str) -> str:
    """Return what Kubernetes calls an effect of EKS: ``NO_SCHEDULE`` is ``NoSchedule``."""
    return effect.title().replace("_", "")
