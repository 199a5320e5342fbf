"""The subnets that a database may be in."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from airflow_eks_dask.operators.database import DeleteDatabaseSubnetGroupOperator, EnsureDatabaseSubnetGroupOperator
from airflow_eks_dask.resources.base import UNKNOWN, ResourceError
from airflow_eks_dask.resources.database_subnet_group import DatabaseSubnetGroup
from tests.aws.rds import NAME, TAG, Network, tags_of


@pytest.fixture
def ensure_group(converge, network):
    wanted = {"cluster_name": NAME, "group_name": NAME, "subnet_ids": network.subnets[:2]}
    return lambda **other: converge(EnsureDatabaseSubnetGroupOperator(task_id="ensure", **{**wanted, **other}))


@pytest.fixture
def delete_group(converge):
    def run(**other):
        return converge(
            DeleteDatabaseSubnetGroupOperator(task_id="delete", cluster_name=NAME, group_name=NAME, **other)
        )

    return run


def group_of(rds, name=NAME):
    try:
        group = rds.describe_db_subnet_groups(DBSubnetGroupName=name)["DBSubnetGroups"][0]
    except rds.exceptions.DBSubnetGroupNotFoundFault:
        return None
    return group | {"Subnets": sorted(subnet["SubnetIdentifier"] for subnet in group["Subnets"])}


def test_a_subnet_group_has_the_wanted_subnets_and_its_owner(ensure_group, rds, network, simulation, converge):
    simulation.forget_calls()
    assert ensure_group() == {"subnet_group_name": NAME, "vpc_id": network.vpc}
    assert simulation.writes() == ["rds:CreateDBSubnetGroup"]
    group = group_of(rds)
    assert group["Subnets"] == network.subnets[:2]
    assert tags_of(rds, group["DBSubnetGroupArn"]) == {TAG: NAME}
    simulation.forget_calls()
    ensure_group()
    assert simulation.writes() == []
    assert converge.actions == ["leave"]


def test_a_subnet_group_that_drifted_is_mended(ensure_group, rds, network, converge):
    ensure_group(tags={"team": "etl"})
    arn = group_of(rds)["DBSubnetGroupArn"]
    rds.modify_db_subnet_group(
        DBSubnetGroupName=NAME, SubnetIds=network.subnets[1:], DBSubnetGroupDescription="Something else"
    )
    rds.remove_tags_from_resource(ResourceName=arn, TagKeys=["team"])
    ensure_group(tags={"team": "etl"})
    assert group_of(rds)["Subnets"] == network.subnets[:2]
    assert group_of(rds)["DBSubnetGroupDescription"] == "Made by airflow-eks-dask"
    assert tags_of(rds, arn) == {TAG: NAME, "team": "etl"}
    assert len(converge.plans[0]["reasons"]) == 3


def test_a_subnet_group_of_another_vpc_is_made_anew_if_it_is_empty(ensure_group, rds, simulation, converge):
    ensure_group()
    other = Network(simulation.boto("ec2"), "10.9")
    assert ensure_group(subnet_ids=other.subnets)["vpc_id"] == other.vpc
    assert converge.actions == ["delete", "create", "leave"]
    assert group_of(rds)["Subnets"] == other.subnets


def test_a_foreign_subnet_group_is_refused_and_untouched(ensure_group, delete_group, rds, network, simulation):
    rds.create_db_subnet_group(
        DBSubnetGroupName=NAME, SubnetIds=network.subnets, DBSubnetGroupDescription="Theirs", Tags=[]
    )
    before = group_of(rds)
    simulation.forget_calls()
    for run in (ensure_group, delete_group):
        with pytest.raises(ResourceError, match="has not the tag airflow-eks-dask/cluster=pipelines"):
            run()
    assert simulation.writes() == []
    assert group_of(rds) == before


def test_a_subnet_group_is_deleted_and_twice_is_no_error(ensure_group, delete_group, rds, simulation):
    ensure_group()
    assert delete_group(keep=True)["reasons"] == ["it is kept: keep is set"]
    assert group_of(rds) is not None
    simulation.fail("dropped", operation="DeleteDBSubnetGroup")
    assert delete_group()["reasons"] == ["it is gone"]
    assert group_of(rds) is None
    simulation.forget_calls()
    assert delete_group()["action"] == "leave"
    assert simulation.writes() == []


def test_a_subnet_group_in_use_is_tried_again():
    error = ClientError({"Error": {"Code": "InvalidDBSubnetGroupStateFault", "Message": ""}}, "DeleteDBSubnetGroup")
    assert DatabaseSubnetGroup(cluster_name=NAME, group_name=NAME).is_transient(error)


def test_an_existing_subnet_group_is_left_alone(converge, rds, network, simulation):
    rds.create_db_subnet_group(
        DBSubnetGroupName="theirs", SubnetIds=network.subnets, DBSubnetGroupDescription="Theirs", Tags=[]
    )
    simulation.forget_calls()
    use = EnsureDatabaseSubnetGroupOperator(task_id="use", cluster_name=NAME, group_name="theirs", existing=True)
    assert converge(use) == {"subnet_group_name": "theirs", "vpc_id": network.vpc}
    leave = DeleteDatabaseSubnetGroupOperator(task_id="leave", cluster_name=NAME, group_name="theirs", existing=True)
    assert converge(leave)["reasons"] == ["it is not ours to delete"]
    assert simulation.writes() == []


def test_a_dry_run_makes_no_subnet_group(ensure_group, delete_group, rds, simulation, converge):
    simulation.forget_calls()
    assert ensure_group(dry_run=True, subnet_ids=[UNKNOWN]) == {"subnet_group_name": NAME, "vpc_id": UNKNOWN}
    assert converge.actions == ["create"]
    assert group_of(rds) is None
    assert simulation.writes() == []


def test_bad_input_for_a_subnet_group_is_refused_at_once(ensure_group, simulation):
    simulation.forget_calls()
    with pytest.raises(ResourceError) as error:
        ensure_group(group_name="Default", subnet_ids=["subnet-x"], description="")
    for words in ("group_name = 'Default'", "subnet_ids = 'subnet-x'", "needs two or more", "description: is needed"):
        assert words in str(error.value)
    assert simulation.calls() == []
