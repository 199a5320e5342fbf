"""A sample of all points where a call of bootstrap or teardown may fail; CI tries the others."""

from __future__ import annotations

import pytest

from tests.aws import account, sweep, whole


@pytest.fixture(autouse=True)
def _quick():
    with sweep.quick():
        yield


def test_a_task_whose_call_failed_makes_up_for_it_in_its_next_run(simulation):
    tried, wrong = sweep.sweep(simulation, sweep.sample(4, seed=1))
    print(f"{tried} points tried")
    assert tried > 5
    assert wrong == []


def test_a_bootstrap_that_was_killed_half_way_is_made_up_for_by_the_next(simulation):
    aws = sweep.MortalClients()
    whole.run(whole.bootstrap, aws)
    expected = account.contents(simulation)
    simulation.reset()
    aws.dies_after, aws.calls = aws.calls // 2, 0
    with pytest.raises(sweep.KilledError):
        whole.run(whole.bootstrap, aws)
    aws.dies_after = 0
    whole.run(whole.bootstrap, aws)
    assert account.differences(expected, account.contents(simulation)) == []
