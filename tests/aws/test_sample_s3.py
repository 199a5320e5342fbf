"""The sample pipeline from S3 to PostgreSQL, task by task: a simulated S3, a real PostgreSQL."""

from __future__ import annotations

import importlib.util
import json
import threading
from itertools import count
from types import SimpleNamespace

import psycopg2
import pyarrow as pa
import pytest
from airflow.sdk.exceptions import AirflowFailException, TaskDeferred
from botocore.exceptions import ClientError

from airflow_eks_dask.bundle import dags_folder
from airflow_eks_dask.local.postgres import PostgresServer
from airflow_eks_dask.samples import results, s3_objects, taxi, trips_store
from airflow_eks_dask.samples.s3_objects import ObjectsTrigger, WaitForObjects
from tests.triggers import run_trigger

BUCKET = "pipelines-data"
ROWS = 2_400
NUMBERS = count()
TABLES = ("sample_s3_objects", "sample_s3_trips", "sample_s3_rejected")


@pytest.fixture(scope="module")
def postgres():
    with PostgresServer() as server:
        yield server


@pytest.fixture
def database(postgres, monkeypatch):
    """An empty database; Airflow's connection ``sample_results`` leads to it."""
    name = f"results_{next(NUMBERS)}"
    postgres.create_database(name)
    monkeypatch.setenv("AIRFLOW_CONN_SAMPLE_RESULTS", postgres.dsn(name))
    return postgres.dsn(name)


@pytest.fixture
def s3(simulation):
    """S3 with the bucket."""
    client = simulation.boto("s3")
    client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    return client


@pytest.fixture
def hook(simulation):
    return s3_objects.s3_hook("aws_default")


