"""Airflow and PostgreSQL on this machine, whose tasks run in pods of the chart: TLS on all ways between them."""

from __future__ import annotations

import shutil
import socket
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from uuid import uuid4

from airflow_eks_dask.certificates import AUTHORITY
from airflow_eks_dask.local.postgres import PostgresServer
from tests.chaos.ledger import wait
from tests.chaos.proxy import Proxy
from tests.chaos.sites import COMPONENTS
from tests.chart.rendering import changed
from tests.cluster.conftest import kubectl
from tests.cluster.execution_api import ExecutionApi
from tests.cluster.installation import NAME, SLOTS, VALUES, Installation, prepare, put_secret
from tests.conftest import PATIENCE
from tests.integration.system import System, new_airflow
from tests.integration.test_tls import make_certificates

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parents[1]
REPLICAS = 2
# What many pods import that come and go here.
PRELOAD = "pandas, pyarrow.parquet"


@dataclass
class Talk:
    """A task that waits until it is told to go on."""

    run_id: str
    connection: socket.socket

    def say(self, word: str) -> None:
        """Have it go on."""
        self.connection.sendall(f"{word}\n".encode())


@dataclass
class Pipelines(System):
    """
    Airflow, and where its tasks run.

    :param host: IP address of this machine by which pods reach it.
    :param database: The way of pods to PostgreSQL.
    :param execution_api: What tasks report to.
    :param installation: The chart.
    :param cluster_name: By which the connection ``dask_default`` was written last.
    """

    host: str = field(kw_only=True)
    database: Proxy = field(kw_only=True)
    execution_api: ExecutionApi = field(kw_only=True)
    installation: Installation = field(kw_only=True)

    def publish(self, installation: Installation, cluster_name: str = "pipelines") -> dict:
        """Have tasks run in an installation; return what the operator did."""
        where = {"address": installation.endpoint.address, "tls": str(installation.tls), "cluster": cluster_name}
        run_id = self.run("publish", **where)
        return self.returned("publish", run_id, "publish")

    def settle(self, replicas: int = REPLICAS) -> None:
        """Have so many pods of workers, and wait until all is at rest."""
        self.installation.ensure({"workerDefaults": {"replicas": replicas}})
        self.wait_until_settled(replicas * SLOTS)

    def wait_until_settled(self, slots: int) -> None:
        """Wait until all is at rest."""
        look = partial(self.installation.unsettled, slots)
        wait(lambda: not look(), PATIENCE, look)

    def hosts(self, dag_id: str, run_id: str) -> set[str]:
        """Return where the tasks of a run ran: the names of machines or pods."""
        return {task.data["hostname"] for task in self.client.task_instances(dag_id, run_id)}

    @contextmanager
    def talk(self) -> Iterator[Talk]:
        """Run a task that waits until it is told to go on, or the block ends."""
        with socket.create_server((self.host, 0)) as server:
            run_id = self.trigger("talk", listener=f"{self.host}:{server.getsockname()[1]}")
            server.settimeout(PATIENCE)
            connection, _ = server.accept()
            with connection:
                yield Talk(run_id, connection)

    def dsn_for_pods(self, dsn: str) -> str:
        """Return an address of PostgreSQL as pods reach it."""
        parts = urlsplit(dsn)
        credentials, _, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{credentials}@{self.host}:{self.database.port}").geturl()


@contextmanager
def namespace(prefix: str) -> Iterator[str]:
    """A namespace, which goes with all that is in it."""
    name = f"{prefix}-{uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    try:
        yield name
    finally:
        kubectl("delete", "namespace", name, "--timeout=280s")


@contextmanager
def running(directory: Path, kubeconfig: Path, image: str, host: str) -> Iterator[Pipelines]:
    """Run Airflow, install the chart, and publish its address with the operator of this package."""
    home = directory / "airflow"
    with ExitStack() as stack:
        where = stack.enter_context(namespace("pipelines"))
        postgres = stack.enter_context(PostgresServer())
        database = stack.enter_context(Proxy(postgres.port, host))
        airflow = new_airflow(home, postgres, "pipelines", preload_modules=PRELOAD)
        # It leads to loopback, and would go before what is in the database.
        airflow.environment.pop("AIRFLOW_CONN_SAMPLE_RESULTS")
        for folder in ("chaos", "cluster"):
            shutil.copytree(TESTS / folder / "dags", home / "dags", dirs_exist_ok=True)
        stack.callback(airflow.stop)
        airflow.start(COMPONENTS)
        api = ExecutionApi(airflow, host, (f"{NAME}-execution-api",))
        stack.callback(api.stop)
        api.start()
        tls = make_certificates(directory / "dask-tls")
        prepare(where, tls, home / "dags")
        put_secret(where, "execution-api-tls", {"ca.crt": (api.tls / f"{AUTHORITY}.pem").read_text()})
        values = changed(VALUES, {"image": image_values(image), "executionApi": {"url": api.url}})
        installation = Installation(kubeconfig, where, values, tls)
        # While it is there, its namespace takes long to go.
        stack.callback(installation.uninstall)
        installation.ensure()
        client = stack.enter_context(airflow.client())
        system = Pipelines(
            airflow,
            client,
            postgres,
            postgres.dsn("pipelines_results"),
            host=host,
            database=database,
            execution_api=api,
            installation=installation,
        )
        add_connection(system)
        system.publish(installation)
        yield system


def image_values(image: str) -> dict[str, str]:
    """Return the chart's values for an image."""
    repository, _, tag = image.rpartition(":")
    return {"repository": repository, "tag": tag}


def add_connection(system: Pipelines) -> None:
    """Add the connection for the samples' results, as pods reach the database."""
    parts = urlsplit(system.dsn_for_pods(system.results))
    body = {
        "connection_id": "sample_results",
        "conn_type": "postgres",
        "host": parts.hostname,
        "port": parts.port,
        "login": parts.username,
        "password": parts.password,
        "schema": parts.path.lstrip("/"),
    }
    system.client.request("POST", "/connections", json=body)
