"""The executor's ledger: each workload is reported once, whatever the network does."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from airflow_eks_dask.executors.in_flight import Ask, InFlight, Report, Revoke, Send
from airflow_eks_dask.worker.protocol import Outcome, Submission


def submission(key: str) -> Submission:
    return Submission(key, b"payload")


def test_submitted_confirmed_ended():
    ledger: InFlight[str] = InFlight()
    assert ledger.submit({"task": submission("k")}) == [Send((submission("k"),))]
    assert ledger.unconfirmed == 1
    ledger.confirmed(["k"])
    assert (ledger.unconfirmed, len(ledger)) == (0, 1)
    assert ledger.ended(Outcome("k", False, "why")) == [Report("task", False, "why")]
    assert len(ledger) == 0


def test_a_second_or_foreign_outcome_is_passed_over():
    ledger: InFlight[str] = InFlight()
    ledger.submit({"task": submission("k")})
    assert len(ledger.ended(Outcome("k", True))) == 1
    assert ledger.ended(Outcome("k", True)) == []
    assert ledger.ended(Outcome("somebody else's", True)) == []


def test_what_never_arrived_is_sent_again_after_an_outage():
    ledger: InFlight[str] = InFlight()
    ledger.submit({"task": submission("k")})
    assert ledger.connected() == [Ask(("k",))]
    assert ledger.answered(["k"], [], []) == [Send((submission("k"),))]


def test_what_ended_during_an_outage_is_reported():
    ledger: InFlight[str] = InFlight()
    ledger.submit({"task": submission("k")})
    ledger.confirmed(["k"])
    assert ledger.answered(["k"], [], [Outcome("k", True)]) == [Report("task", True, None)]


def test_what_a_restarted_dask_scheduler_forgot_fails_with_that_reason():
    ledger: InFlight[str] = InFlight()
    ledger.submit({"task": submission("k")})
    ledger.confirmed(["k"])
    (report,) = ledger.answered(["k"], [], [])
    assert (report.workload, report.success) == ("task", False)
    assert "restarted" in report.reason


def test_an_answer_does_not_concern_what_was_submitted_after_the_question():
    ledger: InFlight[str] = InFlight()
    ledger.submit({"old": submission("1")})
    ledger.submit({"new": submission("2")})
    assert ledger.answered(["1"], ["1"], []) == []
    assert len(ledger) == 2


def test_an_adopted_task_is_asked_for_and_reported():
    ledger: InFlight[str] = InFlight()
    assert ledger.adopt({"task": "k"}) == [Ask(("k",))]
    assert ledger.answered(["k"], ["k"], []) == []
    assert ledger.ended(Outcome("k", True)) == [Report("task", True, None)]


def test_nothing_is_reported_of_a_revoked_workload():
    ledger: InFlight[str] = InFlight()
    ledger.submit({"task": submission("k")})
    assert ledger.revoke("task") == [Revoke(("k",))]
    assert ledger.ended(Outcome("k", False, "ended at Airflow's request")) == []
    assert ledger.revoke("task") == []
    assert ledger.unconfirmed == 0


def test_a_task_that_resumes_before_its_first_part_is_heard_of_has_both_reported():
    ledger: InFlight[str] = InFlight()
    ledger.submit({"task": submission("before deferral")})
    ledger.submit({"task": submission("after deferral")})
    assert ledger.ended(Outcome("before deferral", True)) == [Report("task", True, None)]
    assert ledger.revoke("task") == [Revoke(("after deferral",))]


class AnyOrder(RuleBasedStateMachine):
    """A cluster that may lose messages, its memory, or both, against the ledger."""

    workloads = Bundle("workloads")

    def __init__(self) -> None:
        super().__init__()
        self.ledger: InFlight[int] = InFlight()
        self.number = 0
        self.in_cluster: dict[str, bool | None] = {}
        self.questions: list[tuple[str, ...]] = []
        self.reported: list[int] = []
        self.owed: set[int] = set()

    def take(self, instructions: list, *, delivered: bool = True) -> None:
        for instruction in instructions:
            match instruction:
                case Report(workload, _, _):
                    assert workload in self.owed, "reported twice, or revoked before"
                    self.owed.discard(workload)
                    self.reported.append(workload)
                case Send(submissions) if delivered:
                    for sent in submissions:
                        self.in_cluster.setdefault(sent.key, None)
                case Ask(keys):
                    self.questions.append(keys)

    @rule(target=workloads, delivered=st.booleans())
    def submit(self, delivered):
        self.number += 1
        self.owed.add(self.number)
        self.take(self.ledger.submit({self.number: submission(str(self.number))}), delivered=delivered)
        return self.number

    @rule(workload=workloads)
    def confirm(self, workload):
        if str(workload) in self.in_cluster:
            self.ledger.confirmed([str(workload)])

    @rule(workload=workloads, success=st.booleans(), heard=st.booleans())
    def end(self, workload, success, heard):
        key = str(workload)
        if self.in_cluster.get(key, success) is None:
            self.in_cluster[key] = success
        if heard and self.in_cluster.get(key) is not None:
            self.take(self.ledger.ended(Outcome(key, self.in_cluster[key])))

    @rule(workload=workloads)
    def revoke(self, workload):
        self.owed.discard(workload)
        self.take(self.ledger.revoke(workload))

    @rule()
    def dask_scheduler_forgets(self):
        self.in_cluster.clear()

    @rule()
    def reconnect(self):
        self.take(self.ledger.connected())

    @rule()
    def answer(self):
        for asked in self.questions:
            present = [key for key in asked if self.in_cluster.get(key, False) is None]
            ended = [Outcome(k, bool(self.in_cluster[k])) for k in asked if self.in_cluster.get(k) is not None]
            self.take(self.ledger.answered(asked, present, ended))
        self.questions.clear()

    @invariant()
    def counts_add_up(self):
        assert len(self.ledger) == len(self.owed)
        assert 0 <= self.ledger.unconfirmed <= len(self.ledger)

    def teardown(self):
        # Once the network holds and everything ends, nothing is left over.
        for _ in range(2):
            self.reconnect()
            self.answer()
            for key in self.in_cluster:
                self.in_cluster[key] = self.in_cluster[key] or True
        self.reconnect()
        self.answer()
        assert not self.owed
        assert len(self.ledger) == 0


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
