"""The network: made by a stack, changed through change sets, set right when others change it; or given."""

from __future__ import annotations

import pytest

from airflow_eks_dask.operators.network import DeleteNetworkOperator, EnsureNetworkOperator
from airflow_eks_dask.resources.base import UNKNOWN, Action, ResourceError, State
from airflow_eks_dask.resources.change_set import NAME as CHANGE_SET
from airflow_eks_dask.resources.network import Network
from airflow_eks_dask.resources.ownership import TAG, as_mapping

NAME = "pipelines"
STACK = "pipelines-network"
NO_VPCS_LEFT = "The maximum number of VPCs has been reached."
SMALLEST_TEMPLATE = '{"Resources": {"Gateway": {"Type": "AWS::EC2::InternetGateway"}}}'


def ensure(**wanted):
    return EnsureNetworkOperator(task_id="network", cluster_name=NAME, **wanted)


def delete(**wanted):
    return DeleteNetworkOperator(task_id="delete", cluster_name=NAME, **wanted)


def told(converge):
    return "; ".join(converge.plans[0]["reasons"])


@pytest.fixture
def ec2(simulation):
    return simulation.boto("ec2")


@pytest.fixture
def stacks(simulation):
    return simulation.boto("cloudformation")


def subnets(ec2, ids):
    return ec2.describe_subnets(SubnetIds=ids)["Subnets"]


def tags_of(subnet):
    return as_mapping(subnet["Tags"])


def internet_routes(ec2, subnet_id):
    (table,) = ec2.describe_route_tables(Filters=[{"Name": "association.subnet-id", "Values": [subnet_id]}])[
        "RouteTables"
    ]
    return [route for route in table["Routes"] if route.get("DestinationCidrBlock") == "0.0.0.0/0"]


def gateways(ec2):
    found = ec2.describe_nat_gateways()["NatGateways"]
    return [gateway["NatGatewayId"] for gateway in found if gateway["State"] == "available"]


def test_public_and_private_subnets_are_told_apart(ec2, converge):
    made = converge(ensure(zones=3))
    assert converge.actions == ["create", "leave"]
    assert made["cidr"] == "10.0.0.0/16"
    assert made["availability_zones"] == ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
    for kind, blocks, role in (
        ("private", ["10.0.0.0/18", "10.0.64.0/18", "10.0.128.0/18"], "kubernetes.io/role/internal-elb"),
        ("public", ["10.0.192.0/20", "10.0.208.0/20", "10.0.224.0/20"], "kubernetes.io/role/elb"),
    ):
        found = subnets(ec2, made[f"{kind}_subnet_ids"])
        assert sorted(subnet["CidrBlock"] for subnet in found) == sorted(blocks)
        assert sorted(subnet["AvailabilityZone"] for subnet in found) == made["availability_zones"]
        assert {tags_of(subnet)[role] for subnet in found} == {"1"}
        assert {tags_of(subnet)[f"kubernetes.io/cluster/{NAME}"] for subnet in found} == {"shared"}
        assert not any(subnet["MapPublicIpOnLaunch"] for subnet in found)


def test_all_that_is_made_carries_our_tag(ec2, converge):
    made = converge(ensure())
    assert tags_of(ec2.describe_vpcs(VpcIds=[made["vpc_id"]])["Vpcs"][0])[TAG] == NAME
    for subnet in subnets(ec2, [*made["public_subnet_ids"], *made["private_subnet_ids"]]):
        assert tags_of(subnet)[TAG] == NAME


@pytest.mark.parametrize(("nat", "count"), [("none", 0), ("single", 1), ("one_per_zone", 2)])
def test_private_subnets_reach_the_internet_through_nat_only(ec2, converge, nat, count):
    made = converge(ensure(nat_gateways=nat))
    assert len(gateways(ec2)) == count
    routes = [route for subnet in made["private_subnet_ids"] for route in internet_routes(ec2, subnet)]
    assert len({route["NatGatewayId"] for route in routes}) == count
    assert all(internet_routes(ec2, subnet)[0]["GatewayId"].startswith("igw-") for subnet in made["public_subnet_ids"])


def test_there_need_be_no_public_subnets(ec2, converge):
    made = converge(ensure(public_subnets=False, nat_gateways="none"))
    assert made["public_subnet_ids"] == []
    assert len(made["private_subnet_ids"]) == 2
    assert ec2.describe_internet_gateways()["InternetGateways"] == []


