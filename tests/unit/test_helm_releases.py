"""What is made of a release whose last operation was cut short."""

from __future__ import annotations

from datetime import datetime, timezone

import pytest

from airflow_eks_dask.helm.releases import OnPending, Remedy, Revision, last_good, remedy, task_mark

NOW = datetime(2026, 11, 25, tzinfo=timezone.utc)


def history(*statuses):
    return [Revision(number, status, NOW) for number, status in enumerate(statuses, 1)]


@pytest.mark.parametrize(
    ("statuses", "rollback_or_uninstall", "rollback", "fail"),
    [
        ([], Remedy.NONE, Remedy.NONE, Remedy.NONE),
        (["deployed"], Remedy.NONE, Remedy.NONE, Remedy.NONE),
        (["failed"], Remedy.NONE, Remedy.NONE, Remedy.NONE),
        (["uninstalled"], Remedy.NONE, Remedy.NONE, Remedy.NONE),
        (["pending-install"], Remedy.UNINSTALL, Remedy.REFUSE, Remedy.REFUSE),
        (["failed", "pending-upgrade"], Remedy.UNINSTALL, Remedy.REFUSE, Remedy.REFUSE),
        (["deployed", "pending-upgrade"], Remedy.ROLLBACK, Remedy.ROLLBACK, Remedy.REFUSE),
        (["superseded", "failed", "pending-rollback"], Remedy.ROLLBACK, Remedy.ROLLBACK, Remedy.REFUSE),
        (["uninstalling"], Remedy.UNINSTALL, Remedy.UNINSTALL, Remedy.REFUSE),
        (["superseded", "uninstalling"], Remedy.UNINSTALL, Remedy.UNINSTALL, Remedy.REFUSE),
    ],
)
def test_remedy(statuses, rollback_or_uninstall, rollback, fail):
    found = {choice: remedy(history(*statuses), choice) for choice in OnPending}
    assert found == {
        OnPending.ROLLBACK_OR_UNINSTALL: rollback_or_uninstall,
        OnPending.ROLLBACK: rollback,
        OnPending.FAIL: fail,
    }


def test_the_last_good_revision_is_the_newest_that_was_deployed():
    good = last_good(history("superseded", "deployed", "failed", "pending-upgrade"))
    assert good is not None
    assert good.number == 2
    assert last_good(history("failed", "pending-install")) is None


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-11-25T20:07:45.123456789Z", datetime(2026, 11, 25, 20, 7, 45, 123456, timezone.utc)),
        ("2026-11-25T22:07:45.1+02:00", datetime(2026, 11, 25, 20, 7, 45, 100000, timezone.utc)),
        ("2026-11-25T20:07:45Z", datetime(2026, 11, 25, 20, 7, 45, 0, timezone.utc)),
    ],
)
def test_times_as_helm_writes_them(text, moment):
    revision = Revision.from_json({"revision": 2, "updated": text, "status": "deployed", "chart": "app-1.0.0"})
    assert revision.updated == moment
    assert revision.to_json()["revision"] == 2


def test_a_mark_fits_into_a_label_and_tells_tasks_apart():
    mark = task_mark("dag" * 80, "scheduled__2026-11-25T00:00:00+00:00", "task" * 60, -1)
    assert len(mark) <= 63
    assert mark.isalnum()
    assert mark != task_mark("dag" * 80, "scheduled__2026-11-25T00:00:00+00:00", "task" * 60, 0)
    assert task_mark("a", "b") != task_mark("ab", "")
