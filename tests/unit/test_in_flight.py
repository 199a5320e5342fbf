"""The executor's ledger: each workload is reported once, whatever the network does."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, rule

from airflow_eks_dask.executors.in_flight import Adoption, Ask, InFlight, Release, Report, Revoke, Send
from airflow_eks_dask.worker.protocol import Outcome, Submission

pytestmark = pytest.mark.any_airflow


def submission(key: str) -> Submission:
    return Submission(key, b"payload")


@pytest.fixture
def ledger() -> InFlight[str]:
    """One with a connection."""
    ledger: InFlight[str] = InFlight()
    assert ledger.connected() == []
    return ledger


def test_submitted_confirmed_ended(ledger):
    assert ledger.submit({"task": submission("k")}) == [Send((submission("k"),))]
    assert ledger.unconfirmed == 1
    ledger.confirmed(["k"])
    assert (ledger.unconfirmed, len(ledger)) == (0, 1)
    assert ledger.ended(Outcome("k", False, "why")) == [Report("task", False, "why", "k")]
    assert len(ledger) == 0


def test_a_second_or_foreign_outcome_is_passed_over(ledger):
    ledger.submit({"task": submission("k")})
    assert len(ledger.ended(Outcome("k", True))) == 1
    assert ledger.ended(Outcome("k", True)) == []
    assert ledger.ended(Outcome("somebody else's", True)) == []


class TestOutage:
    """What happens to the connection happens to no workload."""

    def test_what_is_submitted_meanwhile_is_held(self, ledger):
        ledger.disconnected()
        assert ledger.submit({"task": submission("k")}) == []
        assert ledger.connected() == [Send((submission("k"),))]
        assert ledger.connected() == [Ask(("k",))], "it has been sent"

    def test_what_never_arrived_is_sent_again(self, ledger):
        ledger.submit({"task": submission("k")})
        ledger.disconnected()
        assert ledger.connected() == [Ask(("k",))]
        assert ledger.answered(Ask(("k",)), [], []) == [Send((submission("k"),))]

    def test_what_ended_meanwhile_is_reported(self, ledger):
        ledger.submit({"task": submission("k")})
        ledger.confirmed(["k"])
        assert ledger.answered(Ask(("k",)), [], [Outcome("k", True)]) == [Report("task", True, None, "k")]

    def test_what_a_restarted_dask_scheduler_forgot_fails_with_that_reason(self, ledger):
        ledger.submit({"task": submission("k")})
        ledger.confirmed(["k"])
        (again,) = ledger.answered(Ask(("k",)), [], [])
        assert again == Ask(("k",), again=True), "its worker may not have ended yet"
        (report,) = ledger.answered(again, [], [])
        assert (report.workload, report.success) == ("task", False)
        assert "restarted" in report.reason

    def test_what_a_worker_told_a_restarted_dask_scheduler_of_runs_on(self, ledger):
        ledger.submit({"task": submission("k")})
        ledger.confirmed(["k"])
        (again,) = ledger.answered(Ask(("k",)), [], [])
        assert ledger.answered(again, ["k"], []) == []
        assert len(ledger) == 1

    def test_an_answer_does_not_concern_what_was_submitted_after_the_question(self, ledger):
        ledger.submit({"old": submission("1")})
        ledger.submit({"new": submission("2")})
        assert ledger.answered(Ask(("1",)), ["1"], []) == []
        assert len(ledger) == 2

    def test_one_without_end_fails_what_may_run_and_has_it_ended_later(self, ledger):
        ledger.submit({"sent": submission("1")})
        ledger.disconnected()
        ledger.submit({"held": submission("2")})
        assert ledger.give_up("away for long") == [Report("sent", False, "away for long", "1")]
        assert ledger.connected() == [Revoke(("1",)), Send((submission("2"),))]
        ledger.revoked(["1"])
        assert ledger.connected() == [Ask(("2",))]

    def test_another_cluster_gets_what_was_held_and_nothing_else(self, ledger):
        ledger.submit({"sent": submission("1")})
        ledger.disconnected()
        ledger.submit({"held": submission("2")})
        assert ledger.withdraw() == {"held": submission("2")}
        assert len(ledger) == 1
        assert ledger.connected() == [Ask(("1",))]


class TestAdoption:
    """Workloads of an Airflow scheduler that is gone."""

    def test_one_that_runs_is_reported_when_it_ends(self, ledger):
        assert ledger.adopt({"task": Adoption("k", started=True)}) == [Ask(("k",))]
        assert ledger.unanswered_adoptions == 1
        assert ledger.answered(Ask(("k",)), ["k"], []) == []
        assert ledger.unanswered_adoptions == 0
        assert ledger.ended(Outcome("k", True)) == [Report("task", True, None, "k")]

    def test_one_that_ended_meanwhile_is_reported(self, ledger):
        ledger.adopt({"task": Adoption("k", started=False)})
        assert ledger.answered(Ask(("k",)), [], [Outcome("k", True, worker="w")]) == [Report("task", True, None, "k")]
        assert ledger.unanswered_adoptions == 0

    def test_one_that_never_reached_the_cluster_is_refused_there_and_given_back(self, ledger):
        (asked,) = ledger.adopt({"task": Adoption("k", started=False)})
        assert asked == Ask(("k",), fence=("k",))
        (release,) = ledger.answered(asked, [], [])
        assert (type(release), release.workload) == (Release, "task")
        assert (len(ledger), ledger.unanswered_adoptions) == (0, 0)

    def test_one_is_given_back_too_if_the_first_answer_was_lost(self, ledger):
        ledger.adopt({"task": Adoption("k", started=False)})
        ledger.disconnected()
        (asked,) = ledger.connected()
        (release,) = ledger.answered(asked, [], [Outcome("k", False, "given back before it arrived")])
        assert isinstance(release, Release)

    def test_one_that_had_started_and_is_unknown_has_failed(self, ledger):
        ledger.adopt({"task": Adoption("k", started=True)})
        (report,) = ledger.answered(Ask(("k",), again=True), [], [])
        assert not report.success

    def test_one_is_not_given_back_once_the_cluster_has_known_it(self, ledger):
        ledger.adopt({"task": Adoption("k", started=False)})
        ledger.answered(Ask(("k",)), ["k"], [])
        (report,) = ledger.answered(Ask(("k",), again=True), [], [])
        assert isinstance(report, Report)


class TestRevocation:
    """Nothing is reported of what Airflow no longer wants, and it does not run on."""

    def test_of_what_runs(self, ledger):
        ledger.submit({"task": submission("k")})
        assert ledger.revoke("task") == [Revoke(("k",))]
        assert ledger.ended(Outcome("k", False, "ended at Airflow's request")) == []
        assert ledger.revoke("task") == []
        assert ledger.unconfirmed == 0

    def test_during_an_outage_reaches_the_cluster_after_it(self, ledger):
        ledger.submit({"task": submission("k")})
        ledger.disconnected()
        assert ledger.revoke("task") == []
        assert ledger.connected() == [Revoke(("k",))]
        assert ledger.connected() == [Revoke(("k",))], "the first may have been lost"
        ledger.revoked(["k"])
        assert ledger.connected() == []

    def test_of_what_was_held_needs_no_cluster(self, ledger):
        ledger.disconnected()
        ledger.submit({"task": submission("k")})
        assert ledger.revoke("task") == []
        assert ledger.connected() == []


def test_a_task_that_resumes_before_its_first_part_is_heard_of_has_both_reported(ledger):
    ledger.submit({"task": submission("before deferral")})
    ledger.submit({"task": submission("after deferral")})
    assert ledger.ended(Outcome("before deferral", True)) == [Report("task", True, None, "before deferral")]
    assert ledger.revoke("task") == [Revoke(("after deferral",))]


class AnyOrder(RuleBasedStateMachine):
    """A cluster that may lose messages, its memory, or both, against the ledger."""

    workloads = Bundle("workloads")

    def __init__(self) -> None:
        super().__init__()
        self.ledger: InFlight[int] = InFlight()
        self.number = 0
        self.in_cluster: dict[str, bool | None] = {}
        self.questions: list[Ask] = []
        self.reported: list[int] = []
        self.owed: set[int] = set()

    def take(self, instructions: list, *, delivered: bool = True) -> None:
        for instruction in instructions:
            match instruction:
                case Report(workload):
                    assert workload in self.owed, "reported twice, or revoked before"
                    self.owed.discard(workload)
                    self.reported.append(workload)
                case Send(submissions) if delivered:
                    for sent in submissions:
                        self.in_cluster.setdefault(sent.key, None)
                case Ask():
                    self.questions.append(instruction)

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
    def disconnect(self):
        self.ledger.disconnected()

    @rule()
    def give_up(self):
        self.take(self.ledger.give_up("away for long"))

    @rule()
    def reconnect(self):
        self.take(self.ledger.connected())

    @rule()
    def answer(self):
        questions, self.questions = self.questions, []
        for asked in questions:
            present = [key for key in asked.keys if self.in_cluster.get(key, False) is None]
            ended = [Outcome(k, bool(self.in_cluster[k])) for k in asked.keys if self.in_cluster.get(k) is not None]
            self.take(self.ledger.answered(asked, present, ended))

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
