"""What Helm remembers of a release, and what to make of it when an operation on it was cut short."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

TASK_LABEL = "airflow-eks-dask/task"
"""On Helm's record of a revision: which task made it."""


class OnPending(str, Enum):
    """What to do about an operation that was begun and never ended."""

    ROLLBACK_OR_UNINSTALL = "rollback_or_uninstall"
    ROLLBACK = "rollback"
    FAIL = "fail"


class Remedy(Enum):
    """How a release comes to rest again."""

    NONE = "nothing"
    ROLLBACK = "roll back"
    UNINSTALL = "uninstall"
    REFUSE = "refuse"


@dataclass(frozen=True)
class Revision:
    """
    One revision of a release.

    :param number: Counted from 1.
    :param status: Helm's word, such as ``deployed`` or ``pending-upgrade``.
    :param updated: When Helm last wrote it.
    :param chart: Name and version of the chart, with a hyphen between.
    :param app_version: Version of what the chart installs.
    :param description: What Helm says of it.
    """

    number: int
    status: str
    updated: datetime
    chart: str = ""
    app_version: str = ""
    description: str = ""

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Revision:
        """Read what ``helm history --output json`` says of one."""
        return cls(
            number=int(data["revision"]),
            status=str(data["status"]),
            updated=_time(str(data["updated"])),
            chart=str(data.get("chart", "")),
            app_version=str(data.get("app_version", "")),
            description=str(data.get("description", "")),
        )

    def to_json(self) -> dict[str, Any]:
        """Return what other tasks may want to know."""
        return {
            "revision": self.number,
            "status": self.status,
            "updated": self.updated.isoformat(),
            "chart": self.chart,
            "app_version": self.app_version,
            "description": self.description,
        }

    @property
    def is_pending(self) -> bool:
        """Whether an operation is under way, or was cut short: Helm can't tell which."""
        return self.status.startswith("pending-") or self.status == "uninstalling"


def last_good(history: Sequence[Revision]) -> Revision | None:
    """Return the newest revision that was deployed in full."""
    good = [each for each in history if each.status in ("deployed", "superseded")]
    return max(good, key=lambda each: each.number, default=None)


def remedy(history: Sequence[Revision], choice: OnPending) -> Remedy:
    """
    Decide how a release comes to rest again whose last operation was cut short.

    :param history: All that Helm remembers, the newest last.
    :param choice: What was asked for.
    """
    if not history or not history[-1].is_pending:
        return Remedy.NONE
    if choice is OnPending.FAIL:
        return Remedy.REFUSE
    if history[-1].status == "uninstalling":
        # Part of it is gone already: there is only one way, forward.
        return Remedy.UNINSTALL
    if last_good(history):
        return Remedy.ROLLBACK
    return Remedy.UNINSTALL if choice is OnPending.ROLLBACK_OR_UNINSTALL else Remedy.REFUSE


def task_mark(*names: Any) -> str:
    """Return what stands for a task in a label, where names may not be as long as Airflow's are."""
    return hashlib.sha256("\0".join(map(str, names)).encode()).hexdigest()[:32]


def age(revision: Revision) -> float:
    """Return the seconds since Helm last wrote a revision."""
    return (datetime.now(timezone.utc) - revision.updated).total_seconds()


def _time(text: str) -> datetime:
    # Go writes nanoseconds, and Python 3.10 reads at most microseconds, with an offset instead of a Z.
    whole, dot, rest = text.replace("Z", "+00:00").partition(".")
    if dot:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789"))]
        text = f"{whole}.{digits[:6].ljust(6, '0')}{rest[len(digits) :]}"
    else:
        text = whole
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
