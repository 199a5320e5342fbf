"""
What an executor has given to a cluster and not yet heard the end of: a pure state machine.

Events come in as method calls, instructions go out; nothing here waits or sends. Whatever the order of events, each
workload is reported once: reporting removes it, and only what is present is reported.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from airflow_eks_dask.worker.protocol import Outcome, Submission

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

K = TypeVar("K")

_FORGOTTEN = "the Dask scheduler no longer knows it: it was restarted, and its workers ended with it"


@dataclass(frozen=True, slots=True)
class Send:
    """Submit these to the cluster. Sending one twice does no harm."""

    submissions: tuple[Submission, ...]


@dataclass(frozen=True, slots=True)
class Ask:
    """
    Ask the cluster what it knows of these keys.

    :param again: They were unknown when last asked for. After a restart of the Dask scheduler its former workers end,
        and what they ran with them; ask when that is certain to have happened.
    :param fence: Those the cluster is to refuse from now on if it does not have them: they will be given back.
    """

    keys: tuple[str, ...]
    again: bool = False
    fence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Revoke:
    """Have the cluster end these."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Report(Generic[K]):
    """
    Tell Airflow how a workload ended.

    :param key: What the cluster called it.
    :param has_log: Whether it may have written a log.
    """

    workload: K
    success: bool
    reason: str | None
    key: str
    has_log: bool = field(default=True, compare=False)


@dataclass(frozen=True, slots=True)
class Release(Generic[K]):
    """Give a workload back to Airflow: the cluster never had it, so it may be started again."""

    workload: K
    reason: str


Instruction = Send | Ask | Revoke | Report[K] | Release[K]


@dataclass(frozen=True, slots=True)
class Adoption:
    """
    A workload that another executor had submitted.

    :param key: What the cluster calls it.
    :param started: Whether Airflow has heard from it.
    """

    key: str
    started: bool


@dataclass(slots=True)
class _Entry(Generic[K]):
    workload: K
    # Kept until the cluster has confirmed it; None from then on, and for an adopted workload.
    submission: Submission | None
    sent: bool = True
    has_log: bool = True
    # Until it has been told that nobody serves it.
    queue: str | None = None
    # Set until the cluster has told that it knows an adopted workload.
    adoption: Adoption | None = None

    @property
    def may_be_released(self) -> bool:
        """Whether nobody has heard of it since it was sent by another executor."""
        return self.adoption is not None and not self.adoption.started


