"""Airflow's execution API on this machine, where pods reach it."""

from __future__ import annotations

import ssl
import sys
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import httpx

from airflow_eks_dask import certificates
from airflow_eks_dask.certificates import AUTHORITY, certificate_file, key_file
from airflow_eks_dask.local.ports import free_port
from airflow_eks_dask.local.processes import ProcessSet
from tests.conftest import eventually

if TYPE_CHECKING:
    from airflow_eks_dask.local.airflow import LocalAirflow

SERVER = "server"


class ExecutionApi:
    """
    A process of its own, with TLS: UI and REST API, which want no login here, stay on loopback.

    :param airflow: Whose tasks report to it.
    :param host: IP address of this machine by which pods reach it.
    :param names: Further names for its certificate.
    """

    def __init__(self, airflow: LocalAirflow, host: str, names: tuple[str, ...]) -> None:
        self.tls = airflow.home / "execution-api-tls"
        self.url = f"https://{host}:{free_port()}/execution/"
        self._airflow = airflow
        self._processes = ProcessSet()
        now = datetime.now(timezone.utc)
        # Of its own: the authority of the Dask cluster signs for that alone.
        authority = certificates.make_authority(now)
        subjects = [certificates.subject_name(name) for name in (host, *names)]
        server = certificates.make_certificate("scheduler", authority, now, names=subjects)
        certificates.write(self.tls, {AUTHORITY: authority, SERVER: server})

    def client(self, **options: object) -> httpx.Client:
        """Return a client that knows its authority."""
        context = ssl.create_default_context(cafile=certificate_file(self.tls, AUTHORITY))
        return httpx.Client(base_url=self.url, verify=context, timeout=30, trust_env=False, **options)

    def start(self) -> None:
        """Start it and wait until it answers."""
        url = httpx.URL(self.url)
        log_file = self._airflow.log_file("execution-api")
        pair = [f"--ssl-cert={certificate_file(self.tls, SERVER)}", f"--ssl-key={key_file(self.tls, SERVER)}"]
        where = [f"--host={url.host}", f"--port={url.port}"]
        child = self._processes.start(
            "execution API",
            [sys.executable, "-m", "airflow", "api-server", "--apps=execution", "--workers=1", *where, *pair],
            log_file=log_file,
            env=self._airflow.environment,
            cwd=self._airflow.home,
        )

        def healthy() -> bool:
            assert child.running, child.failure()
            try:
                with self.client() as http:
                    return http.get("health").is_success
            except httpx.TransportError:
                return False

        eventually(healthy, what=f"the execution API is healthy: {log_file} says why")

    def stop(self) -> None:
        """End it."""
        self._processes.close()