@pytest.fixture
def dag():
    """Return the DAG file as a module."""
    spec = importlib.util.spec_from_file_location("sample_s3_to_postgres", dags_folder() / "sample_s3_to_postgres.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(dag, s3, database, monkeypatch):
    """Return a function that runs all steps as the DAG does, and returns the report."""

    def run_all(states=None, **params):
        params = {
            "bucket": BUCKET,
            "pattern": "trips/*.parquet",
            "rows": ROWS,
            "year": 2025,
            "seed": 1,
            "aws_conn_id": "aws_default",
            "conn_id": "sample_results",
        } | params
        dag_run = SimpleNamespace(dag_id="sample_s3_to_postgres", run_id="r")
        ti = SimpleNamespace(get_task_states=lambda dag_id, *, task_ids, run_ids: {"r": states or {}})
        monkeypatch.setattr(dag, "get_current_context", lambda: {"params": params, "dag_run": dag_run, "ti": ti})
        dag.prepare.function()
        dag.put_samples.function()
        due = dag.changed.function()
        return dag.report.function(due, [dag.load.function(each) for each in due] or None)

    return run_all


def tables(dsn):
    with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
        contents = {}
        for table in TABLES:
            cursor.execute(f"SELECT * FROM {table} ORDER BY 1, 2")
            contents[table] = cursor.fetchall()
    return contents


def test_each_trip_is_loaded_or_rejected_with_its_reason(run, database):
    report = run()

    assert (report["files"], report["loaded_now"], report["objects"]) == (12, 12, 12)
    assert report["trips"] + report["rejected"] == ROWS
    assert sum(report["trips_by_zone"].values()) == report["trips"]
    found = tables(database)
    trips = {row[1] for row in found["sample_s3_trips"]}
    rejected = {row[1]: row[2] for row in found["sample_s3_rejected"]}
    assert trips | set(rejected) == set(range(ROWS))
    assert not trips & set(rejected)
    for number in range(1, 13):
        month = f"2025-{number:02}"
        raw = taxi.make_trips(month, ROWS * (number - 1) // 12, ROWS * number // 12, 1)
        good, bad = taxi.split_trips(raw, month)
        of_month = [row[1:] for row in found["sample_s3_trips"] if row[0] == f"s3://{BUCKET}/trips/{month}.parquet"]
        assert of_month == [tuple(row.values()) for row in good.to_pylist()]
        assert all(rejected[row["trip_id"]] == row["reason"] for row in bad.to_pylist())


def test_a_second_run_loads_nothing_and_changes_nothing(run, database):
    first = run()
    before = tables(database)

    second = run()

    assert second == first | {"loaded_now": 0}
    assert tables(database) == before


def test_a_file_that_was_not_loaded_fails_the_run(run):
    with pytest.raises(AirflowFailException, match="See the logs of what failed: load_3, load_7"):
        run({"changed": "success", "load_3": "failed", "load_4": "success", "load_7": "upstream_failed"})


def test_a_file_that_has_changed_is_replaced_and_the_others_stay(run, database, hook):
    run()
    before = tables(database)
    other = taxi.make_trips("2025-03", 0, 50, 7)
    s3_objects.write_trips(hook, BUCKET, "trips/2025-03.parquet", other)

    report = run(rows=0)

    assert report["loaded_now"] == 1
    changed = f"s3://{BUCKET}/trips/2025-03.parquet"
    after = tables(database)
    for table in TABLES:
        assert [row for row in after[table] if row[0] != changed] == [row for row in before[table] if row[0] != changed]
    loaded = [row for table in TABLES[1:] for row in after[table] if row[0] == changed]
    assert len(loaded) == 50


def test_a_cleared_task_loads_its_file_no_second_time(run, dag, database, hook):
    run()
    before = tables(database)
    (found,) = s3_objects.matching(hook, BUCKET, "trips/2025-05.parquet")

    assert dag.load.function(found)["done"] is False
    assert tables(database) == before


def test_two_runs_at_a_time_load_a_file_once(database):
    hook = results.results_hook("sample_results", ["postgres"])
    trips_store.create_tables(hook)
    good, bad = taxi.split_trips(taxi.make_trips("2025-01", 0, 500, 1), "2025-01")
    start, done = threading.Barrier(4), []

    def load():
        own = results.results_hook("sample_results", ["postgres"])
        start.wait(60)
        done.append(trips_store.load(own, "s3://bucket/2025-01.parquet", '"e1"', good, bad))

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert sorted(done) == [False, False, False, True]
    assert trips_store.stored(hook, ["s3://bucket/2025-01.parquet"])["trips"] == good.num_rows


def test_a_load_that_fails_leaves_what_was_there(database):
    hook = results.results_hook("sample_results", ["postgres"])
    trips_store.create_tables(hook)
    good, bad = taxi.split_trips(taxi.make_trips("2025-01", 0, 500, 1), "2025-01")
    trips_store.load(hook, "s3://bucket/2025-01.parquet", '"e1"', good, bad)
    before = tables(database)

    # Of psycopg 2 or 3: the provider takes what is installed.
    with pytest.raises(Exception, match="duplicate key value"):
        trips_store.load(hook, "s3://bucket/2025-01.parquet", '"e2"', pa.concat_tables([good, good]), bad)

    assert tables(database) == before


def test_a_file_that_was_replaced_after_it_was_listed_is_not_mistaken_for_it(s3, hook):
    s3_objects.write_trips(hook, BUCKET, "trips/2025-01.parquet", taxi.make_trips("2025-01", 0, 9, 1))
    (found,) = s3_objects.matching(hook, BUCKET, "trips/*")
    s3_objects.write_trips(hook, BUCKET, "trips/2025-01.parquet", taxi.make_trips("2025-01", 0, 9, 2))

    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3_objects.read_trips(hook, BUCKET, found)


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"id,zone\n1,2\n", "is not Parquet"), (None, "lacks the columns pickup_at, zone, distance_m")],
)
def test_a_file_that_holds_no_trips_is_refused_by_its_name(content, words, s3, hook):
    if content is None:
        s3_objects.write_trips(hook, BUCKET, "trips/2025-01.parquet", pa.table({"trip_id": [1]}))
    else:
        s3.put_object(Bucket=BUCKET, Key="trips/2025-01.parquet", Body=content)
    (found,) = s3_objects.matching(hook, BUCKET, "trips/*")

    with pytest.raises(ValueError, match=f"s3://{BUCKET}/trips/2025-01.parquet.*{words}"):
        s3_objects.read_trips(hook, BUCKET, found)


