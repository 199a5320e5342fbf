"""All that takes part: Airflow, PostgreSQL, a simulated AWS, and a real cluster that stands for what AWS creates."""

from __future__ import annotations

import json
import os
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.certificates import AUTHORITY, certificate_file
from airflow_eks_dask.local.airflow import LocalAirflow
from airflow_eks_dask.local.ports import free_port
from tests.aws import authenticator as authentication
from tests.aws.authenticator import Authenticator
from tests.aws.simulation import Simulation
from tests.browser.site import add_users
from tests.chaos.sites import PATIENCE
from tests.cluster import chart_servers
from tests.cluster.conftest import cluster_beside, kubectl
from tests.cluster.execution_api import ExecutionApi
from tests.integration.system import PARSE_ONCE, PRELOAD, QUICK_RECOVERY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eks_dask.local.client import AirflowClient, TaskInstance
    from airflow_eks_dask.local.postgres import PostgresServer

BUNDLE = {"name": "eks_dask", "classpath": "airflow_eks_dask.bundle.EksDaskDagBundle", "kwargs": {}}
"""What installing the package adds to an Airflow."""

SECONDS_IN_AWS = {"stack": 4.0, "cluster": 12.0, "nodegroup": 6.0, "addon": 2.0, "database": 10.0}
"""What AWS takes for each kind of thing; hours' worth of minutes would show nothing else."""

SECOND_CONNECTION = "dask_second"
"""Of a second lane, for a second cluster."""

STARTED_WITHIN = 600.0
"""Seconds in which all of Airflow has started, beside a cluster that starts too."""

TIMEOUT = 2400.0
"""Seconds that a run may take on a machine with much else to do."""


