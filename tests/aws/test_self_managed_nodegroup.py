"""Self-managed nodes: what they boot with, what is changed, and what is told when they don't start."""

from __future__ import annotations

import base64
import email
import json

import pytest
import yaml

from airflow_eks_dask.operators.network import EnsureNetworkOperator
from airflow_eks_dask.operators.self_managed_nodegroup import (
    DeleteSelfManagedNodegroupOperator,
    EnsureSelfManagedNodegroupOperator,
)
from airflow_eks_dask.resources.base import UNKNOWN, ResourceError, State
from airflow_eks_dask.resources.ownership import TAG, as_mapping
from airflow_eks_dask.resources.self_managed_nodegroup import SelfManagedNodegroup

NAME = "pipelines"
STACK = "pipelines-nodegroup-workers"
TRUST = '{"Version": "2012-10-17", "Statement": []}'


@pytest.fixture
def place(converge, simulation):
    """A cluster in a network, and what all node groups here need."""
    iam = simulation.boto("iam")
    for role in ("cluster", "node"):
        arn = iam.create_role(RoleName=role, AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
    network = converge(EnsureNetworkOperator(task_id="network", cluster_name=NAME, detect_drift=False))
    simulation.boto("eks").create_cluster(
        name=NAME, roleArn=arn, resourcesVpcConfig={"subnetIds": network["private_subnet_ids"]}, version="1.34"
    )
    simulation.forget_calls()
    return {"subnet_ids": network["private_subnet_ids"], "node_role_name": "node", "instance_types": ["m7i.large"]}


def ensure(**wanted):
    return EnsureSelfManagedNodegroupOperator(
        task_id="nodes", cluster_name=NAME, nodegroup_name="workers", poll_interval=0.01, **wanted
    )


def delete(**wanted):
    return DeleteSelfManagedNodegroupOperator(
        task_id="delete", cluster_name=NAME, nodegroup_name="workers", poll_interval=0.01, **wanted
    )


def told(converge):
    return "; ".join(converge.plans[0]["reasons"])


def group_of(simulation):
    (group,) = simulation.boto("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]
    return group


def launch_data(simulation):
    found = group_of(simulation)["MixedInstancesPolicy"]["LaunchTemplate"]["LaunchTemplateSpecification"]
    versions = simulation.boto("ec2").describe_launch_template_versions(LaunchTemplateId=found["LaunchTemplateId"])
    return versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]


def node_config(simulation):
    (part,) = email.message_from_bytes(base64.b64decode(launch_data(simulation)["UserData"])).get_payload()
    assert part.get_content_type() == "application/node.eks.aws"
    return yaml.safe_load(part.get_payload())


def test_nodes_join_the_cluster_with_nodeadm(place, converge, simulation):
    converge(
        ensure(
            **place,
            labels={"dask": "worker", "team": "data"},
            taints=[{"key": "dask", "value": "worker", "effect": "PREFER_NO_SCHEDULE"}],
            kubelet_flags=["--max-pods=50"],
        )
    )
    assert converge.actions == ["create", "leave"]
    cluster = simulation.boto("eks").describe_cluster(name=NAME)["cluster"]
    config = node_config(simulation)
    assert (config["apiVersion"], config["kind"]) == ("node.eks.aws/v1alpha1", "NodeConfig")
    assert config["spec"]["cluster"] == {
        "name": NAME,
        "apiServerEndpoint": cluster["endpoint"],
        "certificateAuthority": cluster["certificateAuthority"]["data"],
        "cidr": cluster["kubernetesNetworkConfig"]["serviceIpv4Cidr"],
    }
    assert config["spec"]["kubelet"]["flags"] == [
        "--node-labels=dask=worker,team=data",
        "--register-with-taints=dask=worker:PreferNoSchedule",
        "--max-pods=50",
    ]


def test_nodes_have_encrypted_disks_and_guarded_metadata(place, converge, simulation):
    converge(ensure(**place, disk_size=50))
    data = launch_data(simulation)
    assert data["MetadataOptions"]["HttpTokens"] == "required"
    disk = data["BlockDeviceMappings"][0]["Ebs"]
    assert (disk["Encrypted"], int(disk["VolumeSize"]), disk["VolumeType"]) == (True, 50, "gp3")


def test_the_image_is_that_of_the_clusters_version(place, converge, simulation):
    converge(ensure(**place))
    parameters = simulation.boto("cloudformation").describe_stacks(StackName=STACK)["Stacks"][0]["Parameters"]
    image = {each["ParameterKey"]: each["ParameterValue"] for each in parameters}["Image"]
    assert image.startswith("/aws/service/eks/optimized-ami/1.34/amazon-linux-2023/x86_64/standard/")


def test_several_types_and_spot_are_asked_for(place, converge, simulation):
    types = ["m7i.large", "m6i.large", "m5.large"]
    converge(ensure(**place | {"instance_types": types}, capacity_type="SPOT", min_size=2, max_size=5))
    group = group_of(simulation)
    policy = group["MixedInstancesPolicy"]
    assert [each["InstanceType"] for each in policy["LaunchTemplate"]["Overrides"]] == types
    assert int(policy["InstancesDistribution"]["OnDemandPercentageAboveBaseCapacity"]) == 0
    assert (group["MinSize"], group["MaxSize"], len(group["Instances"])) == (2, 5, 2)


def test_the_autoscaler_finds_the_group_and_all_is_ours(place, converge, simulation):
    made = converge(ensure(**place))
    tags = as_mapping(group_of(simulation)["Tags"])
    assert tags[f"k8s.io/cluster-autoscaler/{NAME}"] == "owned"
    assert tags[f"kubernetes.io/cluster/{NAME}"] == "owned"
    groups = simulation.boto("ec2").describe_security_groups(GroupIds=[made["node_security_group_id"]])
    assert as_mapping(groups["SecurityGroups"][0]["Tags"])[TAG] == NAME


def test_nodes_and_cluster_talk_to_each_other_and_nobody_else_does(place, converge, simulation):
    nodes = converge(ensure(**place))["node_security_group_id"]
    cluster = simulation.boto("eks").describe_cluster(name=NAME)["cluster"]["resourcesVpcConfig"]
    ec2 = simulation.boto("ec2")
    for group, sources in (
        (nodes, {nodes, cluster["clusterSecurityGroupId"]}),
        (cluster["clusterSecurityGroupId"], {nodes}),
    ):
        permissions = ec2.describe_security_groups(GroupIds=[group])["SecurityGroups"][0]["IpPermissions"]
        assert {pair["GroupId"] for rule in permissions for pair in rule["UserIdGroupPairs"]} == sources
        assert not any(rule["IpRanges"] for rule in permissions)


def test_the_second_run_writes_nothing(place, converge, simulation):
    first = converge(ensure(**place))
    simulation.forget_calls()
    assert converge(ensure(**place)) == first
    assert simulation.writes() == []


def test_sizes_and_labels_are_changed(place, converge, simulation):
    converge(ensure(**place))
    converge(ensure(**place, min_size=2, max_size=4, labels={"dask": "worker"}))
    assert converge.actions == ["change", "leave"]
    assert "MaxSize is 3, not 4" in told(converge)
    assert "AWS will modify LaunchTemplate (AWS::EC2::LaunchTemplate)" in told(converge)
    assert (group_of(simulation)["MinSize"], group_of(simulation)["MaxSize"]) == (2, 4)


def test_a_stack_of_somebody_else_is_refused(place, converge, simulation):
    template = json.dumps({"Resources": {"Gateway": {"Type": "AWS::EC2::InternetGateway"}}})
    simulation.boto("cloudformation").create_stack(StackName=STACK, TemplateBody=template)
    simulation.forget_calls()
    for operator in (ensure(**place), delete()):
        with pytest.raises(ResourceError, match="made by something else"):
            converge(operator)
    assert simulation.writes() == []


def test_nothing_is_made_without_a_cluster(converge, simulation):
    place = {"subnet_ids": ["subnet-00000000"], "node_role_name": "node", "instance_types": ["m7i.large"]}
    with pytest.raises(ResourceError, match="ApiServerEndpoint, CertificateAuthority"):
        converge(ensure(**place))
    assert simulation.writes() == []


def test_a_dry_run_needs_no_cluster(converge, simulation):
    made = converge(
        ensure(dry_run=True, subnet_ids=[UNKNOWN], node_role_name=UNKNOWN, instance_types=["m7i.large"], min_size=2)
    )
    assert "1 AutoScalingGroup, 1 InstanceProfile, 1 LaunchTemplate, 1 SecurityGroup" in told(converge)
    assert made["auto_scaling_group_name"] == UNKNOWN
    assert simulation.writes() == []


def test_deleting_leaves_nothing_and_can_be_done_again(place, converge, simulation):
    made = converge(ensure(**place))
    converge(delete())
    assert converge.actions == ["delete", "leave"]
    assert simulation.boto("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"] == []
    groups = simulation.boto("ec2").describe_security_groups()["SecurityGroups"]
    assert made["node_security_group_id"] not in {group["GroupId"] for group in groups}
    simulation.forget_calls()
    assert converge(delete())["reasons"] == ["it is gone"]
    assert simulation.writes() == []


def test_an_existing_group_is_used_and_never_touched(place, converge, simulation):
    made = converge(ensure(**place))
    simulation.forget_calls()
    assert converge(ensure(existing=True)) == made
    assert converge(delete(existing=True))["action"] == "leave"
    assert simulation.writes() == []


def test_creation_goes_on_after_a_task_was_killed(place, aws, converge, simulation):
    simulation.set_durations(stack=0.2)
    group = SelfManagedNodegroup(cluster_name=NAME, nodegroup_name="workers", **place)
    group.apply(aws, group.plan(aws))
    converge(ensure(**place))
    assert converge.actions == ["leave"]
    assert len(simulation.boto("autoscaling").describe_auto_scaling_groups()["AutoScalingGroups"]) == 1


def test_it_is_not_ready_before_its_nodes_are(place, aws, converge, simulation):
    converge(ensure(**place))
    group = SelfManagedNodegroup(cluster_name=NAME, nodegroup_name="workers", **place)
    assert group.progress(aws).state is State.READY
    (instance,) = group_of(simulation)["Instances"]
    simulation.boto("autoscaling").set_instance_health(InstanceId=instance["InstanceId"], HealthStatus="Unhealthy")
    progress = group.progress(aws)
    assert progress.state is State.PENDING
    assert progress.detail == ("0 of at least 1 nodes are in service",)


@pytest.mark.parametrize(
    ("wanted", "problems"),
    [
        ({}, ["subnet_ids: is needed", "instance_types: is needed", "give either node_role_name or"]),
        ({"instance_types": ["large"]}, ["instance_types = 'large'"]),
        ({"instance_types": ["m7i.large"] * 5}, ["instance_types: must be 4 at most"]),
        ({"instance_profile_arn": "arn", "node_role_name": "node"}, ["give either node_role_name or"]),
        ({"instance_profile_arn": "arn"}, ["instance_profile_arn = 'arn'"]),
        ({"min_size": 4}, ["min_size, max_size = 4, 3: must not descend"]),
        ({"disk_size": 8}, ["disk_size = 8"]),
        ({"capacity_type": "spot", "architecture": "x86"}, ["capacity_type = 'spot'", "architecture = 'x86'"]),
        ({"labels": {"a b": "c d"}}, ["labels = 'a b'", "labels = 'c d'"]),
        ({"labels": {"node-role.kubernetes.io/worker": ""}}, ["Kubernetes lets no node give itself that one"]),
        (
            {"taints": [{"key": "dask", "effect": "NoSchedule", "for": "1"}]},
            ["taints: effect = 'NoSchedule'", "taints: for"],
        ),
        ({"nodegroup_name": "-"}, ["nodegroup_name = '-'"]),
    ],
)
def test_bad_input_is_refused_before_aws_is_asked(converge, simulation, wanted, problems):
    wanted = {"nodegroup_name": "workers", **wanted}
    operator = EnsureSelfManagedNodegroupOperator(task_id="nodes", cluster_name=NAME, **wanted)
    with pytest.raises(ResourceError) as error:
        converge(operator)
    assert all(problem in str(error.value) for problem in problems)
    assert simulation.calls() == []