def test_the_second_run_writes_nothing(converge, simulation):
    first = converge(ensure())
    simulation.forget_calls()
    assert converge(ensure()) == first
    assert converge.actions == ["leave"]
    assert simulation.writes() == []


def test_zones_and_gateways_are_added_and_what_is_there_stays(ec2, converge):
    before = converge(ensure())
    after = converge(ensure(zones=3, nat_gateways="one_per_zone"))
    assert converge.actions == ["change", "leave"]
    assert "NatGateways is single, not one_per_zone" in told(converge)
    assert "AWS will add PrivateSubnet3 (AWS::EC2::Subnet)" in told(converge)
    for kind in ("public_subnet_ids", "private_subnet_ids"):
        assert after[kind][:2] == before[kind]
        assert len(after[kind]) == 3
    assert len(gateways(ec2)) == 3


def test_more_tags_reach_all_resources(ec2, converge):
    converge(ensure())
    made = converge(ensure(tags={"team": "data"}))
    assert converge.actions == ["change", "leave"]
    assert "tags missing or different: team" in told(converge)
    assert tags_of(subnets(ec2, made["private_subnet_ids"])[0])["team"] == "data"


def test_zones_stay_when_aws_offers_others(aws):
    found = {"Zone1": "eu-central-1c", "Zone2": "eu-central-1a", "Zone3": ""}
    wanted = Network(cluster_name=NAME, zones=3).parameters(aws, found)
    assert [wanted["Zone1"], wanted["Zone2"], wanted["Zone3"]] == ["eu-central-1c", "eu-central-1a", "eu-central-1b"]


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        ({"cidr": "10.1.0.0/16"}, "VpcCidr is 10.0.0.0/16, not 10.1.0.0/16"),
        ({"availability_zones": ["eu-central-1b", "eu-central-1c"]}, "Zone1 is eu-central-1a, not eu-central-1b"),
    ],
)
def test_subnets_are_not_moved(converge, simulation, wanted, reason):
    converge(ensure())
    simulation.forget_calls()
    with pytest.raises(ResourceError, match=reason):
        converge(ensure(**wanted))
    assert simulation.writes() == []


def test_a_tag_that_somebody_took_is_put_back(ec2, converge):
    subnet = converge(ensure())["private_subnet_ids"][0]
    ec2.delete_tags(Resources=[subnet], Tags=[{"Key": "kubernetes.io/role/internal-elb"}])
    converge(ensure())
    assert converge.actions == ["change", "leave"]
    assert f"PrivateSubnet1 ({subnet}) was changed by somebody" in told(converge)
    assert tags_of(subnets(ec2, [subnet])[0])["kubernetes.io/role/internal-elb"] == "1"


def test_a_route_that_somebody_deleted_is_made_again(ec2, converge):
    subnet = converge(ensure())["private_subnet_ids"][1]
    filters = [{"Name": "association.subnet-id", "Values": [subnet]}]
    table = ec2.describe_route_tables(Filters=filters)["RouteTables"][0]["RouteTableId"]
    ec2.delete_route(RouteTableId=table, DestinationCidrBlock="0.0.0.0/0")
    converge(ensure())
    assert converge.actions == ["change", "leave"]
    assert "was deleted by somebody" in told(converge)
    assert len(internet_routes(ec2, subnet)) == 1


def test_drift_is_not_looked_for_if_not_wanted(converge, simulation):
    converge(ensure(detect_drift=False))
    assert "cloudformation:DetectStackDrift" not in map(str, simulation.calls())


def test_a_dry_run_tells_what_will_be_there_and_makes_nothing(converge, simulation):
    made = converge(ensure(dry_run=True, zones=3, nat_gateways="one_per_zone"))
    assert converge.actions == ["create"]
    assert "3 NatGateway" in told(converge)
    assert "6 Subnet" in told(converge)
    assert made["vpc_id"] == UNKNOWN
    assert made["private_subnet_ids"] == [UNKNOWN] * 3
    assert simulation.writes() == []


