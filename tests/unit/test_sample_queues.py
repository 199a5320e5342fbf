from __future__ import annotations

import importlib.util
from contextlib import nullcontext
from types import SimpleNamespace

import pandas as pd
import pyarrow.parquet as pq
import pytest
from airflow.dag_processing.dagbag import BundleDagBag

import airflow_eks_dask
from airflow_eks_dask.bundle import dags_folder
from airflow_eks_dask.executors import requirements
from airflow_eks_dask.hooks.dask_scheduler import SchedulerCalls
from airflow_eks_dask.samples import percentiles

FILE = dags_folder() / "sample_queues.py"
ROWS = 24_000


@pytest.fixture
def queues(monkeypatch, tmp_path):
    """Return the DAG file as a module."""
    spec = importlib.util.spec_from_file_location("sample_queues", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    params = {"year": 2024, "rows": ROWS, "seed": 1, "share": 10, "if_not_served": "sample", "data_dir": str(tmp_path)}
    module.context = {"params": params, "run_id": "manual__1"}
    monkeypatch.setattr(module, "get_current_context", lambda: module.context)
    return module


@pytest.fixture
def paths(queues):
    return [queues.make.function(number) for number in range(1, 13)]


def worker(state="running", queues=("default", "large"), **resources):
    return {"name": "w", "state": state, "queues": list(queues), "resources": resources or {"MEMORY": 4e9}}


@pytest.fixture
def workers(monkeypatch):
    """Set which workers the Dask scheduler tells of."""
    found = []
    client = SimpleNamespace(scheduler=SimpleNamespace(address="tcp://127.0.0.1:8786"))
    monkeypatch.setattr(airflow_eks_dask, "get_client", lambda: nullcontext(client), raising=False)
    monkeypatch.setattr(SchedulerCalls, "status", lambda self: {"workers": found})
    return found


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        ([], "sampled"),
        ([worker(queues=["default"])], "sampled"),
        ([worker(queues=["default"]), worker()], "exact"),
        ([worker(queues=["large"])], "exact"),
        ([worker(state="draining")], "sampled"),
        ([worker(state="starting")], "sampled"),
        ([worker(GPU=1)], "sampled"),
        ([worker(MEMORY=1e9)], "sampled"),
        ([worker(MEMORY=2e9)], "exact"),
    ],
)
def test_the_exact_way_is_taken_if_a_worker_can(found, chosen, queues, workers):
    workers.extend(found)

    assert queues.choose.function() == chosen


def test_it_waits_for_a_worker_if_that_is_wished(queues, workers):
    queues.context["params"]["if_not_served"] = "wait"

    assert queues.choose.function() == "exact"


def test_only_the_task_with_all_trips_asks_for_the_queue():
    bag = BundleDagBag(dag_folder=FILE, bundle_path=FILE.parent, bundle_name="samples")
    tasks = bag.dags["sample_queues"].tasks

    assert {task.task_id for task in tasks if task.queue == "large"} == {"exact"}
    asked = {task.task_id: requirements.read(task.executor_config).resources for task in tasks}
    assert asked.pop("exact") == {"MEMORY": 2e9}
    assert not any(asked.values())


def test_exact_percentiles_are_those_of_all_good_trips(queues, paths, tmp_path):
    found = queues.exact.function(paths)

    trips = pd.concat([pq.read_table(path).to_pandas() for path in paths])
    assert (found["exact"], found["trips"]) == (True, len(trips))
    trips["speed"] = (trips["distance_m"] * 3.6 / trips["duration_s"]).round(1)
    trips["hour"] = trips["pickup_at"].dt.hour
    table = pq.read_table(found["table"]).to_pandas().set_index(["zone", "hour"]).sort_index()
    for percentile in percentiles.PERCENTILES:
        expected = trips.groupby(["zone", "hour"])["speed"].quantile(percentile / 100).sort_index()
        assert table[f"p{percentile}"].to_list() == pytest.approx(expected.to_list(), abs=1e-3)
    assert table["trips"].sum() == len(trips)


def test_a_sample_is_of_the_size_that_was_asked_for_and_near_the_truth(queues, paths):
    exact = pq.read_table(queues.exact.function(paths)["table"]).to_pandas()

    found = queues.sampled.function(paths)

    assert found["exact"] is False
    assert found["trips"] == pytest.approx(exact["trips"].sum() / 10, abs=12)
    sampled = pq.read_table(found["table"]).to_pandas()
    busiest = exact.sort_values("trips").iloc[-1]
    same = sampled[(sampled["zone"] == busiest["zone"]) & (sampled["hour"] == busiest["hour"])].iloc[0]
    assert same["p50"] == pytest.approx(busiest["p50"], rel=0.15)


def test_the_same_seed_draws_the_same_sample(queues, paths):
    first = pq.read_table(queues.sampled.function(paths)["table"])

    assert pq.read_table(queues.sampled.function(paths)["table"]) == first
    assert percentiles.read_speeds(paths, 0.1, 1).equals(percentiles.read_speeds(paths, 0.1, 1))
    assert not percentiles.read_speeds(paths, 0.1, 1).equals(percentiles.read_speeds(paths, 0.1, 2))


@pytest.mark.parametrize("way", ["exact", "sampled"])
def test_the_report_tells_which_way_was_taken(way, queues, paths):
    found = getattr(queues, way).function(paths)

    report = queues.report.function(*((found, None) if way == "exact" else (None, found)))

    assert report["exact"] is (way == "exact")
    assert report["groups"] > 24
    assert "95 % below" in report["fastest"]
