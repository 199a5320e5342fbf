"""Load balancers of a cluster's Services: found by the tags of Kubernetes, deleted with all that comes with them."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from airflow_eks_dask.operators.load_balancers import DeleteLoadBalancersOperator
from airflow_eks_dask.resources.base import ResourceError, State
from airflow_eks_dask.resources.load_balancers import ServiceLoadBalancers
from airflow_eks_dask.resources.ownership import TAG

NAME = "pipelines"
OWNED = {f"kubernetes.io/cluster/{NAME}": "owned"}
OF_CONTROLLER = {"elbv2.k8s.aws/cluster": NAME}
TRUST = '{"Version": "2012-10-17", "Statement": []}'


def as_list(tags):
    return [{"Key": key, "Value": value} for key, value in tags.items()]


class Place:
    """A network, and what is in it."""

    def __init__(self, simulation, cidr="10.0.0.0/16", *, ours=True):
        self.simulation = simulation
        self.ec2, self.elbv2, self.elb = (simulation.boto(service) for service in ("ec2", "elbv2", "elb"))
        tags = {TAG: NAME} if ours else {"Name": "office"}
        self.vpc = self.ec2.create_vpc(CidrBlock=cidr, TagSpecifications=self.spec("vpc", tags))["Vpc"]["VpcId"]
        (group,) = self.ec2.describe_security_groups(Filters=[{"Name": "vpc-id", "Values": [self.vpc]}])[
            "SecurityGroups"
        ]
        self.default_group = group["GroupId"]
        prefix = cidr.rpartition(".0.0/")[0]
        self.subnets = [
            self.ec2.create_subnet(
                VpcId=self.vpc, CidrBlock=f"{prefix}.{number}.0/24", AvailabilityZone=f"eu-central-1{zone}"
            )["Subnet"]["SubnetId"]
            for number, zone in enumerate("ab")
        ]

    def spec(self, kind, tags):
        return [{"ResourceType": kind, "Tags": as_list(tags)}] if tags else []

    def cluster(self, tags=None):
        role = self.simulation.boto("iam").create_role(RoleName="r", AssumeRolePolicyDocument=TRUST)["Role"]["Arn"]
        self.simulation.boto("eks").create_cluster(
            name=NAME,
            roleArn=role,
            resourcesVpcConfig={"subnetIds": self.subnets},
            tags={TAG: NAME} if tags is None else tags,
        )

    def balancer(self, name, tags, kind="network"):
        made = self.elbv2.create_load_balancer(Name=name, Subnets=self.subnets, Type=kind, Tags=as_list(tags))
        return made["LoadBalancers"][0]["LoadBalancerArn"]

    def classic(self, name, tags):
        listener = {"Protocol": "TCP", "LoadBalancerPort": 80, "InstancePort": 80}
        self.elb.create_load_balancer(
            LoadBalancerName=name,
            Listeners=[listener],
            Subnets=self.subnets,
            SecurityGroups=[self.default_group],
            Tags=as_list(tags),
        )

    def target_group(self, name, tags):
        made = self.elbv2.create_target_group(Name=name, Protocol="TCP", Port=80, VpcId=self.vpc, Tags=as_list(tags))
        return made["TargetGroups"][0]["TargetGroupArn"]

    def security_group(self, name, tags):
        return self.ec2.create_security_group(
            GroupName=name, Description=name, VpcId=self.vpc, TagSpecifications=self.spec("security-group", tags)
        )["GroupId"]

    def interface(self, description, tags=None):
        return self.ec2.create_network_interface(
            SubnetId=self.subnets[0],
            Description=description,
            TagSpecifications=self.spec("network-interface", tags),
        )["NetworkInterface"]["NetworkInterfaceId"]

    def admit(self, group, other, **port):
        rule = {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "UserIdGroupPairs": [{"GroupId": other}]}
        self.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule | port])

    def what_is_there(self):
        within = [{"Name": "vpc-id", "Values": [self.vpc]}]
        return {
            *(each["LoadBalancerName"] for each in self.elbv2.describe_load_balancers()["LoadBalancers"]),
            *(each["LoadBalancerName"] for each in self.elb.describe_load_balancers()["LoadBalancerDescriptions"]),
            *(each["TargetGroupName"] for each in self.elbv2.describe_target_groups()["TargetGroups"]),
            *(each["GroupName"] for each in self.ec2.describe_security_groups(Filters=within)["SecurityGroups"]),
            *(
                each["Description"]
                for each in self.ec2.describe_network_interfaces(Filters=within)["NetworkInterfaces"]
                if not each["Description"].startswith("ELB ")
            ),
        } - {"default"}


def delete(**wanted):
    return DeleteLoadBalancersOperator(task_id="delete", cluster_name=NAME, **wanted)


@pytest.fixture
def place(simulation):
    return Place(simulation)


@pytest.fixture
def full(place):
    place.balancer("nlb", OWNED)
    place.balancer("alb", OF_CONTROLLER, "application")
    place.classic("classic", OWNED)
    place.target_group("targets", OF_CONTROLLER)
    group = place.security_group("k8s-elb-1", OWNED)
    nodes = place.security_group("nodes", {TAG: NAME})
    place.admit(nodes, group)
    place.admit(group, place.security_group("k8s-traffic", OF_CONTROLLER))
    place.interface("aws-K8S-i-1", {"node.k8s.amazonaws.com/instance_id": "i-1"})
    place.interface("aws-K8S-i-2", {"cluster.k8s.amazonaws.com/name": NAME})
    return place


def test_all_that_the_cluster_made_goes_and_nothing_else(full, converge):
    full.balancer("web", {"team": "web"}, "application")
    full.balancer("shared", {f"kubernetes.io/cluster/{NAME}": "shared"})
    full.classic("old", {"kubernetes.io/cluster/other": "owned"})
    full.target_group("other", {"elbv2.k8s.aws/cluster": "other"})
    full.security_group("eks-cluster-sg", OWNED)
    full.interface("printer")
    converge(delete())
    assert full.what_is_there() == {"web", "shared", "old", "other", "eks-cluster-sg", "nodes", "printer"}


def test_it_is_the_same_while_the_cluster_is_there(full, converge):
    before = full.what_is_there()
    full.cluster()
    of_the_cluster_itself = full.what_is_there() - before
    converge(delete())
    assert full.what_is_there() == {"nodes"} | of_the_cluster_itself


def test_the_second_run_writes_nothing(full, converge, simulation):
    converge(delete())
    simulation.forget_calls()
    assert converge(delete())["reasons"] == ["there are none"]
    assert simulation.writes() == []


def test_a_dry_run_names_everything_and_writes_nothing(full, converge, simulation):
    simulation.forget_calls()
    plan = converge(delete(dry_run=True))
    assert plan["action"] == "delete"
    said = "; ".join(plan["reasons"])
    for name in ("network load balancer nlb", "application load balancer alb", "classic load balancer classic"):
        assert name in said
    for name in ("target group targets", "k8s-elb-1", "aws-K8S-i-1"):
        assert name in said
    assert simulation.writes() == []


def test_without_cluster_and_network_there_is_nothing_to_do(simulation, converge):
    assert converge(delete())["action"] == "leave"


def test_the_load_balancers_of_a_foreign_cluster_are_refused(full, converge, simulation):
    full.cluster(tags={})
    before = full.what_is_there()
    simulation.forget_calls()
    with pytest.raises(ResourceError, match="the cluster pipelines exists, and it was made by something else"):
        converge(delete())
    assert full.what_is_there() == before
    assert simulation.writes() == []


def test_those_of_a_cluster_that_is_only_used_are_left(full, converge, simulation):
    full.cluster(tags={})
    assert converge(delete(existing=True))["action"] == "leave"


def test_another_network_is_only_looked_at_when_it_is_given(simulation, converge):
    office = Place(simulation, ours=False)
    office.balancer("nlb", OWNED)
    # Whose nodes left it can't be told where other clusters may be.
    office.interface("aws-K8S-i-1", {"node.k8s.amazonaws.com/instance_id": "i-1"})
    assert converge(delete())["action"] == "leave"
    converge(delete(vpc_id=office.vpc))
    assert office.what_is_there() == {"aws-K8S-i-1"}


def test_rules_in_foreign_groups_are_not_touched(place, converge):
    group = place.security_group("k8s-elb-1", OWNED)
    groups = {name: place.security_group(name, tags) for name, tags in (("nodes", {TAG: NAME}), ("office", {}))}
    for each in groups.values():
        place.admit(each, group)
        place.admit(each, place.default_group, FromPort=443, ToPort=443)
    converge(delete())
    found = place.ec2.describe_security_groups(GroupIds=list(groups.values()))["SecurityGroups"]
    assert {each["GroupName"]: [rule["FromPort"] for rule in each["IpPermissions"]] for each in found} == {
        "nodes": [443],
        "office": [80, 443],
    }


@pytest.mark.parametrize("code", ["DependencyViolation", "ResourceInUse"])
def test_what_is_still_in_use_is_tried_again(code):
    error = ClientError({"Error": {"Code": code}}, "DeleteSecurityGroup")
    assert ServiceLoadBalancers(cluster_name=NAME).is_transient(error)


def test_it_waits_until_aws_has_removed_the_interfaces_of_load_balancers(place, aws, simulation):
    arn = place.balancer("nlb", OWNED)
    mine = place.interface(f"ELB {arn.partition(':loadbalancer/')[2]}")
    place.balancer("web", {"team": "web"})
    wanted = ServiceLoadBalancers(cluster_name=NAME)
    assert wanted.progress(aws).state is State.READY
    wanted.delete(aws, wanted.plan_deletion(aws))
    progress = wanted.progress(aws)
    assert progress.state is State.PENDING
    assert mine in progress.detail[0]
    place.ec2.delete_network_interface(NetworkInterfaceId=mine)
    assert wanted.progress(aws).state is State.READY


def test_what_is_still_there_is_said_when_the_time_is_over(place, converge):
    eni = place.interface("ELB net/gone/1")
    with pytest.raises(ResourceError, match=f"AWS has yet to remove network interface {eni} of ELB net/gone/1"):
        converge(delete(timeout=0.05))


def test_a_run_that_was_killed_after_its_first_step_is_finished_by_the_next(full, aws, converge):
    wanted = ServiceLoadBalancers(cluster_name=NAME)
    wanted.delete(aws, wanted.plan_deletion(aws))
    assert "targets" in full.what_is_there()
    converge(delete())
    assert full.what_is_there() == {"nodes"}


def test_what_somebody_else_deletes_meanwhile_is_no_error(full, aws, converge):
    wanted = ServiceLoadBalancers(cluster_name=NAME)
    wanted.delete(aws, wanted.plan_deletion(aws))
    seen = wanted.plan_deletion(aws)
    converge(delete())
    wanted.delete(aws, seen)
    assert full.what_is_there() == {"nodes"}


def test_a_bad_name_is_refused_before_aws_is_asked(simulation, converge):
    with pytest.raises(ResourceError, match="cluster_name"):
        converge(DeleteLoadBalancersOperator(task_id="delete", cluster_name="no such name"))
    assert simulation.calls() == []


def test_they_are_never_made(full, aws):
    wanted = ServiceLoadBalancers(cluster_name=NAME)
    assert wanted.examine(aws).action.value == "leave"
    assert "network load balancer nlb" in wanted.outputs(aws)["load_balancers"]
