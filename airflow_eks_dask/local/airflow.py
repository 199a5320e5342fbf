"""A whole Airflow on this machine: migrated, started, watched, restarted and ended."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import httpx

from airflow_eks_dask.local import configuration
from airflow_eks_dask.local.client import AirflowClient
from airflow_eks_dask.local.ports import ReservedPort
from airflow_eks_dask.local.processes import Child, LocalProcessError, ProcessSet, tail

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from typing_extensions import Self

log = logging.getLogger(__name__)

# In the order in which they are started: the slowest first.
COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")
COMMANDS = {
    "api-server": ("api-server",),
    # Their log servers would listen on all interfaces; the API server reads the files itself.
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
# Asked politely, the triggerer takes 11 s to end, and has nothing to save.
STOP_SIGNALS = {"triggerer": signal.SIGKILL}
POLL_INTERVAL = 0.2


class LocalAirflow:
    """
    An Airflow of its own, in one directory; its processes end with this one.

    Unless its settings say otherwise it needs no login. It listens on 127.0.0.1 only. Every user of this machine can
    reach it: it is for machines whose users trust each other.

    :param directory: Where it lives (``AIRFLOW_HOME``): configuration, logs, DAGs. Made if it does not exist.
    :param database_url: SQLAlchemy's address of an existing database.
    :param executor: Import path or short name of the executor.
    :param dag_bundles: Entries of ``[dag_processor] dag_bundle_config_list``. Default: its ``dags`` directory.
    :param settings: Further options: section, option, value.
    :param environment: Further environment variables of its processes, such as ``AIRFLOW_CONN_...``.
    :param port: TCP port of API and UI, if that is free; otherwise, and for 0, any free one.
    """

    def __init__(
        self,
        directory: Path,
        database_url: str,
        *,
        executor: str = "LocalExecutor",
        dag_bundles: Sequence[Mapping[str, Any]] = (),
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        environment: Mapping[str, str] | None = None,
        port: int = 0,
    ) -> None:
        self.home = directory.resolve()
        self._reserved_port = ReservedPort(port)
        self.port = self._reserved_port.number
        self.base_url = f"http://127.0.0.1:{self.port}"
        base = configuration.base_settings(
            self.home, database_url=database_url, port=self.port, executor=executor, dag_bundles=dag_bundles
        )
        self.settings = configuration.merged(base, settings or {})
        self.environment = configuration.environment(self.home, os.environ, environment or {})
        self._processes = ProcessSet()
        self._children: dict[str, Child] = {}

    def start(self, components: Sequence[str] = COMPONENTS, *, timeout: float = 120) -> None:
        """
        Set up the database, start the components side by side and wait until they are healthy.

        :param components: Names out of ``COMPONENTS``.
        :param timeout: Seconds that the start of the components may take.
        :raises LocalProcessError: if a component ends or is not healthy in time; the message holds its log's end.
        """
        self.prepare()
        started = datetime.now(timezone.utc)
        # It imports for ten seconds and opens the database on the first request: it need not wait for the tables.
        early = [name for name in components if name == "api-server"]
        for name in early:
            self._launch(name)
        self.migrate()
        for name in components:
            if name not in early:
                self._launch(name)
        self.wait_until_healthy(components, since=started, timeout=timeout)

    def prepare(self) -> None:
        """Write the configuration into the directory."""
        self.home.mkdir(parents=True, exist_ok=True)
        for name in ("dags", "logs"):
            (self.home / name).mkdir(exist_ok=True)
        file = self.home / "airflow.cfg"
        file.touch(mode=0o600)
        # The file may have been there: it holds the secrets and the password of the database.
        file.chmod(0o600)
        file.write_text(configuration.as_config_file(self.settings))

    def migrate(self, *, timeout: float = 300) -> None:
        """
        Create or upgrade the tables of the database.

        :param timeout: Seconds it may take.
        :raises LocalProcessError: if that fails; the message holds the end of its log.
        """
        child = self._run("migrate", "db", "migrate")
        try:
            code = child.popen.wait(timeout)
        except subprocess.TimeoutExpired:
            raise LocalProcessError(
                f"'airflow db migrate' has not ended within {timeout:g} s. The end of {child.log_file}:\n"
                f"{tail(child.log_file)}"
            ) from None
        finally:
            self._processes.stop(child)
        if code:
            raise LocalProcessError(f"The database could not be set up: {child.failure()}")

    def start_component(self, name: str, *, timeout: float = 120) -> None:
        """
        Start one component and wait until it is healthy. Nothing happens if it is running.

        :param name: One of ``COMPONENTS``.
        :param timeout: Seconds it may take.
        :raises LocalProcessError: if it ends or is not healthy in time.
        """
        if name in self._children and self._children[name].running:
            return
        started = datetime.now(timezone.utc)
        self._launch(name)
        self.wait_until_healthy([name], since=started, timeout=timeout)

    def kill_component(self, name: str, signal_: signal.Signals = signal.SIGKILL, *, timeout: float = 60) -> None:
        """
        Send a signal to the main process of a component, and to nothing that it started, and wait for its end.

        :param name: One of the running components.
        :param signal_: The signal.
        :param timeout: Seconds its end may take.
        :raises LocalProcessError: if it is still running then.
        """
        child = self._children.pop(name)
        try:
            self._signal_until_gone(child, signal_, timeout)
        except subprocess.TimeoutExpired:
            self._children[name] = child
            raise LocalProcessError(
                f"{name} has not ended {timeout:g} s after {signal_.name}. See {child.log_file}."
            ) from None

    @staticmethod
    def _signal_until_gone(child: Child, signal_: signal.Signals, timeout: float) -> None:
        child.popen.send_signal(signal_)
        try:
            child.popen.wait(timeout / 2)
        except subprocess.TimeoutExpired:
            # Airflow's scheduler loses a signal that comes while Python calls back for a weak reference.
            child.popen.send_signal(signal_)
            child.popen.wait(timeout / 2)

    def restart_component(self, name: str, *, timeout: float = 120) -> None:
        """End a component with SIGTERM, start it again and wait until it is healthy."""
        self.kill_component(name, signal.SIGTERM, timeout=timeout)
        self.start_component(name, timeout=timeout)

    def pid(self, name: str) -> int:
        """Return the process id of a component that was started."""
        return self._children[name].popen.pid

    def log_file(self, name: str) -> Path:
        """Return the file that a component's output goes to."""
        return self.home / "logs" / f"{name}.log"

    def check(self) -> None:
        """
        Raise if a component has ended that was not asked to.

        :raises LocalProcessError: with the end of its log.
        """
        for child in list(self._children.values()):
            if not child.running:
                raise LocalProcessError(f"{child.failure()}")

    def wait_until_healthy(
        self, components: Sequence[str], *, since: datetime | None = None, timeout: float = 120
    ) -> None:
        """
        Wait until components report to be alive.

        The API server reports for all of them: without it, only that they are running is checked.

        :param components: Names out of ``COMPONENTS``.
        :param since: Reports from before this moment do not count.
        :param timeout: Seconds to wait.
        :raises LocalProcessError: if one ends or is not healthy in time.
        """
        deadline = time.monotonic() + timeout
        with httpx.Client(base_url=self.base_url, timeout=10, trust_env=False) as http:
            while True:
                self.check()
                waiting = self._unhealthy(http, components, since) if "api-server" in self._children else []
                if not waiting:
                    return
                if time.monotonic() > deadline:
                    logs = "\n".join(f"{self.log_file(name)}:\n{tail(self.log_file(name))}" for name in waiting)
                    raise LocalProcessError(f"Not healthy within {timeout:g} s: {', '.join(waiting)}.\n{logs}")
                time.sleep(POLL_INTERVAL)

    def client(self, *, timeout: float = 30, login: tuple[str, str] | None = None) -> AirflowClient:
        """
        Return a client of the REST API. Its waits end at once when a component ends unasked.

        :param timeout: Seconds that one request may take.
        :param login: Name and password of a user, where a login was made necessary.
        """
        return AirflowClient(self.base_url, check=self.check, timeout=timeout, login=login)

    def stop(self, *, grace: float = 30) -> None:
        """
        End all components, and kill what is left of them and of what they started; give the port back.

        :param grace: Seconds to wait between asking and killing.
        """
        self._processes.close(grace=grace)
        self._children.clear()
        self._reserved_port.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _launch(self, name: str) -> None:
        self._children[name] = self._run(name, *COMMANDS[name])

    def _run(self, name: str, *arguments: str) -> Child:
        return self._processes.start(
            name,
            [sys.executable, "-m", "airflow", *arguments],
            log_file=self.log_file(name),
            env=self.environment,
            cwd=self.home,
            stop_signal=STOP_SIGNALS.get(name, signal.SIGTERM),
        )

    def _unhealthy(self, http: httpx.Client, components: Sequence[str], since: datetime | None) -> list[str]:
        try:
            response = http.get("/api/v2/monitor/health")
            response.raise_for_status()
        except httpx.HTTPError:
            # Not up yet: who asks has a deadline.
            return list(components)
        return unhealthy(response.json(), components, since)


def unhealthy(health: Mapping[str, Any], components: Sequence[str], since: datetime | None) -> list[str]:
    """
    Return the components that an answer of Airflow's health endpoint does not show to be alive.

    :param health: The answer.
    :param components: The components asked for.
    :param since: Heartbeats from before this moment do not count: they are those of a predecessor.
    """

    def alive(name: str) -> bool:
        if name == "api-server":
            return bool(health["metadatabase"]["status"] == "healthy")
        key = name.replace("-", "_")
        heartbeat = health[key][f"latest_{key}_heartbeat"]
        if health[key]["status"] != "healthy" or heartbeat is None:
            return False
        return since is None or datetime.fromisoformat(heartbeat) >= since

    return [name for name in components if not alive(name)]
