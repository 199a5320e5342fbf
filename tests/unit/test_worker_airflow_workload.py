"""What a worker tells of its Airflow configuration."""

from __future__ import annotations

import pytest

from airflow_eks_dask.worker import airflow_workload


@pytest.mark.parametrize(
    ("option", "queues"),
    [(None, []), ("", []), ("gpu", ["gpu"]), (" gpu , two words,, render ", ["gpu", "two words", "render"])],
)
def test_queues_come_from_the_workers_own_configuration(monkeypatch, option, queues):
    monkeypatch.delenv("AIRFLOW__DASK__QUEUES", raising=False)
    if option is not None:
        monkeypatch.setenv("AIRFLOW__DASK__QUEUES", option)
    assert airflow_workload.describe()["queues"] == queues


def test_the_log_folder_is_the_workers_own(monkeypatch):
    monkeypatch.setenv("AIRFLOW__LOGGING__BASE_LOG_FOLDER", "/var/log/here")
    assert airflow_workload.describe()["log_folder"] == "/var/log/here"
