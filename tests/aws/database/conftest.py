"""A network, and operators of a database in it."""

from __future__ import annotations

import pytest

from airflow_eks_dask.operators.database import DeleteDatabaseOperator, EnsureDatabaseOperator
from tests.aws.rds import NAME, Network


@pytest.fixture
def network(simulation):
    return Network(simulation.boto("ec2"), "10.0")


@pytest.fixture
def rds(simulation):
    return simulation.boto("rds")


@pytest.fixture
def wanted(network, rds):
    rds.create_db_subnet_group(
        DBSubnetGroupName=NAME, SubnetIds=network.subnets, DBSubnetGroupDescription="For it", Tags=[]
    )
    return {
        "cluster_name": NAME,
        "database_identifier": NAME,
        "subnet_group_name": NAME,
        "security_group_ids": network.groups[:1],
    }


@pytest.fixture
def ensure(converge, wanted):
    return lambda **other: converge(EnsureDatabaseOperator(task_id="ensure", **{**wanted, **other}))


@pytest.fixture
def delete(converge):
    def run(**other):
        return converge(DeleteDatabaseOperator(task_id="delete", cluster_name=NAME, database_identifier=NAME, **other))

    return run
