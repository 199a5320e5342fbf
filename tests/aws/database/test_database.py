"""The database."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from airflow_eks_dask.operators.database import DeleteDatabaseOperator, EnsureDatabaseOperator
from airflow_eks_dask.resources.base import UNKNOWN, Action, ResourceError, State
from airflow_eks_dask.resources.database import Database
from tests.aws.rds import NAME, TAG, create_theirs, database_of, snapshots_of


def test_a_database_is_private_encrypted_protected_and_owned(ensure, rds, network, simulation, converge):
    simulation.forget_calls()
    result = ensure(tags={"team": "etl"})
    assert simulation.writes() == ["rds:CreateDBInstance"]
    assert converge.actions == ["create", "leave"]
    assert "PostgreSQL 17.6" in converge.plans[0]["reasons"][0]
    found = database_of(rds)
    assert found["EngineVersion"] == "17.6"
    assert found["PubliclyAccessible"] is False
    assert found["StorageEncrypted"] is True
    assert found["DeletionProtection"] is True
    assert found["BackupRetentionPeriod"] == 7
    assert found["CopyTagsToSnapshot"] is True
    assert (found["StorageType"], found["AllocatedStorage"], found["MaxAllocatedStorage"]) == ("gp3", 20, 100)
    assert found["DBSubnetGroup"]["DBSubnetGroupName"] == NAME
    assert [group["VpcSecurityGroupId"] for group in found["VpcSecurityGroups"]] == network.groups[:1]
    assert {tag["Key"]: tag["Value"] for tag in found["TagList"]} == {TAG: NAME, "team": "etl"}
    assert result == {
        "database_identifier": NAME,
        "database_arn": found["DBInstanceArn"],
        "host": found["Endpoint"]["Address"],
        "port": 5432,
        "database_name": "airflow",
        "username": "airflow",
        "master_user_secret_arn": found["MasterUserSecret"]["SecretArn"],
        "engine_version": "17.6",
        "security_group_ids": network.groups[:1],
    }


def test_the_password_is_nowhere_but_in_secrets_manager(ensure, simulation, converge):
    result = ensure()
    secret = simulation.boto("secretsmanager").get_secret_value(SecretId=result["master_user_secret_arn"])
    assert secret["SecretString"] not in str(result) + str(converge.plans)


def test_a_second_run_writes_nothing(ensure, simulation, converge):
    first = ensure()
    simulation.forget_calls()
    assert ensure() == first
    assert simulation.writes() == []
    assert converge.actions == ["leave"]


def test_a_run_that_was_killed_after_the_first_call_is_waited_for_by_the_next(
    aws, wanted, ensure, simulation, converge
):
    simulation.set_durations(database=1)
    resource = Database(**wanted)
    resource.apply(aws, resource.plan(aws))
    assert resource.progress(aws).state is State.PENDING
    assert resource.outputs(aws)["host"] == UNKNOWN
    simulation.forget_calls()
    assert ensure()["host"] != UNKNOWN
    assert simulation.writes() == []
    assert converge.actions == ["leave"]


def test_calls_whose_answers_were_lost_are_no_error(simulation, ensure, delete, rds):
    simulation.fail("dropped", operation="CreateDBInstance")
    ensure()
    for operation in ("ModifyDBInstance", "DeleteDBInstance"):
        simulation.fail("dropped", operation=operation)
    delete(keep=False)
    assert database_of(rds) is None
    assert snapshots_of(rds) == ["pipelines-final"]


def test_a_deletion_whose_answer_was_lost_is_waited_for(simulation, ensure, delete, rds):
    ensure(deletion_protection=False)
    simulation.set_durations(database=1)
    simulation.fail("dropped", operation="DeleteDBInstance")
    delete(keep=False)
    assert database_of(rds) is None
    assert snapshots_of(rds) == ["pipelines-final"]


def test_what_drifted_is_mended(ensure, rds, network, converge):
    ensure(tags={"team": "etl"})
    rds.modify_db_instance(
        DBInstanceIdentifier=NAME,
        DBInstanceClass="db.t3.micro",
        MultiAZ=True,
        PubliclyAccessible=True,
        BackupRetentionPeriod=1,
        DeletionProtection=False,
        AutoMinorVersionUpgrade=False,
        VpcSecurityGroupIds=network.groups,
        MaxAllocatedStorage=50,
        ApplyImmediately=True,
    )
    rds.remove_tags_from_resource(ResourceName=database_of(rds)["DBInstanceArn"], TagKeys=["team"])
    ensure(tags={"team": "etl"})
    assert converge.actions == ["change", "leave"]
    assert len(converge.plans[0]["reasons"]) == 9
    found = database_of(rds)
    assert found["DBInstanceClass"] == "db.t4g.medium"
    assert found["MultiAZ"] is False
    assert found["PubliclyAccessible"] is False
    assert found["BackupRetentionPeriod"] == 7
    assert found["DeletionProtection"] is True
    assert found["MaxAllocatedStorage"] == 100
    assert [group["VpcSecurityGroupId"] for group in found["VpcSecurityGroups"]] == network.groups[:1]
    assert {tag["Key"]: tag["Value"] for tag in found["TagList"]} == {TAG: NAME, "team": "etl"}


def test_what_is_wanted_anew_is_changed(ensure, rds):
    ensure()
    result = ensure(
        instance_class="db.m8g.large",
        allocated_storage=50,
        multi_az=True,
        backup_window="03:00-03:30",
        maintenance_window="Sun:04:00-Sun:04:30",
    )
    found = database_of(rds)
    assert (found["DBInstanceClass"], found["AllocatedStorage"], found["MultiAZ"]) == ("db.m8g.large", 50, True)
    assert (found["PreferredBackupWindow"], found["PreferredMaintenanceWindow"]) == (
        "03:00-03:30",
        "sun:04:00-sun:04:30",
    )
    assert result["engine_version"] == "17.6"


def test_a_stopped_database_is_started(ensure, rds, converge):
    ensure()
    rds.stop_db_instance(DBInstanceIdentifier=NAME)
    ensure()
    assert database_of(rds)["DBInstanceStatus"] == "available"
    assert converge.plans[0]["reasons"] == ["it is stopped"]


def test_a_database_that_was_deleted_is_made_anew(ensure, rds):
    ensure(deletion_protection=False)
    rds.delete_db_instance(DBInstanceIdentifier=NAME, SkipFinalSnapshot=True)
    ensure()
    assert database_of(rds) is not None


@pytest.mark.parametrize(
    ("first", "then", "version"),
    [("17.4", "17", "17.4"), ("17.4", "17.5", "17.5"), ("17.6", "17.4", "17.6"), ("16.8", "17", "17.6")],
)
def test_a_version_becomes_the_wanted_or_stays_later(ensure, rds, first, then, version):
    ensure(engine_version=first)
    ensure(engine_version=then)
    assert database_of(rds)["EngineVersion"] == version


def test_a_version_that_aws_does_not_offer_is_refused_with_those_it_does(ensure, simulation):
    simulation.forget_calls()
    with pytest.raises(ResourceError, match=r"PostgreSQL 17.9 is not among .* 17\.4, 17\.5, 17\.6"):
        ensure(engine_version="17.9")
    assert simulation.writes() == []


def test_a_version_that_takes_two_steps_is_refused_with_those_that_take_one(ensure, simulation):
    ensure(engine_version="15.12")
    simulation.forget_calls()
    with pytest.raises(ResourceError, match=r"PostgreSQL 17.4 is not among .* 16\.8, 16\.9, 16\.10, 17\.6"):
        ensure(engine_version="17.4")
    assert simulation.writes() == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"engine_version": "16"}, "can't go back to 16"),
        ({"database_name": "other"}, "DBName is airflow, not other"),
        ({"username": "other"}, "MasterUsername is airflow, not other"),
        ({"subnet_group_name": "other"}, "DBSubnetGroup is pipelines, not other"),
        ({"kms_key_arn": "arn:aws:kms:eu-central-1:123456789012:key/other"}, "KmsKeyId is"),
        ({"allocated_storage": 20, "max_allocated_storage": 0}, "can't shrink to 20: say allocated_storage = 30"),
    ],
)
def test_what_aws_cannot_change_is_refused_and_untouched(ensure, rds, simulation, given, words):
    ensure(allocated_storage=30)
    before = database_of(rds)
    simulation.forget_calls()
    with pytest.raises(ResourceError, match=words):
        ensure(**given)
    assert simulation.writes() == []
    # moto makes up this time for each answer.
    assert database_of(rds) | {"LatestRestorableTime": None} == before | {"LatestRestorableTime": None}


def test_a_foreign_database_is_refused_and_untouched(ensure, delete, rds, simulation):
    create_theirs(rds)
    simulation.forget_calls()
    for run in (ensure, lambda: delete(keep=False)):
        with pytest.raises(ResourceError, match="has not the tag airflow-eks-dask/cluster=pipelines"):
            run()
    assert simulation.writes() == []
    assert database_of(rds)["MasterUsername"] == "theirs"


def test_a_database_that_aws_gave_up_is_refused_with_its_words(ensure, simulation):
    simulation.spoil("database", "The database could not be created: no capacity")
    with pytest.raises(ResourceError, match="no capacity"):
        ensure()
    simulation.forget_calls()
    with pytest.raises(ResourceError, match="is failed: AWS has given it up"):
        ensure()
    assert simulation.writes() == []


def test_an_existing_database_is_used_and_left_alone(converge, rds, simulation):
    create_theirs(rds, "theirs", DBName="airflow", Port=6432)
    simulation.forget_calls()
    use = EnsureDatabaseOperator(task_id="use", cluster_name=NAME, database_identifier="theirs", existing=True)
    result = converge(use)
    assert (result["port"], result["username"], result["master_user_secret_arn"]) == (6432, "theirs", None)
    assert "not ours to change" not in str(converge.plans)
    assert "its storage is not encrypted" in converge.plans[0]["reasons"]
    leave = DeleteDatabaseOperator(
        task_id="leave", cluster_name=NAME, database_identifier="theirs", existing=True, keep=False
    )
    assert converge(leave)["reasons"] == ["it is not ours to delete"]
    assert simulation.writes() == []


def test_an_existing_database_has_to_be_there_to_run_and_to_be_of_postgresql(converge, rds):
    create_theirs(rds, "stopped")
    rds.stop_db_instance(DBInstanceIdentifier="stopped")
    create_theirs(rds, "mysql", Engine="mysql")
    for name, words in (("stopped", "is stopped: start it"), ("mysql", "not of PostgreSQL"), ("none", "to be there")):
        use = EnsureDatabaseOperator(task_id="use", cluster_name=NAME, database_identifier=name, existing=True)
        with pytest.raises(ResourceError, match=words):
            converge(use)


def test_a_dry_run_changes_nothing(ensure, rds, simulation, converge):
    simulation.forget_calls()
    result = ensure(dry_run=True, security_group_ids=[UNKNOWN], subnet_group_name=UNKNOWN)
    assert converge.actions == ["create"]
    assert result["host"] == result["master_user_secret_arn"] == UNKNOWN
    assert simulation.writes() == []
    assert database_of(rds) is None


def test_a_dry_run_shows_drift_and_mends_none(ensure, delete, simulation, converge):
    ensure()
    simulation.forget_calls()
    ensure(dry_run=True, multi_az=True)
    assert converge.plans[0]["reasons"] == ["MultiAZ is False, not True"]
    assert delete(dry_run=True, keep=False)["action"] == "delete"
    assert simulation.writes() == []


def test_bad_input_is_refused_at_once_and_all_of_it(ensure, simulation):
    simulation.forget_calls()
    with pytest.raises(ResourceError) as error:
        ensure(
            database_identifier="a--b",
            subnet_group_name="",
            security_group_ids=["group"],
            database_name="1st",
            username="rdsadmin",
            engine_version="latest",
            instance_class="t4g.medium",
            allocated_storage=10,
            max_allocated_storage=5,
            storage_type="floppy",
            kms_key_arn="alias/key",
            port=80,
            backup_retention_days=99,
            backup_window="night",
            maintenance_window="sunday",
        )
    for field in (
        "database_identifier",
        "subnet_group_name",
        "security_group_ids",
        "database_name",
        "username",
        "engine_version",
        "instance_class",
        "allocated_storage",
        "max_allocated_storage",
        "storage_type",
        "kms_key_arn",
        "port",
        "backup_retention_days",
        "backup_window",
        "maintenance_window",
    ):
        assert f"{field} = " in str(error.value) or f"{field}: " in str(error.value)
    assert simulation.calls() == []


def test_what_waits_for_the_window_is_made_at_once_only_if_asked_for(aws, wanted, ensure, rds, monkeypatch):
    ensure()
    waiting = database_of(rds) | {"PendingModifiedValues": {"DBInstanceClass": "db.t4g.medium"}}
    waiting["DBInstanceClass"] = "db.t3.micro"
    monkeypatch.setattr("airflow_eks_dask.resources.database.find_database", lambda aws, name: waiting)
    patient = Database(**wanted, apply_immediately=False).plan(aws)
    assert patient.action is Action.LEAVE
    assert patient.reasons == ("DBInstanceClass = db.t4g.medium waits for the maintenance window",)
    at_once = Database(**wanted).plan(aws)
    assert at_once.action is Action.CHANGE
    assert at_once.changes["modify"] == {"DBInstanceClass": "db.t4g.medium"}


def test_a_change_that_aws_is_slow_to_begin_with_is_made_once(aws, wanted, ensure, rds, simulation, monkeypatch):
    ensure()
    rds.modify_db_instance(DBInstanceIdentifier=NAME, DBInstanceClass="db.t3.micro", ApplyImmediately=True)
    database = Database(**wanted)
    plan = database.plan(aws)
    slow = database_of(rds) | {"PendingModifiedValues": {"DBInstanceClass": "db.t4g.medium"}}
    answers = [slow, slow, slow | {"DBInstanceStatus": "modifying"}]
    monkeypatch.setattr("airflow_eks_dask.resources.database.find_database", lambda aws, name: answers.pop(0))
    slept = []
    monkeypatch.setattr("airflow_eks_dask.resources.database.time.sleep", slept.append)
    simulation.forget_calls()
    database.apply(aws, plan)
    assert simulation.writes() == ["rds:ModifyDBInstance"]
    assert len(slept) == 2
    assert answers == []


def test_a_service_linked_role_that_is_not_there_yet_is_waited_for():
    message = "Unable to create the resource. Verify that you have permission to create service linked role."
    database = Database(cluster_name=NAME, database_identifier=NAME)
    for said, transient in ((message, True), ("DB instance class db.t1.x is not valid", False)):
        error = ClientError({"Error": {"Code": "InvalidParameterValue", "Message": said}}, "CreateDBInstance")
        assert database.is_transient(error) is transient
