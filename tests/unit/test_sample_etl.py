from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from airflow.sdk.exceptions import AirflowFailException
from distributed import Client, LocalCluster
from sqlalchemy import create_engine, inspect, select
from sqlalchemy.exc import IntegrityError

import airflow_eks_dask
from airflow_eks_dask.bundle import dags_folder
from airflow_eks_dask.samples import files, results, taxi

ROWS = 6_000
RULES = {
    "missing pickup time",
    "missing zone",
    "pickup in another month",
    "negative distance",
    "no duration",
    "impossible speed",
    "negative fare",
}


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0") as cluster:
        yield cluster


@pytest.fixture
def etl(tmp_path, monkeypatch, cluster):
    """Return the DAG file as a module; its tasks run on a real cluster and store results in SQLite."""
    spec = importlib.util.spec_from_file_location("sample_etl", dags_folder() / "sample_etl.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(airflow_eks_dask, "get_client", lambda: Client(cluster), raising=False)
    connection = {"conn_type": "sqlite", "host": str(tmp_path / "results.db")}
    monkeypatch.setenv("AIRFLOW_CONN_SAMPLE_RESULTS", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW_CONN_WEB", "https://example.com")
    return module


@pytest.fixture
def run(etl, tmp_path, monkeypatch):
    """Return a function that runs all steps as the DAG does, and returns the report."""

    def run_all(run_id="manual__1", **params):
        params = {
            "year": 2024,
            "rows": ROWS,
            "seed": 1,
            "data_dir": str(tmp_path / "data"),
            "conn_id": "sample_results",
        } | params
        monkeypatch.setattr(etl, "get_current_context", lambda: {"params": params, "run_id": run_id})
        plan = etl.prepare.function()
        months = [etl.validate.function(plan, etl.extract.function(plan, number)) for number in range(1, 13)]
        sums = etl.transform.function(plan, months)
        loaded, picture = etl.load.function(plan, sums), etl.chart.function(plan, sums)
        return etl.report.function(plan, months, loaded, picture)

    return run_all


def stored(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'results.db'}")
    with engine.connect() as connection:
        return connection.execute(select(results.DAILY).order_by(*results.DAILY.primary_key.columns)).all()


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def test_no_trip_is_lost_and_bad_ones_are_set_aside(run):
    report = run()

    raw, good, bad = (pq.read_table(f"{report['folder']}/{step}") for step in ("raw", "good", "bad"))
    assert raw.num_rows == report["rows_in"] == ROWS
    assert good.num_rows == report["good"]
    assert bad.num_rows == report["bad"] > 0
    assert sorted(good["trip_id"].to_pylist() + bad["trip_id"].to_pylist()) == list(range(ROWS))
    assert report["bad_by_reason"] == bad["reason"].to_pandas().value_counts().to_dict()
    assert set(report["bad_by_reason"]) == RULES


def test_sums_are_those_of_the_good_trips(run, tmp_path):
    report = run()

    good = pq.read_table(f"{report['folder']}/good").to_pandas()
    good["day"] = good["pickup_at"].dt.date
    expected = good.groupby(["day", "zone"]).agg({"trip_id": "count", "distance_m": "sum", "fare_cents": "sum"})
    rows = [(row.day, row.zone, row.trips, row.distance_m, row.fare_cents) for row in stored(tmp_path)]
    assert rows == [tuple(row) for row in expected.reset_index().itertuples(index=False)]
    assert len(rows) == report["rows_loaded"]


def test_the_chart_is_a_picture(run):
    chart = Path(run()["chart"])

    assert chart.suffix == ".png"
    assert chart.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_running_again_gives_the_same_and_no_double_rows(run, tmp_path):
    first = run()
    files_before, rows_before = contents(first["folder"]), stored(tmp_path)

    assert run() == first
    assert contents(first["folder"]) == files_before
    assert stored(tmp_path) == rows_before


def test_runs_do_not_disturb_each_other(run, tmp_path):
    first = run("manual__a:1")
    files_before = contents(first["folder"])

    second = run("manual__a+1", seed=2)

    assert second["folder"] != first["folder"]
    assert contents(first["folder"]) == files_before
    rows = stored(tmp_path)
    assert sum(row.trips for row in rows if row.run_id == "manual__a:1") == first["good"]
    assert sum(row.trips for row in rows if row.run_id == "manual__a+1") == second["good"]


def test_files_may_be_in_an_object_store(run):
    report = run(data_dir="memory://bucket/prefix")

    assert report["folder"].startswith("memory://bucket/prefix/")
    assert len(files.read_json(f"{report['folder']}/daily.json")) == report["rows_loaded"]


def test_a_run_without_the_connection_fails_at_once_and_says_what_to_do(run, tmp_path):
    with pytest.raises(AirflowFailException, match=r"No connection 'absent'.*airflow connections add absent"):
        run(conn_id="absent")
    assert not (tmp_path / "data").exists()


def test_results_go_to_a_database_only(run):
    with pytest.raises(AirflowFailException, match=r"'web' is of type 'https'.*'postgres' or 'sqlite'"):
        run(conn_id="web")


@pytest.mark.parametrize(("good", "trips"), [(9, 9), (10, 9), (10, 20)])
def test_lost_or_doubled_trips_fail_the_report(etl, good, trips):
    plan = {"run_id": "r", "folder": "/data/r", "year": 2025, "rows": 12, "seed": 1}
    months = [{"month": "2025-01", "good": good, "bad": {"no duration": 2}}]

    with pytest.raises(ValueError, match="do not add up"):
        etl.summarize(plan, months, {"rows": 5, "trips": trips}, "/data/r/fares.png")


def trip(**changes):
    values = {
        "trip_id": 1,
        "pickup_at": pd.Timestamp("2025-02-28 23:59:59"),
        "zone": "Harbour",
        "distance_m": 5_000,
        "duration_s": 600,
        "fare_cents": 1_200,
    } | changes
    schema = taxi.make_trips("2025-02", 0, 1, 1).schema
    return pa.Table.from_pylist([values], schema=schema)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pickup_at": None}, "missing pickup time"),
        ({"zone": None}, "missing zone"),
        ({"pickup_at": pd.Timestamp("2025-03-01")}, "pickup in another month"),
        ({"pickup_at": pd.Timestamp("2025-01-31 23:59:59")}, "pickup in another month"),
        ({"distance_m": -1}, "negative distance"),
        ({"duration_s": 0}, "no duration"),
        ({"distance_m": 50_000, "duration_s": 60}, "impossible speed"),
        ({"fare_cents": -1}, "negative fare"),
        ({"zone": None, "fare_cents": -1}, "missing zone"),
    ],
)
def test_a_bad_trip_gets_the_first_rule_it_breaks(changes, reason):
    good, bad = taxi.split_trips(trip(**changes), "2025-02")

    assert good.num_rows == 0
    assert taxi.count_reasons(bad) == {reason: 1}


