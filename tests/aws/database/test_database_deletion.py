"""A database is deleted only if that is asked for, and what becomes of its data."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from airflow_eks_dask.resources.base import ResourceError
from airflow_eks_dask.resources.database import Database
from tests.aws.answers import answer
from tests.aws.rds import NAME, database_of, snapshots_of


def test_data_is_kept_unless_its_deletion_is_asked_for(ensure, delete, rds, simulation):
    ensure()
    simulation.forget_calls()
    assert delete()["reasons"] == ["it is kept, with its data; with keep = False it would be deleted"]
    assert simulation.writes() == []
    assert database_of(rds)["DeletionProtection"] is True


def test_its_deletion_lifts_the_protection_and_takes_a_final_snapshot(ensure, delete, rds, converge):
    ensure()
    assert delete(keep=False)["reasons"] == ["it is gone; its snapshots are kept: pipelines-final"]
    assert converge.actions == ["delete", "delete", "leave"]
    assert database_of(rds) is None
    assert snapshots_of(rds) == ["pipelines-final"]


def test_a_final_snapshot_never_takes_the_place_of_another(ensure, delete, rds):
    for _ in range(3):
        ensure()
        delete(keep=False)
    assert snapshots_of(rds) == ["pipelines-final", "pipelines-final-2", "pipelines-final-3"]


def test_its_deletion_can_do_without_a_snapshot(ensure, delete, rds):
    ensure()
    assert delete(keep=False, final_snapshot=False)["reasons"] == ["it is gone"]
    assert snapshots_of(rds) == []


def test_a_failed_database_is_deleted_only_without_a_snapshot(ensure, delete, rds, simulation):
    simulation.spoil("database", "Broken")
    with pytest.raises(ResourceError):
        ensure(deletion_protection=False)
    with pytest.raises(ResourceError, match="takes no snapshot"):
        delete(keep=False)
    delete(keep=False, final_snapshot=False)
    assert database_of(rds) is None


def test_the_protection_of_a_failed_database_is_not_lifted_for_nothing(ensure, delete, rds, simulation):
    simulation.spoil("database", "Broken")
    with pytest.raises(ResourceError):
        ensure()
    simulation.forget_calls()
    with pytest.raises(ResourceError, match="takes no snapshot"):
        delete(keep=False)
    assert simulation.writes() == []
    assert database_of(rds)["DeletionProtection"] is True


def test_that_aws_does_not_lift_the_protection_of_a_failed_database_is_told_with_its_words(ensure, delete, simulation):
    simulation.spoil("database", "Broken")
    with pytest.raises(ResourceError):
        ensure()
    simulation.forget_calls()
    with pytest.raises(ResourceError, match=r"failed.*does not lift its deletion protection.*not in available state"):
        delete(keep=False, final_snapshot=False)
    assert simulation.writes() == ["rds:ModifyDBInstance"]


def test_a_failed_database_whose_protection_is_off_again_is_deleted(ensure, delete, rds, simulation, aws):
    simulation.spoil("database", "Broken")
    with pytest.raises(ResourceError):
        ensure()
    lifted = answer(aws, "rds", "ModifyDBInstance", lambda **_: {})
    found = {**database_of(rds), "DeletionProtection": False}
    answer(aws, "rds", "DescribeDBInstances", lambda **_: {"DBInstances": [found | {"DeletionProtection": not lifted}]})
    deleted = answer(aws, "rds", "DeleteDBInstance", lambda **_: answer_that_it_is_gone(aws) or {})
    delete(keep=False, final_snapshot=False)
    assert [each["DeletionProtection"] for each in lifted] == [False]
    assert [each["SkipFinalSnapshot"] for each in deleted] == [True]


def answer_that_it_is_gone(aws):
    def respond(**_):
        raise ClientError({"Error": {"Code": "DBInstanceNotFound"}}, "DescribeDBInstances")

    answer(aws, "rds", "DescribeDBInstances", respond)


def test_deleting_it_twice_is_no_error(ensure, delete, simulation):
    ensure()
    delete(keep=False)
    simulation.forget_calls()
    assert delete(keep=False)["action"] == "leave"
    assert simulation.writes() == []


def test_a_deletion_that_was_killed_half_way_goes_on(ensure, delete, rds, aws):
    ensure()
    resource = Database(cluster_name=NAME, database_identifier=NAME, keep=False)
    resource.delete(aws, resource.plan_deletion(aws))
    assert database_of(rds)["DeletionProtection"] is False
    delete(keep=False)
    assert database_of(rds) is None
