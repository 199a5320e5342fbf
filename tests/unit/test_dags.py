from __future__ import annotations

import importlib.util
import shutil
import sys
import time
from datetime import datetime, timedelta, timezone

import pytest
from airflow.sdk.exceptions import ParamValidationError

from tests.unit.dag_files import dag_files, parse

FILES = dag_files("sample_*.py")


@pytest.fixture(scope="module")
def dags():
    return {dag_id: dag for file in FILES.values() for dag_id, dag in parse(file).items()}


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_stands_alone_in_any_dags_folder(name, tmp_path):
    alone = tmp_path / f"{name}.py"
    shutil.copy(FILES[name], alone)

    assert list(parse(alone)) == [name]


@pytest.mark.parametrize("name", sorted(FILES))
def test_parsing_imports_nothing_heavy(name, monkeypatch):
    for module in ("boto3", "dask", "distributed", "matplotlib", "numpy", "pandas", "psycopg2", "pyarrow"):
        for loaded in [loaded for loaded in sys.modules if loaded == module or loaded.startswith(f"{module}.")]:
            monkeypatch.delitem(sys.modules, loaded)
        # Importing a module that is None here raises ImportError.
        monkeypatch.setitem(sys.modules, module, None)
    for loaded in [loaded for loaded in sys.modules if loaded.startswith("airflow_eks_dask.samples")]:
        monkeypatch.delitem(sys.modules, loaded)
    spec = importlib.util.spec_from_file_location(f"{name}_parsed", FILES[name])

    spec.loader.exec_module(importlib.util.module_from_spec(spec))


@pytest.mark.parametrize("name", sorted(FILES))
def test_runs_only_when_asked_to_and_explains_itself(name, dags):
    dag = dags[name]

    assert dag.schedule is None
    assert not dag.catchup
    assert "sample" in dag.tags
    assert dag.doc_md


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_param_has_a_form_field_and_a_default_that_is_valid(name, dags):
    dags[name].validate()
    for key in dags[name].params:
        param = dags[name].params.get_param(key)
        assert param.schema["title"]
        assert param.description


@pytest.mark.parametrize(
    ("dag_id", "param", "value"),
    [
        ("sample_etl", "year", 1999),
        ("sample_etl", "year", "2025"),
        ("sample_etl", "rows", 0),
        ("sample_etl", "rows", 10**9),
        ("sample_etl", "rows", 1000.5),
        ("sample_etl", "seed", -1),
        ("sample_etl", "data_dir", ""),
        ("sample_etl", "data_dir", "relative/path"),
        ("sample_etl", "conn_id", "two words"),
        ("sample_etl", "conn_id", ""),
        ("sample_confidence", "rows", 999),
        ("sample_confidence", "resamples", 19),
        ("sample_confidence", "confidence", 100),
        ("sample_confidence", "data_dir", "relative/path"),
        ("sample_s3_to_postgres", "bucket", "s3://bucket"),
        ("sample_s3_to_postgres", "bucket", "No_Capitals"),
        ("sample_s3_to_postgres", "pattern", ""),
        ("sample_s3_to_postgres", "at_least", 0),
        ("sample_s3_to_postgres", "minutes", -1),
        ("sample_s3_to_postgres", "rows", -1),
        ("sample_s3_to_postgres", "aws_conn_id", ""),
        ("sample_queues", "rows", 0),
        ("sample_queues", "share", 0),
        ("sample_queues", "if_not_served", "run"),
        ("sample_parallel", "n", 0),
        ("sample_parallel", "n", 1001),
        ("sample_parallel", "seconds", 601),
        ("sample_parallel", "mode", "gpu"),
        ("sample_sensors", "wait", -1),
        ("sample_sensors", "parcels", 0),
    ],
)
def test_a_bad_param_is_refused(dag_id, param, value, dags):
    with pytest.raises(ParamValidationError):
        dags[dag_id].params.get_param(param).resolve(value)


@pytest.mark.parametrize("value", ["/data", "s3://bucket/prefix", "file:///data", "memory://data"])
def test_paths_and_urls_are_data_directories(value, dags):
    assert dags["sample_etl"].params.get_param("data_dir").resolve(value) == value


@pytest.fixture
def parallel(dags):
    """Return the functions of the tasks of sample_parallel, by task id."""
    return {task.task_id: task.python_callable for task in dags["sample_parallel"].tasks}


def test_parallel_tasks_return_their_numbers(parallel):
    params = {"n": 3, "seconds": 0, "mode": "sleep"}
    numbers = parallel["numbers"](params)
    results = [parallel["work"](number, params) for number in numbers]

    assert results == [0, 1, 2]
    assert parallel["collect"](numbers, list(reversed(results))) == 3


def test_parallel_tasks_use_the_time_asked_for(parallel):
    clock = time.monotonic()
    parallel["work"](0, {"seconds": 0.2, "mode": "sleep"})
    assert time.monotonic() - clock >= 0.2

    processor = time.process_time()
    parallel["work"](0, {"seconds": 0.2, "mode": "cpu"})
    assert time.process_time() - processor >= 0.2


@pytest.mark.parametrize("results", [[0, 2], [0, 1, 1], [0, 1, None], [0, 1, 2, 2]])
def test_parallel_fails_if_results_are_not_what_they_should_be(parallel, results):
    with pytest.raises(ValueError, match="should each have returned its number"):
        parallel["collect"]([0, 1, 2], results)


def test_parcels_arrive_after_the_wait(dags):
    order = dags["sample_sensors"].get_task("order").python_callable
    before = datetime.now(timezone.utc)

    arrivals = order({"wait": 60, "parcels": 2})

    assert len(arrivals) == 2
    for arrival in arrivals:
        assert timedelta(seconds=60) <= datetime.fromisoformat(arrival) - before < timedelta(seconds=70)


def test_unpacking_before_the_last_parcel_arrives_fails(dags):
    unpack = dags["sample_sensors"].get_task("unpack").python_callable
    now = datetime.now(timezone.utc)

    assert unpack([now.isoformat()]) >= 0
    with pytest.raises(ValueError, match="a wait ended too early"):
        unpack([now.isoformat(), (now + timedelta(hours=1)).isoformat()])
