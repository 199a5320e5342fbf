"""The database of Airflow: PostgreSQL on RDS."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from botocore.exceptions import ClientError

from airflow_eks_dask.hooks.aws import error_code, ignoring
from airflow_eks_dask.resources import cost, database_settings, ownership, postgres_version, validation
from airflow_eks_dask.resources.base import UNKNOWN, Action, Plan, Progress, Resource, ResourceError, State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eks_dask.hooks.aws import AwsClients
    from airflow_eks_dask.resources.cost import CostItem

IDENTIFIER = re.compile(r"(?=.{1,63}$)[a-z](-?[a-z0-9])*")
SQL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")
USERNAME = re.compile(r"(?!(admin|public|user)$|pg_|rds)[A-Za-z][A-Za-z0-9_]{0,62}")
INSTANCE_CLASS = re.compile(r"db\.[a-z0-9-]+\.[a-z0-9-]+")
BACKUP_WINDOW = re.compile(r"[0-2]\d:[0-5]\d-[0-2]\d:[0-5]\d")
_MOMENT = r"(mon|tue|wed|thu|fri|sat|sun):[0-2]\d:[0-5]\d"
MAINTENANCE_WINDOW = re.compile(f"{_MOMENT}-{_MOMENT}", re.IGNORECASE)

_READY = ("available", "storage-optimization", "storage-full", "stopped")
_FAILED = ("failed", "restore-error", "insufficient-capacity", "inaccessible-encryption-credentials")
_MINUTES_OF_EVENTS = 60
_LOOKS = 12
_SECONDS_BETWEEN_LOOKS = 5
_WHAT_TO_DO = (
    "AWS has given it up. See its events in the console; if it holds nothing, delete it with keep = False and "
    "final_snapshot = False, and run this again; otherwise restore a backup"
)


def find_database(aws: AwsClients, database_identifier: str) -> dict[str, Any] | None:
    """Return what RDS says of an instance; None if there is none."""
    rds = aws.client("rds")
    try:
        return dict(rds.describe_db_instances(DBInstanceIdentifier=database_identifier)["DBInstances"][0])
    except ClientError as error:
        if error_code(error) == "DBInstanceNotFound":
            return None
        raise


@dataclass(frozen=True, kw_only=True)
class Database(Resource):
    """
    An RDS instance of PostgreSQL: encrypted, private, its master password made and kept by AWS in Secrets Manager.

    Since version 15 it takes connections with TLS only (``rds.force_ssl`` is on by default); connect with
    ``sslmode=verify-full`` and the CA bundle of RDS. What AWS can't change in place is refused, as a new
    database would be an empty one. The provider's ``RdsCreateDbInstanceOperator`` isn't used, as it raises if the
    instance exists, compares nothing and needs aiobotocore to be deferred; nor is its ``RdsHook``, which adds waiters
    only. Sources: https://docs.aws.amazon.com/AmazonRDS/latest/APIReference/API_CreateDBInstance.html and
    https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/accessing-monitoring.html (statuses).

    :param database_identifier: What the instance is called.
    :param subnet_group_name: The DB subnet group that it is in.
    :param security_group_ids: The security groups that say who may reach it.
    :param database_name: The database that is made in it.
    :param username: The master user.
    :param engine_version: Of PostgreSQL: a major version, of which the latest is taken (later minor versions are up to
        ``auto_minor_version_upgrade``), or a full one. It never becomes an older one.
    :param instance_class: Such as ``db.t4g.medium``.
    :param allocated_storage: GiB at first. It can grow, and never shrinks.
    :param max_allocated_storage: GiB up to which RDS lets it grow by itself; 0 for no such growth.
    :param storage_type: ``gp3`` or ``gp2``.
    :param kms_key_arn: The KMS key that it is encrypted with; empty for AWS's own.
    :param multi_az: Whether a standby in another zone takes over when it fails.
    :param publicly_accessible: Whether its name leads to a public address outside the VPC.
    :param port: TCP port.
    :param backup_retention_days: Days for which automated backups are kept, 0 to 35; 0 for no backups.
    :param backup_window: When backups are made, in UTC, such as ``03:00-03:30``; empty leaves it to AWS.
    :param maintenance_window: When AWS may work on it, in UTC, such as ``sun:04:00-sun:04:30``; empty leaves it to AWS.
    :param auto_minor_version_upgrade: Whether AWS upgrades it to later minor versions in the maintenance window.
    :param ca_certificate: CA of its certificate, such as ``rds-ca-rsa2048-g1``; empty leaves it to AWS.
    :param deletion_protection: Whether AWS refuses to delete it. It is lifted when its deletion is asked for.
    :param apply_immediately: Whether changes are made at once, which may restart it, or in the maintenance window.
    :param keep: Whether it is left, with its data, when it is to be deleted.
    :param final_snapshot: Whether to take a last snapshot when it is deleted: ``<identifier>-final``, numbered if there
        is one of this name already.
    :param keep_automated_backups: Whether its automated backups outlive it, for their retention time.
    """

    kind: ClassVar[str] = "Database"
    timeout: ClassVar[float] = 5400

    database_identifier: str
    subnet_group_name: str = ""
    security_group_ids: list[str] = field(default_factory=list)
    database_name: str = "airflow"
    username: str = "airflow"
    engine_version: str = "17"
    instance_class: str = "db.t4g.medium"
    allocated_storage: int = 20
    max_allocated_storage: int = 100
    storage_type: str = "gp3"
    kms_key_arn: str = ""
    multi_az: bool = False
    publicly_accessible: bool = False
    port: int = 5432
    backup_retention_days: int = 7
    backup_window: str = ""
    maintenance_window: str = ""
    auto_minor_version_upgrade: bool = True
    ca_certificate: str = ""
    deletion_protection: bool = True
    apply_immediately: bool = True
    keep: bool = True
    final_snapshot: bool = True
    keep_automated_backups: bool = False

    @property
    def name(self) -> str:
        """Its identifier."""
        return self.database_identifier

    def console_path(self, region: str) -> str:
        """Return the path of its page in the AWS console."""
        return f"rds/home?region={region}#database:id={self.database_identifier};is-cluster=false"

    def identity_problems(self) -> list[str]:
        """Return what is wrong with its names."""
        what = "1 to 63 lower case letters, digits and single hyphens, first a letter, last no hyphen"
        return [
            *validation.cluster_name(self.cluster_name),
            *validation.matches("database_identifier", self.database_identifier, IDENTIFIER, what),
        ]

    def problems(self) -> list[str]:
        """Return all that is wrong with what is wanted."""
        problems = self.identity_problems()
        if self.existing:
            return problems
        sql_name = "up to 63 letters, digits and _, first a letter"
        problems += [
            *validation.needed("subnet_group_name", self.subnet_group_name),
            *validation.needed("security_group_ids", self.security_group_ids),
            *validation.all_match(
                "security_group_ids",
                self.security_group_ids,
                validation.SECURITY_GROUP_ID,
                "the id of a security group",
            ),
            *validation.matches("database_name", self.database_name, SQL_NAME, sql_name),
            *validation.matches("username", self.username, USERNAME, f"{sql_name}, and none that RDS keeps for itself"),
            *validation.matches(
                "engine_version", self.engine_version, postgres_version.VERSION, "a version such as 17 or 17.5"
            ),
            *validation.matches("instance_class", self.instance_class, INSTANCE_CLASS, "a class such as db.t4g.medium"),
            *validation.one_of("storage_type", self.storage_type, ("gp2", "gp3")),
        ]
        return problems + self._size_problems() + self._optional_problems()

    def _size_problems(self) -> list[str]:
        problems = validation.at_least("allocated_storage", self.allocated_storage, 20)
        # RDS wants room to grow.
        if self.max_allocated_storage and self.max_allocated_storage < 1.1 * self.allocated_storage:
            problems.append(
                f"max_allocated_storage = {self.max_allocated_storage}: must be 10 % more than allocated_storage, or 0"
            )
        if not 0 <= self.backup_retention_days <= 35:
            problems.append(f"backup_retention_days = {self.backup_retention_days}: must be from 0 to 35")
        if not 1150 <= self.port <= 65535:
            problems.append(f"port = {self.port}: must be from 1150 to 65535")
        return problems

    def _optional_problems(self) -> list[str]:
        checks = (
            ("backup_window", self.backup_window, BACKUP_WINDOW, "a time such as 03:00-03:30"),
            ("maintenance_window", self.maintenance_window, MAINTENANCE_WINDOW, "a time such as sun:04:00-sun:04:30"),
            ("kms_key_arn", self.kms_key_arn, validation.KMS_KEY, "the ARN of a KMS key (not of an alias)"),
        )
        return [problem for check in checks if check[1] for problem in validation.matches(*check)]

    def plan(self, aws: AwsClients) -> Plan:
        """Compare all that can be compared; what waits for the maintenance window counts as done if it may wait."""
        found = find_database(aws, self.database_identifier)
        if found is None:
            return self._plan_creation(aws)
        if refused := self.refused(ownership.as_mapping(found.get("TagList"))):
            return refused
        status = found["DBInstanceStatus"]
        if found["Engine"] != postgres_version.ENGINE:
            return self.a_plan(Action.REFUSE, f"{self.kind} {self.name} is of {found['Engine']}, not of PostgreSQL")
        if _state(status) is State.FAILED:
            return self.a_plan(Action.REFUSE, f"{self.kind} {self.name} is {status}: {_WHAT_TO_DO}")
        if status == "stopped":
            if self.existing:
                return self.a_plan(Action.REFUSE, f"{self.kind} {self.name} is stopped: start it")
            return self.a_plan(Action.CHANGE, "it is stopped", start=True)
        if self.existing:
            return self.a_plan(Action.LEAVE, *database_settings.warnings(found))
        return self._compare(aws, found)

    def _plan_creation(self, aws: AwsClients) -> Plan:
        if self.existing:
            return self.a_plan(Action.CREATE)
        try:
            version = postgres_version.latest(self.engine_version, postgres_version.offered(aws))
        except ResourceError as error:
            return self.a_plan(Action.REFUSE, str(error))
        return self.a_plan(Action.CREATE, f"there is none; PostgreSQL {version}", version=version)

    def _compare(self, aws: AwsClients, found: Mapping[str, Any]) -> Plan:
        if refusals := database_settings.refusals(self, found):
            return self.a_plan(Action.REFUSE, *(f"{self.kind} {self.name}: {refusal}" for refusal in refusals))
        modify, reasons = database_settings.differences(self, found)
        try:
            version = self._upgrade(aws, found)
        except ResourceError as error:
            return self.a_plan(Action.REFUSE, f"{self.kind} {self.name}: {error}")
        if version:
            modify["EngineVersion"] = version
            reasons.append(f"EngineVersion is {found['EngineVersion']}, not {version}")
        waiting = database_settings.waiting(self, found)
        if waiting and self.apply_immediately:
            modify = waiting | modify
            reasons += database_settings.in_words(waiting)
        changes: dict[str, Any] = {"modify": modify} if modify else {}
        if tags := ownership.tag_changes(self.wanted_tags, ownership.as_mapping(found.get("TagList"))):
            changes |= {"tags": tags, "arn": found["DBInstanceArn"]}
            reasons.append(f"tags missing or different: {', '.join(sorted(tags))}")
        if changes:
            return self.a_plan(Action.CHANGE, *reasons, **changes)
        return self.a_plan(Action.LEAVE, *database_settings.notes(self, found))

    def _upgrade(self, aws: AwsClients, found: Mapping[str, Any]) -> str | None:
        """
        Return the version that it is to be upgraded to; None if it has the wanted or a later one.

        :raises ResourceError: AWS does not upgrade to the wanted version.
        """
        there = database_settings.after_pending(found)["EngineVersion"]
        wanted = postgres_version.numbers(self.engine_version)
        if postgres_version.numbers(there)[: len(wanted)] >= wanted:
            return None
        return postgres_version.latest(self.engine_version, postgres_version.upgrades(aws, there))

    def apply(self, aws: AwsClients, plan: Plan) -> None:
        """Create it, with its tags at once; start it; or make all changes."""
        rds = aws.client("rds")
        if plan.action is Action.CREATE:
            with ignoring("DBInstanceAlreadyExists"):
                rds.create_db_instance(**database_settings.for_creation(self, plan.changes["version"]))
            return
        changes = plan.changes
        if "tags" in changes:
            rds.add_tags_to_resource(ResourceName=changes["arn"], Tags=ownership.as_list(changes["tags"]))
        # Its status is told late: it may be busy already with what a call before has asked for.
        with ignoring("InvalidDBInstanceState"):
            if "start" in changes:
                rds.start_db_instance(DBInstanceIdentifier=self.database_identifier)
            if "modify" in changes:
                rds.modify_db_instance(
                    DBInstanceIdentifier=self.database_identifier,
                    ApplyImmediately=self.apply_immediately,
                    **database_settings.for_modification(changes["modify"]),
                )
                if self.apply_immediately:
                    self._await_effect(aws)

    def _await_effect(self, aws: AwsClients) -> None:
        """Wait until AWS has begun with what it took: its status says so some time after."""
        for _ in range(_LOOKS):
            found = find_database(aws, self.database_identifier)
            if found is None or found["DBInstanceStatus"] != "available" or not database_settings.waiting(self, found):
                return
            time.sleep(_SECONDS_BETWEEN_LOOKS)

    def is_transient(self, error: ClientError) -> bool:
        """In an account that is new to RDS, AWS makes a service-linked role first and asks to try again."""
        return error_code(error) == "InvalidParameterValue" and "service linked role" in str(error)

    def progress(self, aws: AwsClients) -> Progress:
        """Say its status, and while something happens the events of the last hour."""
        found = find_database(aws, self.database_identifier)
        if found is None:
            return Progress(State.ABSENT)
        status = found["DBInstanceStatus"]
        state = _state(status)
        events = [] if state is State.READY else self._events(aws)
        return Progress(state, (f"status {status}", *events))

    def _events(self, aws: AwsClients) -> list[str]:
        answer = aws.client("rds").describe_events(
            SourceIdentifier=self.database_identifier, SourceType="db-instance", Duration=_MINUTES_OF_EVENTS
        )
        return [f"{event['Date']:%H:%M:%S} {event['Message']}" for event in answer["Events"] if "Message" in event]

    def outputs(self, aws: AwsClients) -> dict[str, Any]:
        """Return where it is, whom it belongs to, and where Secrets Manager has the password; never the password."""
        found = find_database(aws, self.database_identifier) or {}
        endpoint = found.get("Endpoint", {})
        secret = found.get("MasterUserSecret", {}).get("SecretArn")
        return {
            "database_identifier": self.database_identifier,
            "database_arn": found.get("DBInstanceArn", UNKNOWN),
            "host": endpoint.get("Address", UNKNOWN),
            "port": endpoint.get("Port", self.port),
            "database_name": found.get("DBName", self.database_name),
            "username": found.get("MasterUsername", self.username),
            "master_user_secret_arn": secret if found else UNKNOWN,
            "engine_version": found.get("EngineVersion", self.engine_version),
            "security_group_ids": database_settings.security_groups(found) if found else list(self.security_group_ids),
        }

    def cost_items(self) -> list[CostItem]:
        """Return the instance and its storage."""
        return cost.postgres(self.instance_class, self.allocated_storage, self.storage_type, multi_az=self.multi_az)

    def plan_deletion(self, aws: AwsClients) -> Plan:
        """Leave it with its data, unless its deletion was asked for; say which snapshots stay."""
        found = find_database(aws, self.database_identifier)
        if found is None:
            snapshots = ", ".join(sorted(self._snapshots(aws)))
            return self.a_plan(
                Action.LEAVE, f"it is gone{f'; its snapshots are kept: {snapshots}' if snapshots else ''}"
            )
        if refused := self.refused(ownership.as_mapping(found.get("TagList"))):
            return refused
        if self.keep:
            return self.a_plan(Action.LEAVE, "it is kept, with its data; with keep = False it would be deleted")
        status = found["DBInstanceStatus"]
        if self.final_snapshot and _state(status) is State.FAILED:
            reason = f"{self.kind} {self.name} is {status}, and AWS takes no snapshot of it"
            return self.a_plan(Action.REFUSE, f"{reason}: with final_snapshot = False it would be deleted without")
        if found.get("DeletionProtection"):
            return self.a_plan(Action.DELETE, "its deletion protection is lifted first", protected=True, status=status)
        if not self.final_snapshot:
            return self.a_plan(Action.DELETE, "without a final snapshot: its data is lost")
        snapshot = self._snapshot_name(self._snapshots(aws))
        return self.a_plan(Action.DELETE, f"its data is kept in the snapshot {snapshot}", snapshot=snapshot)

    def _snapshots(self, aws: AwsClients) -> set[str]:
        pages = (
            aws.client("rds")
            .get_paginator("describe_db_snapshots")
            .paginate(DBInstanceIdentifier=self.database_identifier, SnapshotType="manual")
        )
        return {snapshot["DBSnapshotIdentifier"] for page in pages for snapshot in page["DBSnapshots"]}

    def _snapshot_name(self, taken: set[str]) -> str:
        name = f"{self.database_identifier}-final"
        number = 1
        while name in taken:
            number += 1
            name = f"{self.database_identifier}-final-{number}"
        return name

    def delete(self, aws: AwsClients, plan: Plan) -> None:
        """Lift its protection, or delete it."""
        rds = aws.client("rds")
        # Busy: being deleted already, or with something that is to be waited for.
        with ignoring("DBInstanceNotFound", "InvalidDBInstanceState"):
            if plan.changes.get("protected"):
                self._lift_protection(aws, plan.changes["status"])
                return
            snapshot = plan.changes.get("snapshot")
            rds.delete_db_instance(
                DBInstanceIdentifier=self.database_identifier,
                SkipFinalSnapshot=snapshot is None,
                DeleteAutomatedBackups=not self.keep_automated_backups,
                **({"FinalDBSnapshotIdentifier": snapshot} if snapshot else {}),
            )

    def _lift_protection(self, aws: AwsClients, status: str) -> None:
        try:
            aws.client("rds").modify_db_instance(
                DBInstanceIdentifier=self.database_identifier, DeletionProtection=False, ApplyImmediately=True
            )
        except ClientError as error:
            # It will be in no other state later, as one that is busy will.
            if error_code(error) == "InvalidDBInstanceState" and _state(status) is State.FAILED:
                raise ResourceError(
                    f"{self.kind} {self.name} is {status}, and AWS does not lift its deletion protection: {error}. "
                    "Turn it off in the console, or let AWS Support do it; then run this again"
                ) from None
            raise


def _state(status: str) -> State:
    if status in _READY:
        return State.READY
    return State.FAILED if status in _FAILED or status.startswith("incompatible-") else State.PENDING
