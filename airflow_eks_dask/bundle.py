"""The DAGs of this package, as a DAG bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.local import LocalDagBundle


def dags_folder(package: Path = Path(__file__).parent) -> Path:
    """
    Return the folder with this package's DAGs.

    :param package: Folder of the package ``airflow_eks_dask``.
    :raises FileNotFoundError: The DAGs were not installed.
    """
    # Inside the package when installed from a wheel, beside it in a checkout of the sources.
    candidates = (package / "dags", package.parent / "dags")
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise FileNotFoundError(
        f"The DAGs of airflow-eks-dask are neither in {candidates[0]} nor in {candidates[1]}. "
        "Install the package anew: pip install --force-reinstall --no-deps airflow-eks-dask"
    )


class EksDaskDagBundle(LocalDagBundle):
    """
    The DAGs that come with this package, wherever it is installed.

    An entry of ``[dag_processor] dag_bundle_config_list`` adds them to an Airflow::

        {"name": "eks_dask", "classpath": "airflow_eks_dask.bundle.EksDaskDagBundle", "kwargs": {}}
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(path=str(dags_folder()), **kwargs)