@dataclass
class Stage:
    """
    What takes part.

    :param client: Of Airflow's REST API, as its administrator.
    :param passwords: By user of Airflow.
    :param kubeconfig: Of the real cluster, as its administrator.
    :param image: What pods run.
    :param charts: The repository that stands for those on the internet, where tests do not go.
    :param charts_address: Where it is served.
    """

    airflow: LocalAirflow
    client: AirflowClient
    passwords: dict[str, str]
    execution_api: ExecutionApi
    aws: Simulation
    authenticator: Authenticator
    kubeconfig: Path
    image: str
    charts: Path
    charts_address: str

    def form(self, **changes: Any) -> dict[str, Any]:
        """Return what somebody with this Airflow has to fill in, for a small cluster."""
        repository, _, tag = self.image.rpartition(":")
        return {
            "cluster_name": "rehearsal",
            "image_repository": repository,
            "image_tag": tag,
            "execution_api_url": self.execution_api.url,
            "execution_api_ca": certificate_file(self.execution_api.tls, AUTHORITY).read_text(),
            "workers": 2,
            "slots": 2,
            "worker_memory": "2Gi",
            "charts_repository": self.charts_address,
            **changes,
        }

    def schemas(self, dag_id: str) -> dict[str, dict[str, Any]]:
        """Return the JSON schemas of a DAG's params."""
        self.client.wait_for_dag(dag_id)
        params = self.client.request("GET", f"/dags/{dag_id}/details")["params"]
        return {name: param["schema"] for name, param in params.items()}

    def run(self, dag_id: str, *, expected: str = "success", **params: Any) -> str:
        """Run a DAG to its end and return the run's id."""
        self.client.wait_for_dag(dag_id)
        run_id = self.client.trigger(dag_id, params)
        self.client.wait_for_run(dag_id, run_id, timeout=TIMEOUT, expected=expected, poll_interval=2)
        return run_id

    def clear(self, dag_id: str, run_id: str, *task_ids: str) -> None:
        """Have tasks run again, and those after them that could not."""
        body = {"dag_run_id": run_id, "task_ids": list(task_ids), "dry_run": False, "include_downstream": True}
        body |= {"only_failed": True, "reset_dag_runs": True}
        self.client.request("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)

    def note(self, dag_id: str, run_id: str) -> str:
        """Return the note of a run."""
        return str(self.client.request("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["note"] or "")

    def hosts(self, dag_id: str, run_id: str) -> set[str]:
        """Return where the tasks of a run ran: the names of machines or pods."""
        return {task.data["hostname"] for task in self.client.task_instances(dag_id, run_id)}

    def states(self, dag_id: str, run_id: str) -> dict[str, TaskInstance]:
        """Return the task instances of a run by their labels."""
        return {task.label: task for task in self.client.task_instances(dag_id, run_id)}

    def connections(self) -> list[str]:
        """Return the ids of all connections in Airflow's database."""
        return sorted(each["connection_id"] for each in self.client.request("GET", "/connections")["connections"])

    def variables(self) -> list[str]:
        """Return the keys of all variables in Airflow's database."""
        return sorted(each["key"] for each in self.client.request("GET", "/variables")["variables"])


@contextmanager
def running(directory: Path, postgres: PostgresServer, image: str) -> Iterator[Stage]:
    """Have all of them run; the cluster is up already, with :func:`real_cluster`."""
    home = directory / "airflow"
    with ExitStack() as stack:
        kubeconfig = Path(os.environ["KUBECONFIG"])
        aws = stack.enter_context(Simulation.started(kubeconfig))
        aws.set_durations(**SECONDS_IN_AWS)
        airflow = new_airflow(home, postgres)
        # Tokens of AWS are to be the only way in.
        airflow.environment.pop("KUBECONFIG")
        passwords = add_users(airflow)
        stack.callback(airflow.stop)
        airflow.start(timeout=STARTED_WITHIN)
        api = ExecutionApi(airflow, os.environ["KUBE_HOST_IP"], ())
        stack.callback(api.stop)
        api.start()
        client = stack.enter_context(airflow.client(login=("admin", passwords["admin"])))
        add_connections(client, airflow, aws, passwords["admin"])
        charts = directory / "charts"
        charts.mkdir()
        address = stack.enter_context(chart_servers.services(charts))
        yield Stage(airflow, client, passwords, api, aws, Authenticator(aws), kubeconfig, image, charts, address)


def new_airflow(home: Path, postgres: PostgresServer) -> LocalAirflow:
    """Return an Airflow that has this package and nothing of the tests."""
    postgres.create_database("rehearsal")
    return LocalAirflow(
        home,
        postgres.sqlalchemy_url("rehearsal"),
        executor="airflow_eks_dask.DaskExecutor",
        dag_bundles=[BUNDLE],
        settings={
            "dask": {
                "preload_modules": PRELOAD,
                "connection_check_interval": "1",
                "slots_per_worker": "4",
                "lanes": f"second={SECOND_CONNECTION}",
            },
            "scheduler": QUICK_RECOVERY,
            "dag_processor": PARSE_ONCE,
            "workers": PATIENCE,
        },
    )


def add_connections(client: AirflowClient, airflow: LocalAirflow, aws: Simulation, password: str) -> None:
    """Add what the form asks for: the ways to AWS, and to Airflow's own API."""
    own = {"connection_id": "airflow_api", "conn_type": "http", "host": airflow.base_url}
    for body in (aws.connection, {**own, "login": "admin", "password": password}):
        client.request("POST", "/connections", json=body)


@dataclass(frozen=True)
class RealCluster:
    """
    A cluster whose API server asks an authenticator of ours.

    :param context: The TLS of the authenticator's server.
    :param port: Where the API server looks for it.
    """

    context: Any
    port: int


@contextmanager
def real_cluster(directory: Path) -> Iterator[RealCluster]:
    """Have the cluster for tests up, so that it asks the authenticator of EKS whose tokens are."""
    port = free_port()
    config = authentication.write_config(directory, port)
    context = authentication.write_certificate(directory)
    options = (
        f"--authentication-token-webhook-config-file={config}",
        # Of the real one; its default would hide for minutes who may no longer come in.
        "--authentication-token-webhook-cache-ttl=5s",
    )
    with cluster_beside(*options):
        yield RealCluster(context, port)


def namespaces() -> set[str]:
    """Return the names of the cluster's namespaces."""
    return set(kubectl("get", "namespaces", "--output=name").replace("namespace/", "").split())


def objects() -> set[str]:
    """Return all that is in the cluster, but for what the cluster writes by itself about what is in it."""
    kinds = kubectl("api-resources", "--verbs=list", "--output=name").split()
    fleeting = ("events", "leases", "endpoints", "endpointslices", "nodes", "componentstatuses", "metrics")
    kinds = [kind for kind in kinds if not kind.startswith(fleeting)]
    found = json.loads(kubectl("get", ",".join(kinds), "--all-namespaces", "--output=json"))["items"]
    return {
        f"{each['kind']} {each['metadata'].get('namespace', '')}/{each['metadata']['name']}"
        for each in found
        if "deletionTimestamp" not in each["metadata"]
    }
