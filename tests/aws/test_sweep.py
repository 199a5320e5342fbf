"""A sample of all points where a call of bootstrap or teardown may fail; CI tries more of them."""

from __future__ import annotations

import pytest

from tests.aws import account, dags, sweep, whole


@pytest.fixture(autouse=True)
def _quick():
    with sweep.quick():
        yield


def test_a_task_whose_call_failed_makes_up_for_it_in_its_next_run(simulation):
    tried, wrong = sweep.sweep(simulation, sweep.sample(6, seed=1))
    print(f"{tried} points tried")
    assert tried > 3
    assert wrong == []


def test_a_bootstrap_that_was_killed_half_way_is_made_up_for_by_the_next(simulation):
    aws = sweep.MortalClients()
    whole.run(dags.bootstrap, aws)
    expected = account.contents(simulation)
    simulation.reset()
    aws.dies_after, aws.calls = aws.calls // 2, 0
    with pytest.raises(sweep.KilledError):
        whole.run(dags.bootstrap, aws)
    aws.dies_after = 0
    whole.run(dags.bootstrap, aws)
    assert account.differences(expected, account.contents(simulation)) == []


@pytest.mark.parametrize(("kind", "found"), [("killed", True), ("dropped", True), ("denied", False)])
def test_what_a_second_run_makes_once_more_is_found(simulation, kind, found):
    stage = sweep.Stage(simulation)

    def careless():
        stage.aws.client("ec2").create_vpc(CidrBlock="10.0.0.0/16")

    simulation.save()
    wrong = stage.try_point(careless, sweep.Point("some", "careless", 1, kind), stage.undisturbed(careless))
    assert bool(wrong) == found
