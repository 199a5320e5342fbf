"""What is in the account, and what all operations need: finding things, naming them, changing them in their time."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from moto.core.base_backend import BaseBackend
from moto.core.exceptions import ServiceException
from moto.core.resource_tagging import TaggableResourcesMixin, TaggedResource

from tests.aws.clock import CLOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Shape = dict[str, Any]


class InUseError(ServiceException):
    code = "ResourceInUseException"


class NotFoundError(ServiceException):
    code = "ResourceNotFoundException"


class ParameterError(ServiceException):
    code = "InvalidParameterException"


class RequestError(ServiceException):
    code = "InvalidRequestException"


@dataclass
class Cluster:
    """A cluster and all that belongs to it; ``of`` has the shape that EKS answers with."""

    of: Shape
    nodegroups: dict[str, Shape] = field(default_factory=dict)
    addons: dict[str, Shape] = field(default_factory=dict)
    access_entries: dict[str, Shape] = field(default_factory=dict)
    access_policies: dict[str, dict[str, Shape]] = field(default_factory=dict)
    associations: dict[str, Shape] = field(default_factory=dict)
    updates: dict[str, tuple[Shape, Shape]] = field(default_factory=dict)
    """Each with what it updates."""


class Store(BaseBackend, TaggableResourcesMixin):
    """What the operations of all kinds of things share."""

    SERVICE_NAMESPACE = "eks"

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.clusters: dict[str, Cluster] = {}

    def cluster(self, name: str) -> Cluster:
        """Find a cluster."""
        if name not in self.clusters:
            raise NotFoundError(f"No cluster found for name: {name}.")
        return self.clusters[name]

    def active_cluster(self, name: str) -> Cluster:
        """Find a cluster that is not about to be made, changed or deleted."""
        cluster = self.cluster(name)
        if cluster.of["status"] not in ("ACTIVE", "UPDATING"):
            raise RequestError(f"Cluster '{name}' is not in ACTIVE status")
        return cluster

    def things(self) -> Iterator[Shape]:
        """Return all that has tags."""
        for cluster in self.clusters.values():
            yield cluster.of
            for kind in (cluster.nodegroups, cluster.addons, cluster.access_entries, cluster.associations):
                yield from kind.values()

    def iter_tagged_resources(self) -> Iterator[TaggedResource]:
        """Return all that has tags, for Resource Groups."""
        for shape in self.things():
            arn = arn_of(shape)
            yield TaggedResource(arn, shape["tags"], f"eks:{arn.split(':')[5].partition('/')[0]}")

    def arn(self, kind: str, *path: str) -> str:
        """Return the ARN of a thing."""
        return f"arn:{self.partition}:eks:{self.region_name}:{self.account_id}:{kind}/{'/'.join(path)}"

    def create(
        self, kind: str, siblings: dict[str, Any], key: str, shape: Shape, finish: Callable[[], object] | None = None
    ) -> None:
        """Let a thing that was just put among its siblings become active, or fail to."""
        trouble = CLOCK.trouble(kind)

        def happen() -> None:
            if key not in siblings:
                return
            if trouble is None:
                shape["status"] = "ACTIVE"
                if finish is not None:
                    finish()
            else:
                shape["status"] = "FAILED" if kind == "cluster" else "CREATE_FAILED"
                shape["health"] = {"issues": [_issue(kind, trouble)]}

        CLOCK.after(kind, happen)

    def update(
        self, kind: str, cluster: Cluster, shape: Shape, update_type: str, change: Shape, parameters: Shape
    ) -> Shape:
        """
        Begin an update, the only one at its time.

        :param change: What is different afterwards.
        :param parameters: What the update tells of itself.
        """
        if shape["status"] not in ("ACTIVE", "DEGRADED", "CREATE_FAILED", "UPDATE_FAILED"):
            raise InUseError(f"Cannot {update_type} because {kind} currently has an update in progress")
        update = {
            "id": str(uuid.uuid4()),
            "status": "InProgress",
            "type": update_type,
            "params": [{"type": name, "value": str(value)} for name, value in parameters.items()],
            "createdAt": now(),
            "errors": [],
        }
        cluster.updates[update["id"]] = (update, shape)
        shape["status"] = "UPDATING"
        trouble = CLOCK.trouble(kind)

        def happen() -> None:
            shape["status"] = "ACTIVE"
            if trouble is None:
                update["status"] = "Successful"
                shape.update(change, modifiedAt=now())
                return
            update.update(status="Failed", errors=[{"errorCode": "Unknown", "errorMessage": trouble}])
            if kind == "addon":
                shape.update(status="UPDATE_FAILED", health={"issues": [_issue(kind, trouble)]})

        CLOCK.after(kind, happen)
        return {"update": update}

    def delete(
        self, kind: str, siblings: dict[str, Any], key: str, shape: Shape, finish: Callable[[], object] | None = None
    ) -> None:
        """Let a thing go."""
        shape["status"] = "DELETING"

        def happen() -> None:
            siblings.pop(key, None)
            if finish is not None:
                finish()

        CLOCK.after(kind, happen)


def _issue(kind: str, message: str) -> Shape:
    code = {"cluster": "Other", "nodegroup": "NodeCreationFailure", "addon": "InsufficientNumberOfReplicas"}[kind]
    return {"code": code, "message": message, "resourceIds": []}


def now() -> datetime:
    """Return the time that things are created and changed at."""
    return datetime.now(timezone.utc)


def arn_of(shape: Shape) -> str:
    """Return the ARN of what a shape describes."""
    names = ("nodegroupArn", "addonArn", "accessEntryArn", "associationArn", "arn")
    return next(shape[name] for name in names if name in shape)
