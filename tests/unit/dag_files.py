"""The DAG files of the bundle, parsed as Airflow does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.dag_processing.dagbag import BundleDagBag

from airflow_eks_dask.bundle import dags_folder

if TYPE_CHECKING:
    from pathlib import Path


def dag_files(pattern: str) -> dict[str, Path]:
    """Return the DAG files whose names match, by their names without suffix."""
    return {path.stem: path for path in dags_folder().glob(pattern)}


def parse(file: Path) -> dict[str, Any]:
    """Return the DAGs of a file, by id; it is in no error."""
    bag = BundleDagBag(dag_folder=file, bundle_path=file.parent, bundle_name="dags")
    assert bag.import_errors == {}
    return bag.dags