def test_a_dry_run_of_a_change_leaves_no_change_set(converge, stacks):
    converge(ensure())
    before = stacks.describe_stacks(StackName=STACK)["Stacks"][0]
    converge(ensure(dry_run=True, nat_gateways="one_per_zone"))
    assert "AWS will add NatGateway2 (AWS::EC2::NatGateway)" in told(converge)
    assert stacks.list_change_sets(StackName=STACK)["Summaries"] == []
    assert stacks.describe_stacks(StackName=STACK)["Stacks"][0] == before


def test_a_change_set_that_a_killed_task_left_is_no_hindrance(converge, stacks):
    converge(ensure())
    stacks.create_change_set(
        StackName=STACK, ChangeSetName=CHANGE_SET, ChangeSetType="UPDATE", TemplateBody=SMALLEST_TEMPLATE
    )
    converge(ensure(zones=3))
    assert converge.actions == ["change", "leave"]
    assert stacks.list_change_sets(StackName=STACK)["Summaries"] == []


def test_a_stack_of_somebody_else_is_refused(converge, simulation, stacks):
    stacks.create_stack(StackName=STACK, TemplateBody=SMALLEST_TEMPLATE)
    simulation.forget_calls()
    for operator in (ensure(), delete()):
        with pytest.raises(ResourceError, match="made by something else"):
            converge(operator)
    assert simulation.writes() == []


def test_creation_goes_on_after_a_task_was_killed(aws, converge, simulation, stacks):
    simulation.set_durations(stack=0.2)
    network = Network(cluster_name=NAME)
    network.apply(aws, network.plan(aws))
    converge(ensure())
    assert converge.actions == ["leave"]
    assert len(stacks.describe_stacks()["Stacks"]) == 1


def test_events_are_told_while_it_is_made(aws, simulation):
    simulation.set_durations(stack=600)
    network = Network(cluster_name=NAME)
    network.apply(aws, network.plan(aws))
    progress = network.progress(aws)
    assert progress.state is State.PENDING
    assert any("PrivateSubnet1 (AWS::EC2::Subnet) CREATE_IN_PROGRESS" in line for line in progress.detail)


def test_a_creation_that_failed_is_told_with_its_reason_and_made_anew(ec2, converge, simulation):
    simulation.spoil("stack", NO_VPCS_LEFT)
    with pytest.raises(ResourceError, match=NO_VPCS_LEFT):
        converge(ensure())
    converge(ensure())
    assert converge.actions == ["delete", "create", "leave"]
    assert NO_VPCS_LEFT in told(converge)
    assert len(ec2.describe_vpcs(Filters=[{"Name": f"tag:{TAG}", "Values": [NAME]}])["Vpcs"]) == 1


def test_a_change_that_failed_is_told_with_its_reason_and_made_by_the_next_run(converge, simulation):
    converge(ensure())
    simulation.spoil("stack", "The maximum number of addresses has been reached.")
    with pytest.raises(ResourceError, match="maximum number of addresses"):
        converge(ensure(nat_gateways="one_per_zone"))
    converge(ensure(nat_gateways="one_per_zone"))
    assert converge.actions == ["change", "leave"]


def test_deleting_leaves_nothing_and_can_be_done_again(ec2, converge, simulation, stacks):
    converge(ensure(nat_gateways="one_per_zone", zones=3))
    converge(delete())
    assert converge.actions == ["delete", "leave"]
    assert [vpc for vpc in ec2.describe_vpcs()["Vpcs"] if not vpc["IsDefault"]] == []
    assert ec2.describe_addresses()["Addresses"] == []
    assert gateways(ec2) == []
    assert stacks.describe_stacks()["Stacks"] == []
    simulation.forget_calls()
    assert converge(delete())["reasons"] == ["it is gone"]
    assert simulation.writes() == []


def test_what_keeps_it_from_being_deleted_is_told(ec2, converge):
    made = converge(ensure())
    group = ec2.create_security_group(GroupName="left", Description="left", VpcId=made["vpc_id"])["GroupId"]
    with pytest.raises(ResourceError, match="has dependencies and cannot be deleted: security group left"):
        converge(delete())
    ec2.delete_security_group(GroupId=group)
    converge(delete())
    assert converge.actions == ["delete", "leave"]


def test_a_protected_stack_is_refused(converge, simulation, stacks):
    stacks.create_stack(
        StackName=STACK,
        TemplateBody=SMALLEST_TEMPLATE,
        Tags=[{"Key": TAG, "Value": NAME}],
        EnableTerminationProtection=True,
    )
    simulation.forget_calls()
    with pytest.raises(ResourceError, match="protected against being deleted"):
        converge(delete())
    assert simulation.writes() == []


