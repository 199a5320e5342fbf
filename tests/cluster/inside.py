"""A second installation of the chart, with Airflow's execution API in the cluster, on the metadata database."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from airflow_eks_dask.certificates import AUTHORITY, certificate_file, key_file
from tests.chart.rendering import IN_CLUSTER_API, changed
from tests.cluster.execution_api import SERVER
from tests.cluster.installation import Installation, prepare, put_secret
from tests.cluster.pipelines import namespace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cluster.pipelines import Pipelines


@contextmanager
def prepared(pipelines: Pipelines) -> Iterator[Installation]:
    """Have a namespace with all that it needs, and values for it; not yet installed."""
    other = pipelines.installation
    api_tls = pipelines.execution_api.tls
    settings = pipelines.airflow.settings
    metadata = pipelines.dsn_for_pods(settings["database"]["sql_alchemy_conn"])
    with namespace("inside") as where:
        prepare(where, other.tls, pipelines.airflow.home / "dags")
        put_secret(where, "airflow-metadata", {"connection": metadata})
        put_secret(where, "airflow-jwt", {"jwt-secret": settings["api_auth"]["jwt_secret"]})
        put_secret(where, "airflow-fernet", {"fernet-key": settings["core"]["fernet_key"]})
        certificate = {
            "ca.crt": certificate_file(api_tls, AUTHORITY).read_text(),
            "tls.crt": certificate_file(api_tls, SERVER).read_text(),
            "tls.key": key_file(api_tls, SERVER).read_text(),
        }
        put_secret(where, "execution-api-tls", certificate)
        changes = {**IN_CLUSTER_API, "workerDefaults": {"replicas": 1}}
        values = changed(changed(other.values, changes), {"executionApi": {"url": ""}})
        yield Installation(other.kubeconfig, where, values, other.tls)
