"""A link without a network, for tests of what stands above it."""

from __future__ import annotations

from airflow_eks_dask.executors.cluster_link import Answered, Confirmed, Connected, Disconnected
from airflow_eks_dask.executors.in_flight import Ask
from airflow_eks_dask.worker.protocol import Capacity, Outcome


class FakeLink:
    """Keeps what it was given, and tells what the test says."""

    def __init__(self, *events: object) -> None:
        self.pending: list[object] = list(events)
        self.submitted: dict[str, object] = {}
        self.asked: list[str] = []
        self.revoked: list[str] = []
        self.logs: list[str] = []
        self.running = False

    def start(self) -> None:
        self.running = True

    def stop(self, timeout: float = 30) -> None:
        self.running = False

    def events(self) -> list[object]:
        taken, self.pending = self.pending, []
        return taken

    def submit(self, submissions) -> None:
        self.submitted |= {submission.key: submission for submission in submissions}
        self.pending.append(Confirmed(tuple(submission.key for submission in submissions)))

    def ask(self, question) -> None:
        self.asked += question.keys

    def revoke(self, keys) -> None:
        self.revoked += keys

    def bring_log_home(self, key: str) -> None:
        self.logs.append(key)

    def connect(self, slots: int = 4, free: int | None = None, **queues: int) -> None:
        free = slots if free is None else free
        self.pending += [Connected("tcp://test"), Capacity(1, slots, free, queues or {"default": free})]

    def disconnect(self, reason: str = "gone") -> None:
        self.pending.append(Disconnected(reason))

    def end(self, key: str, *, success: bool = True, reason: str | None = None) -> None:
        self.pending.append(Outcome(key, success, reason))

    def answer(self, *, present: tuple[str, ...] = (), ended: tuple[Outcome, ...] = ()) -> None:
        self.pending.append(Answered(Ask(tuple(self.asked)), present, ended))
        self.asked = []
