"""Compares a database with what is wanted, without asking AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eks_dask.resources import ownership, postgres_version
from airflow_eks_dask.resources.base import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eks_dask.resources.database import Database


def for_creation(wanted: Database, version: str) -> dict[str, Any]:
    """Return the parameters of CreateDBInstance."""
    optional = {"KmsKeyId": wanted.kms_key_arn, "MaxAllocatedStorage": wanted.max_allocated_storage}
    return {
        **_settings(wanted),
        "DBInstanceIdentifier": wanted.database_identifier,
        "Engine": postgres_version.ENGINE,
        "EngineVersion": version,
        "DBName": wanted.database_name,
        "MasterUsername": wanted.username,
        "ManageMasterUserPassword": True,
        "StorageEncrypted": True,
        "AllocatedStorage": wanted.allocated_storage,
        "Port": wanted.port,
        "DBSubnetGroupName": wanted.subnet_group_name,
        "Tags": ownership.as_list(wanted.wanted_tags),
        **{key: value for key, value in optional.items() if value},
    }


def for_modification(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of ModifyDBInstance for changes by the names of creation."""
    parameters = {"DBPortNumber" if key == "Port" else key: value for key, value in changes.items()}
    if "EngineVersion" in parameters:
        parameters["AllowMajorVersionUpgrade"] = True
    return parameters


def _settings(wanted: Database) -> dict[str, Any]:
    """Return what is created, told and changed by the same names."""
    optional = {
        "PreferredBackupWindow": wanted.backup_window,
        "PreferredMaintenanceWindow": wanted.maintenance_window.lower(),
        "CACertificateIdentifier": wanted.ca_certificate,
    }
    return {
        "DBInstanceClass": wanted.instance_class,
        "StorageType": wanted.storage_type,
        "MultiAZ": wanted.multi_az,
        "PubliclyAccessible": wanted.publicly_accessible,
        "BackupRetentionPeriod": wanted.backup_retention_days,
        "AutoMinorVersionUpgrade": wanted.auto_minor_version_upgrade,
        "CopyTagsToSnapshot": True,
        "DeletionProtection": wanted.deletion_protection,
        "VpcSecurityGroupIds": sorted(set(wanted.security_group_ids)),
        **{key: value for key, value in optional.items() if value},
    }


def after_pending(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what DescribeDBInstances says, as if all that waits had been done already, by the names of creation."""
    return {
        **found,
        "Port": found.get("Endpoint", {}).get("Port"),
        "VpcSecurityGroupIds": security_groups(found),
        **found.get("PendingModifiedValues", {}),
    }


def security_groups(found: Mapping[str, Any]) -> list[str]:
    """Return the security groups of a database, without those that it is about to lose."""
    groups = found.get("VpcSecurityGroups", ())
    return sorted(group["VpcSecurityGroupId"] for group in groups if group.get("Status") != "removing")


def differences(wanted: Database, found: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return what is to be changed, by the names of creation and without the version, and the reasons."""
    there = after_pending(found)
    settings = {**_settings(wanted), "Port": wanted.port}
    size = max(wanted.allocated_storage, there["AllocatedStorage"])
    settings["AllocatedStorage"] = size
    # There are two ways to say that it doesn't grow by itself: no limit, and one that is reached.
    limit = max(wanted.max_allocated_storage, size)
    if limit != max(there.get("MaxAllocatedStorage") or 0, size):
        settings["MaxAllocatedStorage"] = limit
    changes = {key: value for key, value in settings.items() if there.get(key) != value}
    reasons = [f"{key} is {there.get(key, 'not set')}, not {value}" for key, value in changes.items()]
    if not found.get("MasterUserSecret"):
        changes["ManageMasterUserPassword"] = True
        reasons.append("its master password is not managed by AWS")
    return changes, reasons


def waiting(wanted: Database, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what waits for the maintenance window, of all that can be wanted."""
    names = {*_settings(wanted), "AllocatedStorage", "EngineVersion", "Port"}
    return {key: value for key, value in found.get("PendingModifiedValues", {}).items() if key in names}


def in_words(changes: Mapping[str, Any]) -> list[str]:
    """Say what waits for the maintenance window."""
    return [f"{key} = {value} waits for the maintenance window" for key, value in changes.items()]


def refusals(wanted: Database, found: Mapping[str, Any]) -> list[str]:
    """Return what is wanted that AWS changes in no database, each with what to do."""
    there = after_pending(found)
    restore = "restore a snapshot of it under another name, and use that"
    fixed = (
        ("DBSubnetGroup", found.get("DBSubnetGroup", {}).get("DBSubnetGroupName"), wanted.subnet_group_name),
        ("DBName", found.get("DBName"), wanted.database_name),
        ("MasterUsername", found.get("MasterUsername"), wanted.username),
        ("KmsKeyId", found.get("KmsKeyId"), wanted.kms_key_arn or found.get("KmsKeyId")),
    )
    refusals = [
        f"{what} is {is_now}, not {value}, and can't be changed: say {is_now}, or {restore}"
        for what, is_now, value in fixed
        if value not in (is_now, UNKNOWN)
    ]
    if not found.get("StorageEncrypted"):
        refusals.append(f"it is not encrypted, and can't become so: copy a snapshot of it with encryption, {restore}")
    size = there["AllocatedStorage"]
    if size > max(wanted.allocated_storage, wanted.max_allocated_storage):
        refusals.append(
            f"it has {size} GiB, and can't shrink to {wanted.allocated_storage}: say allocated_storage = {size} or more"
        )
    if postgres_version.major(there["EngineVersion"]) > postgres_version.major(wanted.engine_version):
        version = there["EngineVersion"]
        refusals.append(
            f"it has PostgreSQL {version}, and can't go back to {wanted.engine_version}: say the version that it has"
        )
    return refusals


def notes(wanted: Database, found: Mapping[str, Any]) -> list[str]:
    """Return how it differs from what was asked for, rightly so."""
    there = after_pending(found)
    notes = in_words(waiting(wanted, found))
    if there["AllocatedStorage"] > wanted.allocated_storage:
        notes.append(f"it has grown to {there['AllocatedStorage']} GiB")
    if not postgres_version.fits(wanted.engine_version, there["EngineVersion"]):
        notes.append(f"it has a later version than wanted: {there['EngineVersion']}")
    return notes


def warnings(found: Mapping[str, Any]) -> list[str]:
    """Return what others may want to know of a database that isn't ours."""
    warnings = []
    if found.get("PubliclyAccessible"):
        warnings.append("it has a public address")
    if not found.get("StorageEncrypted"):
        warnings.append("its storage is not encrypted")
    if not found.get("MasterUserSecret"):
        warnings.append("its master password is not in Secrets Manager")
    return warnings
