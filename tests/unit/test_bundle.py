from __future__ import annotations

import json

import pytest
from airflow.dag_processing.bundles.manager import DagBundlesManager

from airflow_eks_dask.bundle import EksDaskDagBundle, dags_folder


def test_dags_are_found_inside_an_installed_package(tmp_path):
    (tmp_path / "airflow_eks_dask" / "dags").mkdir(parents=True)
    (tmp_path / "dags").mkdir()

    assert dags_folder(tmp_path / "airflow_eks_dask") == tmp_path / "airflow_eks_dask" / "dags"


def test_dags_are_found_beside_the_package_in_a_checkout(tmp_path):
    (tmp_path / "airflow_eks_dask").mkdir()
    (tmp_path / "dags").mkdir()

    assert dags_folder(tmp_path / "airflow_eks_dask") == tmp_path / "dags"


def test_missing_dags_are_an_error_that_says_where_they_should_be(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"pip install --force-reinstall") as error:
        dags_folder(tmp_path / "airflow_eks_dask")
    assert str(tmp_path / "airflow_eks_dask" / "dags") in str(error.value)
    assert str(tmp_path / "dags") in str(error.value)


def test_one_entry_in_the_configuration_adds_the_dags(monkeypatch):
    entry = {"name": "eks_dask", "classpath": "airflow_eks_dask.bundle.EksDaskDagBundle", "kwargs": {}}
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST", json.dumps([entry]))
    monkeypatch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")

    bundle = DagBundlesManager().get_bundle("eks_dask")
    bundle.initialize()

    assert isinstance(bundle, EksDaskDagBundle)
    assert (bundle.path / "sample_etl.py").is_file()
    assert bundle.get_current_version() is None


def test_options_of_every_bundle_are_passed_on():
    assert EksDaskDagBundle(name="mine", refresh_interval=7).refresh_interval == 7
