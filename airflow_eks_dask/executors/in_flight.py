"""
What an executor has given to a cluster and not yet heard the end of: a pure state machine.

Events come in as method calls, instructions go out; nothing here waits or sends. Whatever the order of events, each
workload is reported once: reporting removes it, and only what is present is reported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from airflow_eks_dask.worker.protocol import Outcome, Submission

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Send:
    """Submit these to the cluster. Sending one twice does no harm."""

    submissions: tuple[Submission, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the cluster what it knows of these keys."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Revoke:
    """Have the cluster end these."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report(Generic[K]):
    """Tell Airflow how a workload ended."""

    workload: K
    success: bool
    reason: str | None


Instruction = Send | Ask | Revoke | Report[K]


@dataclass(slots=True)
class _Entry(Generic[K]):
    workload: K
    # Kept until the cluster has confirmed it; None from then on, and for an adopted workload.
    submission: Submission | None


class InFlight(Generic[K]):
    """The workloads of one cluster, by the key they have there; ``K`` is Airflow's key."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry[K]] = {}
        self._keys: dict[K, str] = {}
        self.unconfirmed = 0

    def __len__(self) -> int:
        return len(self._entries)

    def submit(self, submissions: Mapping[K, Submission]) -> list[Instruction[K]]:
        """Take workloads that Airflow wants run."""
        for workload, submission in submissions.items():
            self._entries[submission.key] = _Entry(workload, submission)
            self._keys[workload] = submission.key
        self.unconfirmed += len(submissions)
        return [Send(tuple(submissions.values()))] if submissions else []

    def adopt(self, workloads: Mapping[K, str]) -> list[Instruction[K]]:
        """Take over workloads that another executor had submitted under these keys."""
        fresh = {workload: key for workload, key in workloads.items() if key not in self._entries}
        for workload, key in fresh.items():
            self._entries[key] = _Entry(workload, None)
            self._keys[workload] = key
        return [Ask(tuple(fresh.values()))] if fresh else []

    def confirmed(self, keys: Iterable[str]) -> None:
        """Note that the cluster has taken these."""
        for key in keys:
            entry = self._entries.get(key)
            if entry is not None and entry.submission is not None:
                entry.submission = None
                self.unconfirmed -= 1

    def connected(self) -> list[Instruction[K]]:
        """Find out, after a connection was made, what became of everything."""
        return [Ask(tuple(self._entries))] if self._entries else []

    def answered(self, asked: Iterable[str], present: Iterable[str], ended: Iterable[Outcome]) -> list[Instruction[K]]:
        """
        Take the answer to an :class:`Ask`.

        :param asked: The keys that were asked for: those of workloads submitted since are not concerned.
        :param present: Those waiting or running on the cluster.
        :param ended: How others ended.
        """
        present = set(present)
        self.confirmed(present)
        instructions = [instruction for outcome in ended for instruction in self.ended(outcome)]
        send = []
        for key in asked:
            entry = self._entries.get(key)
            if entry is None or key in present:
                continue
            if entry.submission is not None:
                send.append(entry.submission)
            else:
                reason = "the Dask scheduler no longer knows it: it was restarted, and its workers ended with it"
                instructions += self.ended(Outcome(key, False, reason))
        return [*instructions, Send(tuple(send))] if send else instructions

    def ended(self, outcome: Outcome) -> list[Instruction[K]]:
        """Note an outcome; those of other executors' workloads, and second ones, are passed over."""
        entry = self._remove(outcome.key)
        return [] if entry is None else [Report(entry.workload, outcome.success, outcome.reason)]

    def revoke(self, workload: K) -> list[Instruction[K]]:
        """Give up a workload that Airflow no longer wants; nothing is reported for it."""
        key = self._keys.get(workload)
        if key is None:
            return []
        self._remove(key)
        return [Revoke((key,))]

    def _remove(self, key: str) -> _Entry[K] | None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        if entry.submission is not None:
            self.unconfirmed -= 1
        # The same task instance may be in flight again already, under a new key (it was deferred and resumed).
        if self._keys.get(entry.workload) == key:
            del self._keys[entry.workload]
        return entry