def test_an_existing_network_is_passed_on_and_never_touched(ec2, converge, simulation):
    made = converge(ensure())
    # moto doesn't do so when a stack wants it.
    ec2.modify_vpc_attribute(VpcId=made["vpc_id"], EnableDnsHostnames={"Value": True})
    given = {name: made[name] for name in ("vpc_id", "public_subnet_ids", "private_subnet_ids")}
    simulation.forget_calls()
    assert converge(ensure(existing=True, **given)) == made
    assert converge(delete(existing=True, **given))["action"] == "leave"
    assert simulation.writes() == []


def test_all_that_is_wrong_with_an_existing_network_is_told(ec2, converge):
    vpc, other = (ec2.create_vpc(CidrBlock=cidr)["Vpc"]["VpcId"] for cidr in ("10.7.0.0/16", "10.8.0.0/16"))
    zone = {"AvailabilityZone": "eu-central-1a"}
    here = ec2.create_subnet(VpcId=vpc, CidrBlock="10.7.0.0/24", **zone)["Subnet"]["SubnetId"]
    there = ec2.create_subnet(VpcId=other, CidrBlock="10.8.0.0/24", **zone)["Subnet"]["SubnetId"]
    absent = "subnet-00000000"
    with pytest.raises(ResourceError) as error:
        converge(ensure(existing=True, vpc_id=vpc, private_subnet_ids=[here, there, absent]))
    for problem in (
        f"subnet {absent} is not there",
        f"subnet {there} is in {other}, not in {vpc}",
        "the subnets are in eu-central-1a: EKS needs two zones",
        "enableDnsHostnames is off",
    ):
        assert problem in str(error.value)


def test_an_existing_network_that_is_not_there_is_refused(converge):
    with pytest.raises(ResourceError, match="VPC vpc-00000000 is not there"):
        converge(ensure(existing=True, vpc_id="vpc-00000000", private_subnet_ids=["subnet-00000000"]))


@pytest.mark.parametrize(
    ("wanted", "problems"),
    [
        (
            {"cidr": "10.0.0.1/16", "zones": 4, "nat_gateways": "two"},
            ["cidr = '10.0.0.1/16'", "zones = 4: must be 2 or 3", "nat_gateways = 'two'"],
        ),
        ({"cidr": "10.0.0.0/25"}, ["cidr = '10.0.0.0/25': must be from /16 to /24"]),
        ({"cidr": "10.0.0.0/8"}, ["cidr = '10.0.0.0/8': must be from /16 to /24"]),
        ({"public_subnets": False}, ["nat_gateways = 'single': NAT gateways need public_subnets"]),
        ({"availability_zones": ["eu-central-1a"]}, ["availability_zones: must be as many as zones says, which is 2"]),
        ({"availability_zones": ["a", "b"]}, ["availability_zones = 'a'", "availability_zones = 'b'"]),
        ({"vpc_id": "vpc-00000000"}, ["vpc_id, public_subnet_ids, private_subnet_ids: are for existing networks"]),
        ({"stack_name": "1_network"}, ["stack_name = '1_network'"]),
        (
            {"existing": True, "vpc_id": "vpc", "public_subnet_ids": ["subnet"]},
            ["vpc_id = 'vpc'", "public_subnet_ids = 'subnet'"],
        ),
        ({"existing": True, "vpc_id": "vpc-00000000"}, ["public_subnet_ids or private_subnet_ids: is needed"]),
    ],
)
def test_bad_input_is_refused_before_aws_is_asked(converge, simulation, wanted, problems):
    with pytest.raises(ResourceError) as error:
        converge(ensure(**wanted))
    assert all(problem in str(error.value) for problem in problems)
    assert simulation.calls() == []


def test_the_plan_of_an_unknown_existing_network_is_to_leave_it(aws, simulation):
    network = Network(cluster_name=NAME, existing=True, vpc_id=UNKNOWN, private_subnet_ids=[UNKNOWN])
    assert network.problems() == []
    assert network.examine(aws).action is Action.LEAVE
    assert network.outputs(aws)["cidr"] == UNKNOWN
    assert simulation.calls() == []
