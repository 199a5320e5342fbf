"""Run Apache Airflow tasks on a Dask cluster."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow_eks_dask.executors.dask_executor import DaskExecutor
    from airflow_eks_dask.provider_info import get_provider_info
    from airflow_eks_dask.worker.client import get_client

__version__ = "0.1.0"
__all__ = ["DaskExecutor", "__version__", "get_client", "get_provider_info"]

# Resolved on first use: importing this package must stay cheap for everything that only asks for its version.
_LAZY = {
    "DaskExecutor": "airflow_eks_dask.executors.dask_executor",
    "get_client": "airflow_eks_dask.worker.client",
    "get_provider_info": "airflow_eks_dask.provider_info",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
