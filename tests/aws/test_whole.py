"""Everything together: built, built again, removed, removed again."""

from __future__ import annotations

import pytest

from tests.aws import account, dags, whole
from tests.aws.meddling import meddle


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    # What is polled is there already.
    monkeypatch.setattr("time.sleep", lambda _: None)


def test_what_is_built_twice_is_built_once_and_what_is_removed_twice_is_gone(simulation, aws):
    empty = account.contents(simulation)
    first = whole.run(dags.bootstrap, aws)
    assert {plans[0]["action"] for plans in first.plans.values()} == {"create"}
    assert first.links.keys() == first.plans.keys()
    assert all(link.startswith("https://console.aws.amazon.com/") for link in first.links.values())
    built = account.contents(simulation)
    simulation.forget_calls()
    second = whole.run(dags.bootstrap, aws)
    assert simulation.writes() == []
    assert {plan["action"] for plans in second.plans.values() for plan in plans} == {"leave"}
    assert account.differences(built, account.contents(simulation)) == []

    removed = whole.run(dags.teardown, aws)
    assert removed.xcom_pull("leftovers") == {"left": [], "kept": []}
    assert removed.links.keys() == {*removed.plans, "leftovers"}
    assert account.differences(empty, account.contents(simulation)) == []
    simulation.forget_calls()
    whole.run(dags.teardown, aws)
    assert simulation.writes() == []


def test_a_dry_run_of_everything_changes_nothing(simulation, aws):
    dry = whole.run(dags.bootstrap, aws, dry_run=True)
    assert {plan["action"] for plans in dry.plans.values() for plan in plans} == {"create"}
    assert simulation.writes() == []


def test_what_somebody_did_behind_our_back_is_shown_and_mended(simulation, aws):
    whole.run(dags.bootstrap, aws)
    built = account.contents(simulation)
    tasks = meddle(simulation)
    simulation.forget_calls()
    dry = whole.run(dags.bootstrap, aws, dry_run=True)
    assert {task for task, plans in dry.plans.items() if plans[0]["action"] != "leave"} == tasks
    # What CloudFormation would do, it says only of a change set.
    assert set(simulation.writes()) == {"cloudformation:CreateChangeSet", "cloudformation:DeleteChangeSet"}

    whole.run(dags.bootstrap, aws)
    simulation.forget_calls()
    whole.run(dags.bootstrap, aws)
    assert simulation.writes() == []
    mended = account.contents(simulation)
    # It tells that it was updated.
    del built["describe_stacks"], mended["describe_stacks"]
    assert account.differences(built, mended) == []


def test_other_tags_reach_everything(simulation, aws):
    whole.run(dags.bootstrap, aws)
    tagged = whole.run(dags.bootstrap, aws, tags={"team": "data"})
    assert {plans[0]["action"] for plans in tagged.plans.values()} == {"change"}
    simulation.forget_calls()
    whole.run(dags.bootstrap, aws, tags={"team": "data"})
    assert simulation.writes() == []
