"""How a database is compared with what is wanted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from airflow_eks_dask.resources import database_settings
from airflow_eks_dask.resources.base import ResourceError, State
from airflow_eks_dask.resources.database import Database, _state
from airflow_eks_dask.resources.postgres_version import fits, latest

KEY = "arn:aws:kms:eu-central-1:123456789012:key/one"
WANTED = Database(
    cluster_name="pipelines",
    database_identifier="pipelines",
    subnet_group_name="pipelines",
    security_group_ids=["sg-0123456789abcdef0"],
)


def found(**other):
    return {
        "DBInstanceClass": "db.t4g.medium",
        "StorageType": "gp3",
        "MultiAZ": False,
        "PubliclyAccessible": False,
        "BackupRetentionPeriod": 7,
        "AutoMinorVersionUpgrade": True,
        "CopyTagsToSnapshot": True,
        "DeletionProtection": True,
        "VpcSecurityGroups": [{"VpcSecurityGroupId": "sg-0123456789abcdef0", "Status": "active"}],
        "Endpoint": {"Address": "host", "Port": 5432},
        "AllocatedStorage": 20,
        "MaxAllocatedStorage": 100,
        "MasterUserSecret": {"SecretArn": "arn"},
        "EngineVersion": "17.6",
        "DBSubnetGroup": {"DBSubnetGroupName": "pipelines"},
        "DBName": "airflow",
        "MasterUsername": "airflow",
        "StorageEncrypted": True,
        "KmsKeyId": KEY,
        **other,
    }


def test_what_is_as_wanted_has_no_difference():
    assert database_settings.differences(WANTED, found()) == ({}, [])
    assert database_settings.refusals(WANTED, found()) == []
    assert database_settings.notes(WANTED, found()) == []


@pytest.mark.parametrize(
    ("drift", "changes"),
    [
        ({"DBInstanceClass": "db.t3.micro"}, {"DBInstanceClass": "db.t4g.medium"}),
        ({"StorageType": "gp2"}, {"StorageType": "gp3"}),
        ({"MultiAZ": True}, {"MultiAZ": False}),
        ({"PubliclyAccessible": True}, {"PubliclyAccessible": False}),
        ({"BackupRetentionPeriod": 0}, {"BackupRetentionPeriod": 7}),
        ({"AutoMinorVersionUpgrade": False}, {"AutoMinorVersionUpgrade": True}),
        ({"DeletionProtection": False}, {"DeletionProtection": True}),
        ({"MasterUserSecret": None}, {"ManageMasterUserPassword": True}),
        ({"MaxAllocatedStorage": None}, {"MaxAllocatedStorage": 100}),
        ({"Endpoint": {"Port": 6432}}, {"Port": 5432}),
        ({"VpcSecurityGroups": []}, {"VpcSecurityGroupIds": ["sg-0123456789abcdef0"]}),
    ],
)
def test_what_drifted_is_changed(drift, changes):
    differing, reasons = database_settings.differences(WANTED, found(**drift))
    assert differing == changes
    assert len(reasons) == 1


def test_security_groups_count_once_they_are_added_and_until_they_are_removed():
    groups = [
        {"VpcSecurityGroupId": "sg-0123456789abcdef0", "Status": "adding"},
        {"VpcSecurityGroupId": "sg-old", "Status": "removing"},
    ]
    assert database_settings.differences(WANTED, found(VpcSecurityGroups=groups)) == ({}, [])


def test_windows_and_the_ca_are_compared_only_if_they_are_said():
    told = found(PreferredBackupWindow="01:00-01:30", CACertificateIdentifier="rds-ca-rsa2048-g1")
    assert database_settings.differences(WANTED, told) == ({}, [])
    wanted = replace(WANTED, backup_window="03:00-03:30", ca_certificate="rds-ca-rsa4096-g1")
    changes, _ = database_settings.differences(wanted, told)
    assert changes == {"PreferredBackupWindow": "03:00-03:30", "CACertificateIdentifier": "rds-ca-rsa4096-g1"}


def test_storage_grows_with_its_limit():
    changes, _ = database_settings.differences(
        replace(WANTED, allocated_storage=50, max_allocated_storage=200), found()
    )
    assert changes == {"AllocatedStorage": 50, "MaxAllocatedStorage": 200}


def test_storage_that_grew_by_itself_is_left():
    grown = found(AllocatedStorage=40)
    assert database_settings.differences(WANTED, grown) == ({}, [])
    assert database_settings.refusals(WANTED, grown) == []
    assert database_settings.notes(WANTED, grown) == ["it has grown to 40 GiB"]


@pytest.mark.parametrize("limit", [100, None])
def test_storage_that_grew_up_to_its_limit_is_left(limit):
    grown = found(AllocatedStorage=100, MaxAllocatedStorage=limit)
    assert database_settings.differences(WANTED, grown) == ({}, [])
    assert database_settings.refusals(WANTED, grown) == []


def test_that_it_grows_by_itself_can_be_ended():
    changes, _ = database_settings.differences(replace(WANTED, max_allocated_storage=0), found())
    assert changes == {"MaxAllocatedStorage": 20}
    ended = found(MaxAllocatedStorage=None)
    assert database_settings.differences(replace(WANTED, max_allocated_storage=0), ended) == ({}, [])


@pytest.mark.parametrize("limit", [0, 30])
def test_that_storage_shrinks_is_refused(limit):
    (refusal,) = database_settings.refusals(replace(WANTED, max_allocated_storage=limit), found(AllocatedStorage=40))
    assert "can't shrink" in refusal
    assert "allocated_storage = 40" in refusal


@pytest.mark.parametrize(
    ("different", "words"),
    [
        ({"DBSubnetGroup": {"DBSubnetGroupName": "other"}}, "DBSubnetGroup is other, not pipelines"),
        ({"DBName": "other"}, "DBName is other, not airflow"),
        ({"MasterUsername": "other"}, "MasterUsername is other, not airflow"),
        ({"StorageEncrypted": False, "KmsKeyId": None}, "is not encrypted"),
        ({"EngineVersion": "18.1"}, "can't go back to 17"),
    ],
)
def test_what_aws_cannot_change_is_refused_with_what_to_do(different, words):
    (refusal,) = database_settings.refusals(WANTED, found(**different))
    assert words in refusal
    assert "say " in refusal or "restore" in refusal or "copy" in refusal


def test_another_key_is_refused_and_any_is_right_if_none_is_said():
    (refusal,) = database_settings.refusals(replace(WANTED, kms_key_arn=KEY.replace("one", "two")), found())
    assert "KmsKeyId" in refusal
    assert database_settings.refusals(replace(WANTED, kms_key_arn=KEY), found()) == []


def test_what_waits_for_the_maintenance_window_is_no_drift():
    pending = {"DBInstanceClass": "db.t4g.medium", "AllocatedStorage": 20, "EngineVersion": "17.6", "Port": 5432}
    told = found(
        DBInstanceClass="db.t3.micro",
        EngineVersion="17.4",
        Endpoint={"Port": 6432},
        PendingModifiedValues={**pending, "MasterUserPassword": "****"},
    )
    assert database_settings.differences(WANTED, told) == ({}, [])
    assert database_settings.waiting(WANTED, told) == pending
    assert "DBInstanceClass = db.t4g.medium waits for the maintenance window" in database_settings.notes(WANTED, told)


def test_what_waits_and_is_not_wanted_is_drift():
    told = found(PendingModifiedValues={"DBInstanceClass": "db.r8g.large"})
    changes, _ = database_settings.differences(WANTED, told)
    assert changes == {"DBInstanceClass": "db.t4g.medium"}


def test_a_port_and_a_version_are_modified_by_other_names():
    parameters = database_settings.for_modification({"Port": 6432, "EngineVersion": "17.6", "MultiAZ": True})
    assert parameters == {
        "DBPortNumber": 6432,
        "EngineVersion": "17.6",
        "AllowMajorVersionUpgrade": True,
        "MultiAZ": True,
    }


def test_a_later_minor_version_is_noted():
    assert database_settings.notes(replace(WANTED, engine_version="17.4"), found()) == [
        "it has a later version than wanted: 17.6"
    ]


def test_of_an_existing_one_is_said_what_is_unsafe():
    told = found(PubliclyAccessible=True, StorageEncrypted=False, MasterUserSecret=None)
    assert len(database_settings.warnings(told)) == 3
    assert database_settings.warnings(found()) == []


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("available", State.READY),
        ("storage-optimization", State.READY),
        ("storage-full", State.READY),
        ("stopped", State.READY),
        ("creating", State.PENDING),
        ("backing-up", State.PENDING),
        ("deleting", State.PENDING),
        ("a status of tomorrow", State.PENDING),
        ("failed", State.FAILED),
        ("incompatible-network", State.FAILED),
        ("inaccessible-encryption-credentials", State.FAILED),
    ],
)
def test_every_status_is_one_of_three(status, state):
    assert _state(status) is state


def test_the_latest_version_is_taken_by_number():
    offered = ["16.10", "17.9", "17.10", "17.2"]
    assert latest("17", offered) == "17.10"
    assert latest("16", offered) == "16.10"
    assert latest("17.2", offered) == "17.2"


@pytest.mark.parametrize("wanted", ["18", "17.3", "1"])
def test_a_version_that_is_not_offered_is_refused_with_those_that_are(wanted):
    with pytest.raises(ResourceError, match=r"16\.10, 17\.2, 17\.10"):
        latest(wanted, ["17.10", "17.2", "16.10"])


def test_a_version_with_extended_support_is_of_its_minor_version():
    assert fits("12.22", "12.22-rds.20250220")
    assert latest("12", ["12.22-rds.20240509", "12.22-rds.20250220"]) == "12.22-rds.20250220"
