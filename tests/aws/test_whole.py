"""Everything together: built, built again, removed, removed again."""

from __future__ import annotations

import pytest

from tests.aws import account, whole


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    # What is polled is there already.
    monkeypatch.setattr("time.sleep", lambda _: None)


def test_what_is_built_twice_is_built_once_and_what_is_removed_twice_is_gone(simulation, aws):
    empty = account.contents(simulation)
    first = whole.run(whole.bootstrap, aws)
    assert {plans[0]["action"] for plans in first.plans.values()} == {"create"}
    built = account.contents(simulation)
    simulation.forget_calls()
    second = whole.run(whole.bootstrap, aws)
    assert simulation.writes() == []
    assert {plan["action"] for plans in second.plans.values() for plan in plans} == {"leave"}
    assert account.differences(built, account.contents(simulation)) == []

    removed = whole.run(whole.teardown, aws)
    assert removed.xcom_pull("leftovers") == {"left": [], "kept": []}
    assert account.differences(empty, account.contents(simulation)) == []
    simulation.forget_calls()
    whole.run(whole.teardown, aws)
    assert simulation.writes() == []


def test_a_dry_run_of_everything_changes_nothing(simulation, aws):
    dry = whole.run(whole.bootstrap, aws, dry_run=True)
    assert {plan["action"] for plans in dry.plans.values() for plan in plans} == {"create"}
    assert simulation.writes() == []
