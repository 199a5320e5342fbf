"""The Airflows that faults are done to, with all they need, supervised."""

from __future__ import annotations

import shutil
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from airflow_eks_dask.local.airflow import LocalAirflow
from airflow_eks_dask.local.client import AirflowClient
from airflow_eks_dask.local.processes import ProcessSet
from tests.chaos.proxy import Proxy
from tests.chaos.supervision import Supervision
from tests.integration.cluster import DaskCluster
from tests.integration.system import PARSE_ONCE, QUICK_RECOVERY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow_eks_dask.local.postgres import PostgresServer
    from airflow_eks_dask.local.processes import Child

BUNDLE = {"name": "chaos", "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": {}}
LAUNCHER = "airflow_eks_dask.worker.launcher"
WORKERS = 2
SLOTS_PER_WORKER = 2
# Nothing is deferred.
COMPONENTS = ("api-server", "scheduler", "dag-processor")
LIMITS = {"parallelism": 64, "max_active_tasks_per_dag": 64}
# For as long as an API server takes to start on a machine with much to do; the defaults give up after some 15 s.
PATIENCE = {"max_failed_heartbeats": 60, "execution_api_retries": 40, "execution_api_retry_wait_max": 10}


@dataclass
class Site:
    """
    An Airflow that runs, and what its tasks run on.

    :param slots: How many tasks it runs at the same time.
    :param host: IP address of this machine by which its tasks reach it.
    """

    executor: str
    airflow: LocalAirflow
    client: AirflowClient
    postgres: PostgresServer
    slots: int
    host: str = field(default="127.0.0.1", kw_only=True)

    def unsettled(self) -> str:
        """Say what is not as it was before the fault; empty if all is."""
        raise NotImplementedError


@dataclass
class DaskSite(Site):
    """With DaskExecutor on a Dask cluster of its own, reached through a proxy."""

    dask: DaskCluster
    proxy: Proxy

    def nannies(self) -> list[psutil.Process]:
        """Return the processes that ``dask worker`` started as."""
        return [psutil.Process(child.popen.pid) for child in self.dask.workers if child.running]

    def launchers(self) -> list[psutil.Process]:
        """Return the launchers beside the workers."""
        return [
            process
            for nanny in self.nannies()
            for process in nanny.children(recursive=True)
            if LAUNCHER in command(process) and (parent := process.parent()) and LAUNCHER not in command(parent)
        ]

    def workers(self) -> list[psutil.Process]:
        """Return the worker processes, whose launchers are ready."""
        return [parent for launcher in self.launchers() if (parent := launcher.parent())]

    def supervisors(self) -> list[psutil.Process]:
        """Return the processes of the workloads that run a task."""
        return [each for launcher in self.launchers() for each in launcher.children() if each.children()]

    def unsettled(self) -> str:
        try:
            capacity = self.dask.call("airflow_capacity")
        except (OSError, ValueError) as error:
            return f"the Dask scheduler does not answer: {error}"
        left = [
            process.pid
            for process in psutil.process_iter()
            if LAUNCHER in command(process) and environment(process) == str(self.airflow.home)
        ]
        launchers = {launcher.pid for launcher in self.launchers()}
        if (capacity["slots"], capacity["free"], capacity["waiting"]) != (self.slots, self.slots, {}):
            return f"slots: {capacity}"
        return f"processes left over: {sorted(set(left) - launchers)}" if set(left) - launchers else ""


@dataclass
class CelerySite(Site):
    """With CeleryExecutor on Redis."""

    redis: Any
    worker: Callable[[], Child]

    def unsettled(self) -> str:
        return ""


def command(process: psutil.Process) -> list[str]:
    """Return a process's arguments; none if it has gone."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def environment(process: psutil.Process) -> str:
    """Return a process's ``AIRFLOW_HOME``, by which those of other Airflows on this machine are told apart."""
    try:
        return process.environ().get("AIRFLOW_HOME", "")
    except (psutil.Error, OSError):
        return ""


