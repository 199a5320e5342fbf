"""What an object in Kubernetes is called, what a manifest says of it, and what becomes of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self


PROPAGATIONS = ("Foreground", "Background", "Orphan")
"""What becomes of what hangs on an object that is deleted, such as pods: it goes first, afterwards, or stays."""


@dataclass(frozen=True, order=True)
class Reference:
    """
    Which object in a cluster.

    :param namespace: None: its kind has none.
    """

    api_version: str
    kind: str
    namespace: str | None
    name: str

    def __str__(self) -> str:
        """Return what people call it, such as ``Deployment airflow/pipelines``."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @property
    def group(self) -> str:
        """The group of its API, without version; empty for the core's."""
        return self.api_version.rpartition("/")[0]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data, for :meth:`from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Return the reference of this data."""
        return cls(**data)


def conditions(status: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the conditions in the status of an object, by their types."""
    return {each["type"]: each for each in (status or {}).get("conditions") or ()}


class Goal(str, Enum):
    """What objects are waited for to be."""

    READY = "ready"
    GONE = "gone"


class ObjectAction(str, Enum):
    """What is done about an object."""

    CREATE = "create"
    CHANGE = "change"
    UNCHANGED = "unchanged"
    DELETE = "delete"
    ABSENT = "absent"
    KEEP = "keep"
    """It is there, and not ours."""


@dataclass(frozen=True)
class Change:
    """
    What was done about an object, or would be.

    :param difference: Lines of a unified diff, without what Secrets hold.
    :param reason: Why, where the action alone does not tell.
    """

    reference: Reference
    action: ObjectAction
    difference: tuple[str, ...] = field(default=(), repr=False)
    reason: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the summary: ``object`` and ``action``."""
        return {"object": str(self.reference), "action": self.action.value}