@pytest.mark.parametrize(("key", "month"), [("trips/2025-01.parquet", "2025-01"), ("2024/trips-2024-12-v2", "2024-12")])
def test_the_month_is_in_the_name(key, month):
    assert s3_objects.month_of(key) == month


@pytest.mark.parametrize("key", ["trips/january.parquet", "trips/2025-13.parquet", "trips/2025-011.parquet"])
def test_a_name_without_a_month_is_refused(key):
    with pytest.raises(ValueError, match="should say of which month"):
        s3_objects.month_of(key)


def test_only_matching_names_are_listed_in_order(s3, hook):
    for key in ("trips/b.parquet", "trips/a.parquet", "trips/a.csv", "other/a.parquet", "trips/A.PARQUET"):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"x")

    assert [each["key"] for each in s3_objects.matching(hook, BUCKET, "trips/*.parquet")] == [
        "trips/a.parquet",
        "trips/b.parquet",
    ]


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"bucket": "nobodys-bucket"}, "leads to no bucket 'nobodys-bucket'"),
        ({"conn_id": "absent"}, "No connection 'absent'.*airflow connections add absent --conn-uri postgresql"),
        ({"conn_id": "file"}, "'file' is of type 'sqlite'; results can go to 'postgres'"),
    ],
)
def test_what_is_missing_is_told_before_anything_is_done(params, words, run, s3, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_FILE", json.dumps({"conn_type": "sqlite", "host": "/tmp/x"}))

    with pytest.raises(AirflowFailException, match=words):
        run(**params)
    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET)


def waiting(**changes):
    arguments = {"bucket": BUCKET, "pattern": "trips/*", "at_least": "2", "minutes": "5", "poll_interval": 0.01}
    return WaitForObjects(task_id="wait", **(arguments | changes))


def put(s3, *keys):
    for key in keys:
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"x")


def fired(trigger):
    """Return the event of a trigger that has been through the database, as the triggerer makes it."""
    assert trigger.serialize()[0] == "airflow_eks_dask.samples.s3_objects.ObjectsTrigger"
    return run_trigger(trigger)


def test_nobody_waits_for_files_that_are_there(s3):
    put(s3, "trips/1", "trips/2")

    assert waiting(deferrable=True).execute({}) == 2


def test_it_waits_in_the_triggerer_until_there_are_enough(s3):
    put(s3, "trips/1")
    with pytest.raises(TaskDeferred) as deferred:
        waiting(deferrable=True).execute({})
    assert deferred.value.timeout.total_seconds() == 15 * 60
    later = threading.Timer(0.3, put, [s3, "trips/2", "trips/3"])
    later.start()

    event = fired(deferred.value.trigger)

    later.join()
    assert event["found"] >= 2
    assert getattr(waiting(), deferred.value.method_name)({}, event) == event["found"]


@pytest.mark.parametrize("deferrable", [False, True])
def test_too_few_files_in_the_end_are_told(deferrable, s3):
    put(s3, "trips/1")

    def wait():
        operator = waiting(minutes=0, deferrable=deferrable)
        try:
            operator.execute({})
        except TaskDeferred as deferred:
            operator.resume({}, fired(deferred.trigger))

    with pytest.raises(AirflowFailException, match="matches 1 objects, and after 0 minutes there should be 2"):
        wait()


def test_without_deferral_it_waits_where_it_is(s3):
    later = threading.Timer(0.3, put, [s3, "trips/1", "trips/2"])
    later.start()

    assert waiting(deferrable=False).execute({}) == 2
    later.join()


def test_what_s3_refuses_ends_the_wait(simulation):
    """There is no bucket."""
    trigger = ObjectsTrigger(
        bucket=BUCKET, pattern="*", at_least=1, aws_conn_id="aws_default", poll_interval=1, deadline=2**40
    )

    event = fired(trigger)

    assert "NoSuchBucket" in event["error"]
    with pytest.raises(RuntimeError, match=rf"s3://{BUCKET}/trips/\*: .*NoSuchBucket"):
        waiting().resume({}, event)
