"""RDS that takes time: moto's databases are there, and gone, at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.rds import urls
from moto.rds.exceptions import RDSClientError
from moto.rds.models import DBInstance, DBSubnetGroup, RDSBackend, rds_backends

from tests.aws.clock import CLOCK

if TYPE_CHECKING:
    from types import ModuleType

_endpoint = DBInstance.endpoint.fget


class Databases(RDSBackend):
    """moto's, in the states that a database goes through."""

    @property
    def _url_module(self) -> ModuleType:
        return urls

    def create_db_instance(self, db_kwargs: dict[str, Any]) -> DBInstance:
        database = super().create_db_instance(db_kwargs)
        self._take_time(database, "creating")
        return database

    def modify_db_instance(self, db_instance_identifier: str, db_kwargs: dict[str, Any]) -> DBInstance:
        self._must_be_available(db_instance_identifier)
        database = super().modify_db_instance(db_instance_identifier, db_kwargs)
        self._take_time(database, "modifying")
        return database

    def modify_db_subnet_group(self, subnet_name: str, *args: Any, **kwargs: Any) -> DBSubnetGroup:
        """moto forgets the group that it modifies."""
        group = super().modify_db_subnet_group(subnet_name, *args, **kwargs)
        self.subnet_groups[subnet_name] = group
        return group

    def delete_db_instance(self, db_instance_identifier: str, *args: Any, **kwargs: Any) -> DBInstance:
        database = self.databases.get(db_instance_identifier)
        if database is None or database.deletion_protection or not CLOCK.seconds.get("database"):
            return super().delete_db_instance(db_instance_identifier, *args, **kwargs)
        if database.status == "deleting":
            raise RDSClientError(
                "InvalidDBInstanceState", f"Instance {db_instance_identifier} is already being deleted."
            )
        database.status = "deleting"
        delete = super().delete_db_instance
        CLOCK.after("database", lambda: delete(db_instance_identifier, *args, **kwargs))
        return database

    def _must_be_available(self, name: str) -> None:
        database = self.databases.get(name)
        if database is not None and database.status != "available":
            raise RDSClientError("InvalidDBInstanceState", f"Database instance {name} is not in available state.")

    def _take_time(self, database: DBInstance, status: str) -> None:
        trouble = CLOCK.trouble("database")
        database.status = status

        def happen() -> None:
            if trouble is None:
                database.status = "available"
            else:
                database.status = "failed"
                database.add_event("DB_INSTANCE_CREATE")
                self.events[-1].message = trouble

        CLOCK.after("database", happen)


def install() -> None:
    """Take the place of moto's. As in AWS, a database has no address before it is there."""
    rds_backends.backend = Databases
    DBInstance.endpoint = property(lambda database: None if database.status == "creating" else _endpoint(database))
