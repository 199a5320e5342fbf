from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from distributed import Client, LocalCluster

import airflow_eks_dask
from airflow_eks_dask.bundle import dags_folder
from airflow_eks_dask.samples import confidence, taxi
from airflow_eks_dask.samples.confidence import Sample

SAMPLE = Sample(year=2024, rows=25_000, seed=1)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    """Five parts of the trips."""
    monkeypatch.setattr(confidence, "PART", 5_000)


@pytest.fixture(scope="module")
def cluster():
    # Threads of this process: they see the parts that are small here.
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster:
        yield cluster


@pytest.fixture
def client(cluster):
    with Client(cluster) as client:
        yield client


def in_sequence(sample, resamples):
    return sum(confidence.add_up_part(number, sample, resamples) for number in range(sample.parts))


def test_a_cluster_comes_to_exactly_what_one_part_after_the_other_does(client):
    seen = []

    sums = confidence.compute(client, SAMPLE, 60, seen.append)

    assert seen == [1, 2, 3, 4, 5]
    assert (sums == in_sequence(SAMPLE, 60)).all()


def test_a_computation_is_given_up_in_time(client):
    with pytest.raises(TimeoutError):
        confidence.compute(client, SAMPLE._replace(seed=2), 200, print, timeout=0.001)


def test_what_goes_wrong_on_a_worker_is_raised(client):
    with pytest.raises(ValueError, match="non-negative"):
        confidence.compute(client, SAMPLE._replace(seed=-1), 20, print)


def test_the_first_sums_are_those_of_the_trips_as_they_are():
    values, ends = np.arange(12.0).reshape(4, 3), np.array([1, 1, 4])

    sums = confidence.resampled_sums(values, ends, 30, seed=1)

    assert sums.shape == (31, 3, 3)
    assert sums[0].tolist() == [[0, 1, 2], [0, 0, 0], [18, 21, 24]]
    assert not sums[:, 1].any()
    assert len(np.unique(sums[1:, 2, 0])) > 5


def test_resamples_vary_as_much_as_theory_says():
    """Of a mean of n values, the bootstrap's standard deviation is that of the values divided by the root of n."""
    random = np.random.default_rng(1)
    fares = random.gamma(2.0, 500.0, 4_000)
    values = np.column_stack([fares, np.full(4_000, 3600.0), np.ones(4_000)])

    sums = confidence.resampled_sums(values, np.array([4_000]), 1_000, seed=1)

    means = sums[1:, 0, 0] / sums[1:, 0, 2]
    assert means.std() == pytest.approx(fares.std() / 4_000**0.5, rel=0.1)
    assert means.mean() == pytest.approx(fares.mean(), rel=0.001)


def test_figures_are_those_of_the_good_trips():
    table = confidence.hourly_fares(in_sequence(SAMPLE, 100), 0.95)

    good = []
    for number in range(SAMPLE.parts):
        month = f"2024-{1 + number * 12 // SAMPLE.parts:02}"
        seed = int(np.random.SeedSequence([SAMPLE.seed, number]).generate_state(2)[0])
        trips = taxi.make_trips(month, number * 5_000, (number + 1) * 5_000, seed)
        good.append(taxi.enrich_trips(taxi.split_trips(trips, month)[0].to_pandas()))
    sums = pd.concat(good).groupby(["zone", "rush_hour"])[["fare_cents", "duration_s"]].sum()
    expected = sums["fare_cents"] / sums["duration_s"] * 36
    for row in table.itertuples():
        assert row.per_hour == pytest.approx(expected[row.zone, int(row.rush_hour)])
        assert row.low < row.per_hour < row.high
    assert table["trips"].sum() == sum(map(len, good))


def test_more_confidence_and_fewer_trips_make_wider_intervals():
    def width(sample, share):
        table = confidence.hourly_fares(in_sequence(sample, 200), share)
        return (table["high"] - table["low"]).mean()

    usual = width(SAMPLE, 0.95)

    assert width(SAMPLE, 0.99) > 1.1 * usual
    assert width(SAMPLE._replace(rows=5_000), 0.95) > 1.5 * usual


def test_a_zone_without_trips_is_left_out():
    sums = np.zeros((21, len(confidence.GROUPS), 3))
    sums[:, 3] = [1_000, 1_800, 1]
    sums[1, 3] = 0  # a resample that holds none of them

    table = confidence.hourly_fares(sums, 0.9)

    assert table.to_dict("records") == [
        {"zone": "Old Town", "rush_hour": True, "trips": 1, "per_hour": 20.0, "low": 20.0, "high": 20.0}
    ]


@pytest.fixture
def run(cluster, monkeypatch, tmp_path):
    """Return a function that runs all steps as the DAG does, and returns the report."""
    spec = importlib.util.spec_from_file_location("sample_confidence", dags_folder() / "sample_confidence.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(airflow_eks_dask, "get_client", lambda: Client(cluster), raising=False)
    params = {"year": 2024, "rows": 25_000, "resamples": 40, "confidence": 95, "seed": 1, "data_dir": str(tmp_path)}
    monkeypatch.setattr(module, "get_current_context", lambda: {"params": params, "run_id": "manual__1"})

    def run_all():
        plan = module.prepare.function()
        estimated = module.estimate.function(plan)
        return module.report.function(estimated, module.chart.function(plan, estimated))

    return run_all


def test_a_run_leaves_figures_and_a_chart_and_says_how_far_it_is(run, caplog):
    with caplog.at_level("INFO"):
        report = run()

    assert report["parts"] == 5
    assert report["threads"] == 2
    assert 24_000 < report["trips"] < 25_000
    assert Path(report["chart"]).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert pq.read_table(report["table"]).num_rows == len(report["per_hour"]) > 7
    assert "5 parts for 2 threads of 2 workers" in caplog.text
    assert "1 of 5 parts done" in caplog.text
    assert "5 of 5 parts done" in caplog.text


def test_running_again_gives_the_same(run):
    first = run()
    table = pq.read_table(first["table"])

    second = run()

    assert second["per_hour"] == first["per_hour"]
    assert pq.read_table(second["table"]) == table