class InFlight(Generic[K]):
    """The workloads of one cluster, by the key they have there; ``K`` is Airflow's key."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry[K]] = {}
        self._keys: dict[K, str] = {}
        self._unconfirmed = 0
        self._adoptions = 0
        # What the cluster is to end and has not yet confirmed to have been told.
        self._revocations: set[str] = set()
        self._is_connected = False

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def unconfirmed(self) -> int:
        """How many workloads the cluster is not known to have."""
        return self._unconfirmed

    @property
    def unanswered_adoptions(self) -> int:
        """How many adopted workloads the cluster has not been heard about."""
        return self._adoptions

    def submit(self, submissions: Mapping[K, Submission]) -> list[Instruction[K]]:
        """Take workloads that Airflow wants run. Without a connection they are held until there is one."""
        for workload, submission in submissions.items():
            entry = _Entry(workload, submission, self._is_connected, submission.log_path is not None, submission.queue)
            self._add(submission.key, entry)
        return [Send(tuple(submissions.values()))] if submissions and self._is_connected else []

    def adopt(self, workloads: Mapping[K, Adoption]) -> list[Instruction[K]]:
        """Take over workloads that another executor had submitted."""
        fresh = {workload: adoption for workload, adoption in workloads.items() if adoption.key not in self._entries}
        for workload, adoption in fresh.items():
            self._add(adoption.key, _Entry(workload, None, adoption=adoption))
        return [self._ask([adoption.key for adoption in fresh.values()])] if fresh and self._is_connected else []

    def confirmed(self, keys: Iterable[str]) -> None:
        """Note that the cluster has taken these."""
        for key in keys:
            entry = self._entries.get(key)
            if entry is not None and entry.submission is not None:
                entry.submission = None
                self._unconfirmed -= 1

    def connected(self) -> list[Instruction[K]]:
        """Send what was held, and find out what became of the rest."""
        self._is_connected = True
        asked, held = [], []
        for key, entry in self._entries.items():
            if entry.submission is not None and not entry.sent:
                entry.sent = True
                held.append(entry.submission)
            else:
                asked.append(key)
        instructions: list[Instruction[K]] = []
        if self._revocations:
            instructions.append(Revoke(tuple(self._revocations)))
        if asked:
            instructions.append(self._ask(asked))
        if held:
            instructions.append(Send(tuple(held)))
        return instructions

    def disconnected(self) -> None:
        """Note that nothing can be sent, and that what was sent may not have arrived."""
        self._is_connected = False

    def answered(self, asked: Ask, present: Iterable[str], ended: Iterable[Outcome]) -> list[Instruction[K]]:
        """
        Take the answer to an :class:`Ask`.

        :param asked: The question: workloads submitted since are not concerned.
        :param present: Those waiting or running on the cluster.
        :param ended: How others ended.
        """
        present = set(present)
        self.confirmed(present)
        instructions = [instruction for outcome in ended for instruction in self.ended(outcome)]
        send: list[Submission] = []
        missing: list[str] = []
        for key in asked.keys:
            entry = self._entries.get(key)
            if entry is None:
                continue
            if key in present:
                self._settle(entry)
            elif entry.submission is not None:
                send.append(entry.submission)
            elif entry.may_be_released:
                instructions += self._release(key, entry)
            elif asked.again:
                instructions += self.ended(Outcome(key, False, _FORGOTTEN))
            else:
                self._settle(entry)
                missing.append(key)
        if missing:
            instructions.append(Ask(tuple(missing), again=True))
        if send:
            instructions.append(Send(tuple(send)))
        return instructions

    def ended(self, outcome: Outcome) -> list[Instruction[K]]:
        """Note an outcome; those of other executors' workloads, and second ones, are passed over."""
        entry = self._entries.get(outcome.key)
        if entry is None:
            return []
        if entry.may_be_released and outcome.worker is None and not outcome.success:
            return self._release(outcome.key, entry)
        self._remove(outcome.key)
        return [Report(entry.workload, outcome.success, outcome.reason, outcome.key, entry.has_log)]

    def revoke(self, workload: K) -> list[Instruction[K]]:
        """Give up a workload that Airflow no longer wants; nothing is reported for it."""
        key = self._keys.get(workload)
        if key is None:
            return []
        entry = self._remove(key)
        return self._end(key) if entry is not None and entry.sent else []

    def revoked(self, keys: Iterable[str]) -> None:
        """Note that the cluster has been told to end these."""
        self._revocations.difference_update(keys)

    def give_up(self, reason: str) -> list[Instruction[K]]:
        """Report everything the cluster may have as failed, and have it ended should the cluster be seen again."""
        instructions: list[Instruction[K]] = []
        for key, entry in list(self._entries.items()):
            if entry.sent:
                self._remove(key)
                self._revocations.add(key)
                instructions.append(Report(entry.workload, False, reason, key))
        return instructions

    def withdraw(self) -> dict[K, Submission]:
        """Take back what was never sent, for another cluster."""
        held = {
            entry.workload: entry.submission
            for entry in self._entries.values()
            if entry.submission is not None and not entry.sent
        }
        for submission in held.values():
            self._remove(submission.key)
        return held

    def first_waits(self, queues: Container[str]) -> list[tuple[K, str]]:
        """Return the workloads of some queues, each only the first time, with their queues."""
        found = []
        for entry in self._entries.values():
            if entry.queue is not None and entry.queue in queues:
                found.append((entry.workload, entry.queue))
                entry.queue = None
        return found

    def _release(self, key: str, entry: _Entry[K]) -> list[Instruction[K]]:
        self._remove(key)
        return [Release(entry.workload, "the cluster never got it")]

    def _ask(self, keys: Iterable[str]) -> Ask:
        keys = tuple(keys)
        return Ask(keys, fence=tuple(key for key in keys if self._entries[key].may_be_released))

    def _end(self, key: str) -> list[Instruction[K]]:
        self._revocations.add(key)
        return [Revoke((key,))] if self._is_connected else []

    def _settle(self, entry: _Entry[K]) -> None:
        if entry.adoption is not None:
            entry.adoption = None
            self._adoptions -= 1

    def _add(self, key: str, entry: _Entry[K]) -> None:
        self._entries[key] = entry
        self._keys[entry.workload] = key
        self._unconfirmed += entry.submission is not None
        self._adoptions += entry.adoption is not None

    def _remove(self, key: str) -> _Entry[K] | None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        self._settle(entry)
        self._unconfirmed -= entry.submission is not None
        # The same task instance may be in flight again already, under a new key (it was deferred and resumed).
        if self._keys.get(entry.workload) == key:
            del self._keys[entry.workload]
        return entry
