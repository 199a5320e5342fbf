"""What Airflow learns of this package: its executor, commands and configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import airflow_eks_dask

if TYPE_CHECKING:
    from collections.abc import Iterable


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
    "connection_id": _option(
        "Airflow connection (type Dask) that says where the cluster is while ``cluster_address`` is empty. It is "
        "watched: when it appears or changes, new tasks go to that cluster and running ones finish where they are. "
        "Without such a connection tasks run on the embedded cluster.",
        "string",
        "dask_default",
    ),
    "connection_check_interval": _option(
        "Seconds between two looks at the connections of lanes.",
        "float",
        "10",
    ),
    "lanes": _option(
        "Further clusters: names, each with the Airflow connection (type Dask) that says where it is. A task with "
        "``queue='gpu'`` runs on the cluster of the lane ``gpu``; with ``queue='gpu/large'`` on its workers that "
        "serve the queue ``large``. The lane ``local``, which is the embedded cluster, needs no entry.",
        "string",
        "",
        "gpu=dask_gpu, frankfurt=dask_frankfurt",
    ),
    "queues": _option(
        "Set where a worker runs: the queues it serves. Empty: ``[operators] default_queue`` alone. A task whose "
        "queue no worker serves waits, and its event log says so.",
        "string",
        "",
        "default, large",
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
    "keep_dag_files": _option(
        "Seconds for which a worker may use a DAG file that it has read for further tasks of the same DAG. It never "
        "does if the file, or what its code reads in turn, has changed, or if the file asks for what may be different "
        "the next time, as a variable or the time is. 0: each task reads its file anew.",
        "float",
        "30",
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
    "reconnect_timeout": _option(
        "Seconds that the Dask scheduler may be unreachable before the tasks it had are failed. Until then they "
        "count as running, as they probably are. When it is seen again, what still runs of them is ended.",
        "float",
        "300",
    ),
    "drain_timeout": _option(
        "Seconds that a worker, asked to end, waits for the tasks it runs. It takes no new ones meanwhile.",
        "float",
        "600",
    ),
    "ship_logs": _option(
        "Size in MiB up to which the log of a finished task is copied from its worker into the log folder of the "
        "Airflow scheduler; of a longer one, its end. 0: no copy is made. None is made either where both share a log "
        "folder or remote logging is on.",
        "float",
        "1",
    ),
    "helm_binary": _option(
        "Path of the Helm 4 that tasks use. Empty: one on PATH, else the one that ``airflow eks-dask install-helm`` "
        "has put below AIRFLOW_HOME.",
        "string",
        "",
        "/usr/local/bin/helm",
    ),
    "shutdown_timeout": _option(
        "Seconds that the Airflow scheduler, asked to stop, waits for the tasks on its embedded cluster. "
        "Tasks still running then are ended and fail. Tasks on another cluster run on.",
        "float",
        "30",
    ),
}


# Described here and not in the hook, so that forms need no import of it.
CONNECTION_TYPE: dict[str, Any] = {
    "connection-type": "dask",
    "hook-class-name": "airflow_eks_dask.hooks.dask.DaskHook",
    "hook-name": "Dask",
    "ui-field-behaviour": {
        "hidden-fields": ["login", "schema", "extra"],
        "relabeling": {"password": "Private key (PEM)"},
        "placeholders": {
            "host": "dask-scheduler.example.com",
            "port": "8786",
            "password": "PEM text, or the path of a file",
        },
    },
    "conn-fields": {
        "tls_ca": {
            "label": "Certificate of the authority (PEM)",
            "description": "PEM text, or the path of a file. Empty, with the other two: no TLS.",
            "schema": {"type": ["string", "null"], "format": "multiline"},
        },
        "tls_cert": {
            "label": "Client certificate (PEM)",
            "description": "PEM text, or the path of a file: what is shown to the Dask scheduler.",
            "schema": {"type": ["string", "null"], "format": "multiline"},
        },
        "allow_insecure": {
            "label": "Allow no TLS beyond this machine",
            "description": "Whoever reaches such a Dask scheduler runs code as Airflow does.",
            "schema": {"type": ["boolean", "null"], "default": False},
        },
    },
}


INTEGRATION = "EKS and Dask"
OPERATORS = (
    "access",
    "aws_auth",
    "bucket",
    "cluster_services",
    "dask_certificates",
    "dask_endpoint",
    "database",
    "eks",
    "helm",
    "iam",
    "kubernetes",
    "leftovers",
    "load_balancers",
    "network",
    "plan",
    "preflight",
    "self_managed_nodegroup",
    "tiller",
)
HOOKS = (
    "airflow_api",
    "aws",
    "credential_plugin",
    "dask",
    "dask_check",
    "dask_cluster",
    "dask_scheduler",
    "eks",
    "eks_token",
    "helm",
    "kubernetes",
    "port_forward",
    "pricing",
    "secret",
    "service_account",
)
SENSORS = ("service_address",)
TRIGGERS = ("manifests", "resource", "service_address")


def _modules(package: str, names: Iterable[str]) -> list[dict[str, Any]]:
    modules = [f"airflow_eks_dask.{package}.{name}" for name in names]
    return [{"integration-name": INTEGRATION, "python-modules": modules}]


def get_provider_info() -> dict[str, Any]:
    """
    Return the metadata Airflow discovers through the ``apache_airflow_provider`` entry point.

    The result is valid against Airflow's ``provider_info.schema.json``.
    """
    return {
        "package-name": "airflow-eks-dask",
        "name": "EKS and Dask",
        "description": "Run Airflow tasks on a `Dask <https://www.dask.org/>`__ cluster, and build it on AWS EKS.",
        "versions": [airflow_eks_dask.__version__],
        "executors": ["airflow_eks_dask.DaskExecutor"],
        "integrations": [{"integration-name": INTEGRATION, "tags": ["service"]}],
        "operators": _modules("operators", OPERATORS),
        "hooks": _modules("hooks", HOOKS),
        "sensors": _modules("sensors", SENSORS),
        "triggers": _modules("triggers", TRIGGERS),
        "extra-links": ["airflow_eks_dask.links.aws.AwsConsoleLink"],
        "connection-types": [CONNECTION_TYPE],
        "cli": ["airflow_eks_dask.cli.definition.get_cli_commands"],
        "config": {
            "dask": {
                "description": "Options of ``airflow_eks_dask.DaskExecutor``.",
                "options": OPTIONS,
            }
        },
    }
