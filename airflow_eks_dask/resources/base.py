"""
What all resources have in common: the words for what is wanted, what is found and what follows, and the contract.

A resource is a frozen dataclass: its fields are the wanted state, its methods look at AWS and change it. It holds no
memory of what it did. Whoever converges it (:mod:`airflow_eks_dask.operators.resource`) asks for a plan, has it carried
out, waits, and asks again until nothing is left to do. So a task killed anywhere goes on where AWS stands.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_eks_dask.resources import ownership

if TYPE_CHECKING:
    from botocore.exceptions import ClientError
    from typing_extensions import Self

    from airflow_eks_dask.hooks.aws import AwsClients
    from airflow_eks_dask.resources.cost import CostItem

UNKNOWN = "(known after creation)"
"""Stands, in a dry run, for what AWS will only tell once something exists."""


class Action(str, Enum):
    """What a plan comes down to."""

    CREATE = "create"
    CHANGE = "change"
    LEAVE = "leave"
    DELETE = "delete"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Plan:
    """
    What is to be done about a resource, and why.

    :param kind: Of the resource, such as ``IAM role``.
    :param name: What AWS calls it.
    :param reasons: One for each difference, in words; for a refusal, why.
    :param changes: What :meth:`Resource.apply` needs to know of the differences; not shown.
    """

    kind: str
    name: str
    action: Action
    reasons: tuple[str, ...] = ()
    changes: dict[str, Any] = field(default_factory=dict, compare=False)

    def summary(self) -> dict[str, Any]:
        """Return the plan as JSON data, for a table of all plans."""
        return {"kind": self.kind, "name": self.name, "action": self.action.value, "reasons": list(self.reasons)}


class State(str, Enum):
    """Where a resource stands."""

    ABSENT = "absent"
    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True)
class Progress:
    """
    Where a resource stands, in AWS's own words.

    :param detail: Lines for the log: the status, events and issues that AWS tells. A line that was logged is not
        logged again.
    """

    state: State
    detail: tuple[str, ...] = ()


class ResourceError(Exception):
    """A resource can't be what is wanted; the message says which, why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Resource(ABC):
    """
    A resource in AWS.

    Fields are strings, numbers, booleans and lists and dicts of them, so that a trigger can hold the resource: never a
    secret. In a dry run they may be :data:`UNKNOWN`.

    :param cluster_name: The cluster that the resource is made for; its tag of ownership.
    :param tags: Further tags.
    :param existing: It was made by somebody else and is only to be used: it is checked, never changed nor deleted.
    """

    kind: ClassVar[str]
    timeout: ClassVar[float] = 600
    """Seconds that each of creating, changing and deleting it takes at the very most."""

    cluster_name: str
    tags: dict[str, str] = field(default_factory=dict)
    existing: bool = False

    @property
    @abstractmethod
    def name(self) -> str:
        """What AWS calls it."""

    @abstractmethod
    def console_path(self, region: str) -> str:
        """Return the path of its page in the AWS console."""

    @abstractmethod
    def problems(self) -> list[str]:
        """Return all that is wrong with the wanted state, without asking AWS."""

    @abstractmethod
    def identity_problems(self) -> list[str]:
        """Return what is wrong with the fields that deleting needs, without asking AWS."""

    @abstractmethod
    def plan(self, aws: AwsClients) -> Plan:
        """Find it, compare it with what is wanted, and change nothing."""

    @abstractmethod
    def apply(self, aws: AwsClients, plan: Plan) -> None:
        """Begin what :meth:`plan` said: create it, or make as many changes as AWS takes at once."""

    @abstractmethod
    def progress(self, aws: AwsClients) -> Progress:
        """Say where it stands. ``FAILED``: AWS has given up, and waiting is no use."""

    @abstractmethod
    def outputs(self, aws: AwsClients) -> dict[str, Any]:
        """Return what others need of it (JSON data): ids, addresses; :data:`UNKNOWN` for what isn't there."""

    @abstractmethod
    def plan_deletion(self, aws: AwsClients) -> Plan:
        """Find it and say whether it is ours to delete: ``DELETE``, ``LEAVE`` if it is gone, ``REFUSE``."""

    @abstractmethod
    def delete(self, aws: AwsClients, plan: Plan) -> None:
        """Begin to delete it. Its absence is no error."""

    def is_transient(self, error: ClientError) -> bool:
        """Whether an error of :meth:`apply` or :meth:`delete` goes away by itself within minutes."""
        return False

    def cost_items(self) -> list[CostItem]:
        """Return what AWS bills for it every month, as far as that can be foreseen; nothing if it is free."""
        return []

    @property
    def wanted_tags(self) -> dict[str, str]:
        """The tags that it is to carry."""
        return ownership.tags_of(self.cluster_name, self.tags)

    def a_plan(self, action: Action, *reasons: str, **changes: Any) -> Plan:
        """Return a plan for this resource."""
        return Plan(self.kind, self.name, action, tuple(reasons), changes)

    def examine(self, aws: AwsClients) -> Plan:
        """Return :meth:`plan`; for an existing resource one that changes nothing."""
        plan = self.plan(aws)
        if not self.existing or plan.action in (Action.LEAVE, Action.REFUSE):
            return plan
        if plan.action is Action.CREATE:
            return self.a_plan(Action.REFUSE, f"{self.kind} {self.name} is to be there already, and is not")
        return self.a_plan(Action.LEAVE, *(f"not ours to change: {reason}" for reason in plan.reasons))

    def examine_deletion(self, aws: AwsClients) -> Plan:
        """Return :meth:`plan_deletion`; for an existing resource one that leaves it."""
        return self.a_plan(Action.LEAVE, "it is not ours to delete") if self.existing else self.plan_deletion(aws)

    def refused(self, tags: dict[str, str]) -> Plan | None:
        """Return a plan that refuses to touch something with these tags; None if it is ours or only to be used."""
        if self.existing:
            return None
        reason = ownership.refusal(self.cluster_name, tags)
        return None if reason is None else self.a_plan(Action.REFUSE, f"{self.kind} {self.name} exists, and {reason}")

    def to_json(self) -> dict[str, Any]:
        """Return the wanted state as JSON data, for :meth:`from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """Return the resource with this wanted state."""
        return cls(**data)

    @classmethod
    def field_names(cls) -> tuple[str, ...]:
        """Return the names of the fields."""
        return tuple(each.name for each in fields(cls))
