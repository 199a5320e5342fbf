"""Counting the tasks that wait in Airflow."""

from __future__ import annotations

import pytest

from airflow_eks_dask.executors import demand
from airflow_eks_dask.executors.demand import DemandWatch
from tests.conftest import eventually


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(demand, "INTERVAL", 0.01)


def test_counts_come_soon_after_they_were_asked_for():
    watch = DemandWatch(lambda: {"gpu": 3})
    try:
        eventually(lambda: watch.counts() == {"gpu": 3}, what="counted")
    finally:
        watch.stop()


def test_it_survives_a_database_that_is_away(caplog):
    answers = iter([ConnectionError("no database"), ConnectionError("no database"), {"gpu": 1}])

    def count():
        answer = next(answers, {"gpu": 1})
        if isinstance(answer, Exception):
            raise answer
        return answer

    watch = DemandWatch(count)
    try:
        eventually(lambda: watch.counts() == {"gpu": 1}, what="counted")
    finally:
        watch.stop()
    assert caplog.text.count("no database") == 1


def test_nothing_is_counted_that_nobody_asks_for():
    watch = DemandWatch(lambda: pytest.fail("counted"))
    watch.stop()
    assert watch._thread is None