@pytest.mark.parametrize("changes", [{}, {"pickup_at": pd.Timestamp("2025-02-01")}, {"fare_cents": 0}])
def test_a_good_trip_stays_as_it_is(changes):
    good, bad = taxi.split_trips(trip(**changes), "2025-02")

    assert good == trip(**changes)
    assert bad.num_rows == 0


@pytest.mark.parametrize(
    ("pickup", "rush_hour"),
    [("2025-02-28 08:00", 1), ("2025-02-28 18:59", 1), ("2025-02-28 19:00", 0), ("2025-02-22 08:00", 0)],
)
def test_rush_hours_are_those_of_working_days(pickup, rush_hour):
    enriched = taxi.enrich_trips(trip(pickup_at=pd.Timestamp(pickup)).to_pandas()).iloc[0]

    assert enriched["rush_hour"] == rush_hour
    assert enriched["day"] == pd.Timestamp(pickup).normalize()
    assert enriched["speed_kmh"] == 30.0


def test_a_month_without_trips_is_no_trouble():
    good, bad = taxi.split_trips(taxi.make_trips("2025-02", 7, 7, 1), "2025-02")

    assert good.num_rows == bad.num_rows == 0
    assert taxi.enrich_trips(good.to_pandas()).empty


def test_other_seeds_give_other_trips():
    first = taxi.make_trips("2025-02", 0, 100, 1)

    assert first == taxi.make_trips("2025-02", 0, 100, 1)
    assert first != taxi.make_trips("2025-02", 0, 100, 2)


def test_failing_to_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "sub" / "file"
    files.write(str(path), lambda file: file.write(b"old"))

    def fail(file):
        file.write(b"half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        files.write(str(path), fail)

    assert contents(tmp_path) == {path.relative_to(tmp_path): b"old"}


@pytest.mark.parametrize("run_id", ["..", "../../etc", "manual__2025-01-01T00:00:00+00:00", "a/b", "x" * 250])
def test_a_run_has_a_folder_beneath_the_data_directory_whatever_its_id(run_id, tmp_path):
    folder = Path(files.run_folder(str(tmp_path), run_id))

    folder.mkdir()
    assert folder.resolve().parent == tmp_path.resolve()


def test_file_urls_are_paths():
    assert files.run_folder("file:///data", "r") == files.run_folder("/data", "r")


def test_a_load_that_fails_leaves_the_rows_of_the_last_one(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'results.db'}")
    row = {
        "day": "2025-01-01",
        "zone": "Harbour",
        "trips": 3,
        "rush_hour_trips": 1,
        "distance_m": 10,
        "duration_s": 10,
        "fare_cents": 10,
        "top_speed_kmh": 1.5,
    }
    assert results.replace_rows(engine, "r", [row]) == {"rows": 1, "trips": 3}

    with pytest.raises(IntegrityError):
        results.replace_rows(engine, "r", [row | {"trips": 4}, row | {"trips": 5}])

    assert [row.trips for row in stored(tmp_path)] == [3]
    primary_key = inspect(engine).get_pk_constraint("sample_etl_daily")["constrained_columns"]
    assert primary_key == ["run_id", "day", "zone"]
