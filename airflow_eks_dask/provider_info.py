"""What Airflow learns of this package: its executor, commands and configuration."""

from __future__ import annotations

from typing import Any

import airflow_eks_dask


def _option(
    description: str, type_: str, default: str, example: str | None = None, *, sensitive: bool = False
) -> dict[str, Any]:
    return {
        "description": description,
        "version_added": "0.1.0",
        "type": type_,
        "default": default,
        "example": example,
        "sensitive": sensitive,
    }


OPTIONS: dict[str, dict[str, Any]] = {
    "cluster_address": _option(
        "Address of the Dask scheduler that runs the tasks. Empty: the executor starts an embedded cluster "
        "on this machine and ends it with the Airflow scheduler.",
        "string",
        "",
        "tls://dask-scheduler.example.com:8786",
    ),
    "slots_per_worker": _option(
        "How many Airflow workloads one Dask worker runs at a time. 0: two for each of its threads. A workload "
        "holds a slot, not a Dask thread, so Dask computations made by tasks always find a thread.",
        "integer",
        "0",
        "8",
    ),
    "preload_modules": _option(
        "Python modules that each worker imports once, so that tasks need not: pandas alone costs a task a second. "
        "Names, separated by commas.",
        "string",
        "",
        "pandas, pyarrow",
    ),
    "embedded_workers": _option(
        "Number of worker processes of the embedded cluster. Dask threads are the machine's cores, shared evenly.",
        "integer",
        "1",
        "2",
    ),
    "tls_ca": _option(
        "File with the certificate (PEM) of the authority that signs this cluster's certificates. Use an "
        "authority made for this cluster alone: any certificate it signs may pose as the Dask scheduler.",
        "string",
        "",
        "/etc/airflow/dask/ca.pem",
    ),
    "tls_cert": _option(
        "File with the certificate (PEM) that the executor shows to the Dask scheduler.",
        "string",
        "",
        "/etc/airflow/dask/client.pem",
    ),
    "tls_key": _option(
        "File with the private key (PEM) of ``tls_cert``.",
        "string",
        "",
        "/etc/airflow/dask/client-key.pem",
    ),
    "allow_insecure": _option(
        "Whether to use a Dask scheduler beyond this machine without TLS. Whoever reaches such a scheduler "
        "runs code as Airflow does.",
        "boolean",
        "False",
    ),
    "connect_timeout": _option(
        "Seconds that one attempt to connect to the Dask scheduler may take. Attempts are repeated, further "
        "and further apart, for as long as Airflow runs.",
        "float",
        "10",
    ),
    "shutdown_timeout": _option(
        "Seconds that the Airflow scheduler, asked to stop, waits for the tasks on its embedded cluster. "
        "Tasks still running then are ended and fail. Tasks on another cluster run on.",
        "float",
        "30",
    ),
}


def get_provider_info() -> dict[str, Any]:
    """
    Return the metadata Airflow discovers through the ``apache_airflow_provider`` entry point.

    The result is valid against Airflow's ``provider_info.schema.json``.
    """
    return {
        "package-name": "airflow-eks-dask",
        "name": "EKS and Dask",
        "description": "Run Airflow tasks on a `Dask <https://www.dask.org/>`__ cluster.",
        "versions": [airflow_eks_dask.__version__],
        "executors": ["airflow_eks_dask.DaskExecutor"],
        "cli": ["airflow_eks_dask.cli.definition.get_cli_commands"],
        "config": {
            "dask": {
                "description": "Options of ``airflow_eks_dask.DaskExecutor``.",
                "options": OPTIONS,
            }
        },
    }
