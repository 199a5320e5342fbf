"""Security groups: who may reach the database."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from airflow_eks_dask.operators.database import DeleteSecurityGroupOperator, EnsureSecurityGroupOperator
from airflow_eks_dask.resources.base import UNKNOWN, Action, ResourceError
from airflow_eks_dask.resources.security_group import SecurityGroup

TAG = "airflow-eks-dask/cluster"
NAME = "pipelines-database"


@pytest.fixture
def ec2(simulation):
    return simulation.boto("ec2")


@pytest.fixture
def vpc(ec2):
    return ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]


@pytest.fixture
def nodes(ec2, vpc):
    return ec2.create_security_group(GroupName="nodes", Description="Nodes", VpcId=vpc)["GroupId"]


@pytest.fixture
def wanted(vpc, nodes):
    rule = {"source": nodes, "port": 5432}
    return {"cluster_name": "pipelines", "group_name": NAME, "vpc_id": vpc, "ingress": [rule]}


@pytest.fixture
def ensure(converge, wanted):
    return lambda **other: converge(EnsureSecurityGroupOperator(task_id="ensure", **{**wanted, **other}))


@pytest.fixture
def delete(converge):
    def run(**other):
        operator = DeleteSecurityGroupOperator(task_id="delete", cluster_name="pipelines", group_name=NAME, **other)
        return converge(operator)

    return run


@pytest.fixture
def group(ec2):
    """The group as EC2 describes it; None if there is none."""

    def look():
        groups = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [NAME]}])["SecurityGroups"]
        assert len(groups) < 2
        return groups[0] if groups else None

    return look


def rules_of(group, direction="IpPermissions"):
    return sorted(
        (rule["IpProtocol"], rule.get("FromPort"), peer)
        for rule in group[direction]
        for peer in (
            *(pair["GroupId"] for pair in rule["UserIdGroupPairs"]),
            *(network["CidrIp"] for network in rule["IpRanges"]),
        )
    )


def test_it_admits_what_is_wanted_and_nothing_gets_out(ensure, group, converge, wanted, nodes, vpc):
    result = ensure(ingress=[*wanted["ingress"], {"source": "10.1.0.0/16", "port": 6432, "protocol": "udp"}])
    made = group()
    assert result == {"security_group_id": made["GroupId"], "security_group_name": NAME, "vpc_id": vpc}
    assert rules_of(made) == [("tcp", 5432, nodes), ("udp", 6432, "10.1.0.0/16")]
    assert made["IpPermissionsEgress"] == []
    assert made["Tags"] == [{"Key": TAG, "Value": "pipelines"}]
    assert converge.actions == ["create", "change", "leave"]


def test_what_may_get_out_can_be_said(ensure, group):
    ensure(egress=[{"destination": "10.0.0.0/8", "port": 443}])
    assert rules_of(group(), "IpPermissionsEgress") == [("tcp", 443, "10.0.0.0/8")]


def test_a_second_run_writes_nothing(ensure, simulation, converge):
    first = ensure()
    simulation.forget_calls()
    assert ensure() == first
    assert simulation.writes() == []
    assert converge.actions == ["leave"]


def test_it_has_its_owner_from_the_first_call(aws, wanted, simulation, group):
    resource = SecurityGroup(**wanted)
    simulation.forget_calls()
    resource.apply(aws, resource.plan(aws))
    assert simulation.writes() == ["ec2:CreateSecurityGroup"]
    assert group()["Tags"] == [{"Key": TAG, "Value": "pipelines"}]


def test_a_run_that_was_killed_after_the_first_call_is_finished_by_the_next(aws, wanted, ensure, group, nodes):
    resource = SecurityGroup(**wanted)
    resource.apply(aws, resource.plan(aws))
    ensure()
    assert rules_of(group()) == [("tcp", 5432, nodes)]
    assert group()["IpPermissionsEgress"] == []


def test_a_call_whose_answer_was_lost_is_no_error(simulation, ensure, group, nodes):
    for operation in ("CreateSecurityGroup", "AuthorizeSecurityGroupIngress", "RevokeSecurityGroupEgress"):
        simulation.fail("dropped", operation=operation)
    ensure()
    assert rules_of(group()) == [("tcp", 5432, nodes)]
    assert group()["IpPermissionsEgress"] == []


def test_rules_that_are_not_wanted_are_taken_away(ensure, ec2, group, nodes, converge):
    group_id = ensure()["security_group_id"]
    ec2.authorize_security_group_ingress(
        GroupId=group_id,
        IpPermissions=[
            {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]},
            {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "Ipv6Ranges": [{"CidrIpv6": "::/0"}]},
            {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": nodes}]},
        ],
    )
    ensure()
    assert converge.actions == ["change", "leave"]
    (reason,) = converge.plans[0]["reasons"]
    for words in ("tcp 22 of 0.0.0.0/0", "tcp 5432 of ::/0", f"all ports of {nodes}"):
        assert words in reason
    assert rules_of(group()) == [("tcp", 5432, nodes)]
    assert group()["IpPermissions"][0]["Ipv6Ranges"] == []


def test_rules_that_are_missing_are_made(ensure, ec2, group, nodes, converge):
    group_id = ensure()["security_group_id"]
    ec2.revoke_security_group_ingress(GroupId=group_id, IpPermissions=group()["IpPermissions"])
    ensure()
    assert rules_of(group()) == [("tcp", 5432, nodes)]
    assert f"ingress missing: tcp 5432 of {nodes}" in converge.plans[0]["reasons"]


def test_another_port_takes_the_place_of_the_old_one(ensure, group, nodes):
    ensure()
    ensure(ingress=[{"source": nodes, "port": 6432}])
    assert rules_of(group()) == [("tcp", 6432, nodes)]


def test_tags_are_added_and_others_left(ensure, ec2, group):
    group_id = ensure()["security_group_id"]
    ec2.create_tags(Resources=[group_id], Tags=[{"Key": "cost", "Value": "data"}, {"Key": "team", "Value": "other"}])
    ensure(tags={"team": "etl"})
    assert {tag["Key"]: tag["Value"] for tag in group()["Tags"]} == {TAG: "pipelines", "cost": "data", "team": "etl"}


@pytest.mark.parametrize("tags", [[], [{"Key": TAG, "Value": "others"}]], ids=["no tag", "another cluster"])
def test_a_foreign_group_is_refused_and_untouched(ensure, delete, ec2, vpc, group, tags, simulation):
    ec2.create_security_group(
        GroupName=NAME,
        Description="Not ours",
        VpcId=vpc,
        TagSpecifications=[{"ResourceType": "security-group", "Tags": tags}] if tags else [],
    )
    before = group()
    simulation.forget_calls()
    with pytest.raises(ResourceError, match="has not the tag airflow-eks-dask/cluster=pipelines"):
        ensure()
    with pytest.raises(ResourceError, match="has not the tag"):
        delete(vpc_id=vpc)
    assert simulation.writes() == []
    assert group() == before


def test_a_group_of_the_same_name_in_another_vpc_is_another(ensure, delete, ec2, group):
    other = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    foreign = ec2.create_security_group(GroupName=NAME, Description="Not ours", VpcId=other)["GroupId"]
    ensure()
    assert delete()["reasons"] == ["it is gone"]
    assert group()["GroupId"] == foreign


def test_ours_in_two_vpcs_are_deleted_only_if_one_is_named(ensure, delete, ec2, vpc):
    other = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
    ensure()
    kept = ensure(vpc_id=other, ingress=[])["security_group_id"]
    with pytest.raises(ResourceError, match="say which with vpc_id"):
        delete()
    delete(vpc_id=vpc)
    groups = ec2.describe_security_groups(Filters=[{"Name": "group-name", "Values": [NAME]}])["SecurityGroups"]
    assert [group["GroupId"] for group in groups] == [kept]


def test_deleting_it_twice_is_no_error(ensure, delete, group, simulation, converge):
    ensure()
    assert delete() == {"kind": "Security group", "name": NAME, "action": "leave", "reasons": ["it is gone"]}
    assert converge.actions == ["delete", "leave"]
    assert group() is None
    simulation.forget_calls()
    assert delete()["action"] == "leave"
    assert simulation.writes() == []


def test_what_still_uses_it_is_said(ensure, ec2, vpc, aws):
    group_id = ensure()["security_group_id"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    interface = ec2.create_network_interface(SubnetId=subnet, Groups=[group_id], Description="RDSNetworkInterface")
    interface_id = interface["NetworkInterface"]["NetworkInterfaceId"]
    plan = SecurityGroup(cluster_name="pipelines", group_name=NAME).plan_deletion(aws)
    assert plan.action is Action.DELETE
    assert plan.reasons == (f"{interface_id} still uses it (RDSNetworkInterface)",)


def test_it_is_deleted_as_soon_as_nothing_uses_it_any_more(ensure, delete, group, aws, monkeypatch):
    ensure()
    refusals = iter(range(2))
    really_delete = SecurityGroup.delete

    def delete_unless_used(self, aws, plan):
        if next(refusals, None) is not None:
            raise ClientError({"Error": {"Code": "DependencyViolation", "Message": "in use"}}, "DeleteSecurityGroup")
        really_delete(self, aws, plan)

    monkeypatch.setattr(SecurityGroup, "delete", delete_unless_used)
    monkeypatch.setattr("tenacity.nap.time.sleep", lambda _: None)
    delete()
    assert group() is None


def test_it_is_left_with_a_database_that_is_kept(ensure, delete, group):
    ensure()
    assert delete(keep=True)["reasons"] == ["it is kept: keep is set"]
    assert group() is not None


def test_an_existing_group_is_given_by_its_id_and_left_alone(ensure, converge, nodes, vpc, simulation):
    simulation.forget_calls()
    operator = EnsureSecurityGroupOperator(task_id="use", cluster_name="pipelines", group_id=nodes, existing=True)
    assert converge(operator) == {"security_group_id": nodes, "security_group_name": "nodes", "vpc_id": vpc}
    operator = DeleteSecurityGroupOperator(task_id="not", cluster_name="pipelines", group_id=nodes, existing=True)
    assert converge(operator)["reasons"] == ["it is not ours to delete"]
    assert simulation.writes() == []


def test_an_existing_group_that_lacks_a_rule_says_so(converge, nodes):
    rule = {"source": "10.0.0.0/16", "port": 5432}
    operator = EnsureSecurityGroupOperator(
        task_id="use", cluster_name="pipelines", group_id=nodes, existing=True, ingress=[rule]
    )
    converge(operator)
    assert converge.plans[0]["reasons"] == ["not ours to change: ingress missing: tcp 5432 of 10.0.0.0/16"]


def test_an_existing_group_has_to_be_there(converge):
    operator = EnsureSecurityGroupOperator(
        task_id="use", cluster_name="pipelines", group_id="sg-0123456789abcdef0", existing=True
    )
    with pytest.raises(ResourceError, match="is to be there already, and is not"):
        converge(operator)


def test_a_dry_run_changes_nothing(ensure, group, converge, simulation):
    simulation.forget_calls()
    result = ensure(dry_run=True, vpc_id=UNKNOWN, ingress=[{"source": UNKNOWN, "port": 5432}])
    assert result == {"security_group_id": UNKNOWN, "security_group_name": NAME, "vpc_id": UNKNOWN}
    assert converge.plans == [
        {
            "kind": "Security group",
            "name": NAME,
            "action": "create",
            "reasons": ["there is none"],
            "monthly_cost": 0.0,
        }
    ]
    assert simulation.writes() == []
    assert group() is None


def test_a_dry_run_shows_drift_and_mends_none(ensure, group, converge, simulation):
    ensure()
    simulation.forget_calls()
    ensure(dry_run=True, ingress=[])
    assert converge.actions == ["change"]
    assert simulation.writes() == []


def test_bad_input_is_refused_at_once_and_all_of_it(converge, simulation):
    operator = EnsureSecurityGroupOperator(
        task_id="bad",
        cluster_name="-",
        group_name="sg-name",
        vpc_id="net",
        description="é",
        ingress=[
            {"source": "0.0.0.0/0", "port": 5432},
            {"source": "10.0.0.1/16", "port": 0},
            {"source": "nodes", "port": "x", "protocol": "icmp", "ports": 1},
            {},
        ],
        egress=[{"destination": "8.8.8.0/24", "port": 53}],
    )
    with pytest.raises(ResourceError) as error:
        converge(operator)
    for words in (
        "cluster_name = '-'",
        "group_name = 'sg-name'",
        "vpc_id = 'net'",
        "description = 'é'",
        "ingress[0].source = '0.0.0.0/0': must be a private network",
        "ingress[1].source = '10.0.0.1/16'",
        "ingress[1].port = '0'",
        "ingress[2].source = 'nodes'",
        "ingress[2].port = 'x'",
        "ingress[2].protocol = 'icmp'",
        "ingress[2]: 'ports' is unknown",
        "ingress[3].port = ''",
        "egress[0].destination = '8.8.8.0/24': must be a private network",
    ):
        assert words in str(error.value)
    assert simulation.calls() == []


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "group_name"),
        ({"group_name": NAME}, "vpc_id: is needed"),
        ({"group_id": "sg-0123456789abcdef0"}, "group_id: is for existing groups"),
        ({"group_id": "x", "existing": True}, "group_id = 'x'"),
    ],
)
def test_it_has_to_be_said_which_group(given, problem):
    assert any(problem in found for found in SecurityGroup(cluster_name="pipelines", **given).problems())