def new_airflow(home: Path, postgres: PostgresServer, executor: str, **settings: dict[str, Any]) -> LocalAirflow:
    postgres.create_database(home.name)
    shutil.copytree(Path(__file__).parent / "dags", home / "dags")
    settings = {
        "core": LIMITS,
        "scheduler": QUICK_RECOVERY,
        "dag_processor": PARSE_ONCE,
        "workers": PATIENCE,
        **settings,
    }
    return LocalAirflow(
        home, postgres.sqlalchemy_url(home.name), executor=executor, dag_bundles=[BUNDLE], settings=settings
    )


def component(airflow: LocalAirflow, name: str) -> Callable[[], None]:
    return lambda: airflow.start_component(name)


@contextmanager
def dask_site(home: Path, postgres: PostgresServer) -> Iterator[Site]:
    """Run Airflow with DaskExecutor."""
    home.mkdir()
    dask = DaskCluster(home)
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(dask.port))
        options = {"cluster_address": f"tcp://127.0.0.1:{proxy.port}", "connect_timeout": "5"}
        airflow = new_airflow(home, postgres, "airflow_eks_dask.DaskExecutor", dask=options)
        stack.callback(airflow.stop)
        stack.callback(dask.stop)
        dask.environment = airflow.environment
        dask.start_scheduler()
        for _ in range(WORKERS):
            start_worker(dask)
        airflow.start(COMPONENTS)
        services = {name: component(airflow, name) for name in COMPONENTS}
        services["the Dask cluster"] = lambda: ensure_dask(dask)
        client = stack.enter_context(AirflowClient(airflow.base_url))
        stack.enter_context(Supervision(services))
        slots = WORKERS * SLOTS_PER_WORKER
        yield DaskSite("DaskExecutor", airflow, client, postgres, slots, dask, proxy)


def start_worker(dask: DaskCluster) -> None:
    dask.start_worker("--nthreads", "1", "--resources", f"airflow={SLOTS_PER_WORKER}")


def ensure_dask(dask: DaskCluster) -> None:
    if dask.scheduler is None or not dask.scheduler.running:
        dask.start_scheduler()
    for _ in range(WORKERS - sum(child.running for child in dask.workers)):
        start_worker(dask)


@contextmanager
def celery_site(home: Path, postgres: PostgresServer) -> Iterator[Site]:
    """Run Airflow with CeleryExecutor; it needs the extra ``benchmarks``."""
    from benchmarks.redis_server import RedisServer

    slots = WORKERS * SLOTS_PER_WORKER
    home.mkdir()
    with ExitStack() as stack:
        redis = stack.enter_context(RedisServer(home / "redis"))
        celery = {"broker_url": redis.url, "worker_concurrency": slots}
        airflow = new_airflow(home, postgres, "CeleryExecutor", celery=celery)
        stack.callback(airflow.stop)
        airflow.start(COMPONENTS)
        processes = stack.enter_context(ProcessSet())
        workers: list[Child] = []

        def ensure_worker() -> None:
            if not workers or not workers[-1].running:
                arguments = [sys.executable, "-m", "airflow", "celery", "worker", "--skip-serve-logs"]
                log_file = airflow.log_file("celery-worker")
                worker = processes.start(
                    "Celery worker", arguments, log_file=log_file, env=airflow.environment, cwd=home
                )
                workers.append(worker)

        def ensure_redis() -> None:
            if not psutil.pid_exists(redis.pid) or psutil.Process(redis.pid).status() == psutil.STATUS_ZOMBIE:
                redis.start()

        ensure_worker()
        services = {name: component(airflow, name) for name in COMPONENTS}
        services |= {"the Celery worker": ensure_worker, "Redis": ensure_redis}
        client = stack.enter_context(AirflowClient(airflow.base_url))
        stack.enter_context(Supervision(services))
        yield CelerySite("CeleryExecutor", airflow, client, postgres, slots, redis, lambda: workers[-1])


SITES = {"dask": dask_site, "celery": celery_site}
