"""What a worker tells of its Airflow configuration, and in which processes it runs workloads."""

from __future__ import annotations

import pytest
from airflow.executors import workloads
from airflow.executors.workloads.callback import CallbackDTO, CallbackFetchMethod

from airflow_eks_dask import compat
from airflow_eks_dask.worker import airflow_workload
from tests.unit.test_executor import task


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


def callback():
    data = {"path": "airflow.utils.email.send_email", "kwargs": {}}
    return workloads.ExecuteCallback(
        callback=CallbackDTO(id="c", fetch_method=CallbackFetchMethod.IMPORT_PATH, data=data),
        dag_rel_path="d.py",
        token="secret",
        log_path="c.log",
        bundle_info=task().bundle_info,
    )


@pytest.mark.parametrize(("workload", "another"), [(task(), True), (callback(), False)], ids=["task", "callback"])
def test_a_process_in_which_code_of_users_ran_runs_no_other_workload(monkeypatch, workload, another):
    monkeypatch.setattr(compat, "run_workload", lambda _: None)
    assert (airflow_workload.run(workload.model_dump_json().encode()) is not None) is another
