"""What a check of a cluster runs there. Light: it is imported into the Dask scheduler and into workers."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from typing import Any

from airflow_eks_dask.worker.protocol import CLIENT_NAME

EXECUTION_API_TIMEOUT = 90.0

# With the client that tasks use, which knows the authorities and certificates of [api].
_ASK_EXECUTION_API = """
import httpx
from airflow.configuration import conf
from airflow.sdk.api.client import Client
base = conf.get("api", "base_url", fallback="/")
base = "http://localhost:8080" + base if base.startswith("/") else base
url = conf.get("core", "execution_api_server_url", fallback=base.rstrip("/") + "/execution/").rstrip("/") + "/"
try:
    Client(base_url=url, token="").get("health")
except (httpx.HTTPError, OSError) as error:
    raise SystemExit(f"{url}health: {error or type(error).__name__}")
"""


def executors(dask_scheduler: Any) -> list[str]:
    """Return the ids of the executors that are connected; for ``Client.run_on_scheduler``."""
    return [client for client in dask_scheduler.clients if f"-{CLIENT_NAME}-" in client]


def answer(token: str, ask_execution_api: bool) -> dict[str, Any]:
    """
    Tell where this runs, and what keeps Airflow's execution API from being reached; for a worker.

    :param token: Given back.
    :param ask_execution_api: Whether to try to reach it.
    """
    problem = execution_api_problem() if ask_execution_api else ""
    return {"token": token, "host": platform.node(), "pid": os.getpid(), "problem": problem}


def execution_api_problem() -> str:
    """
    Say why workloads of this process could not reach Airflow's execution API; empty if they could.

    It is found out in another process: Airflow is not to be imported into a Dask worker.
    """
    command = [sys.executable, "-c", _ASK_EXECUTION_API]
    try:
        # Once is enough: whoever checks asks again.
        once = {**os.environ, "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "1"}
        asked = subprocess.run(
            command, env=once, capture_output=True, text=True, timeout=EXECUTION_API_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {EXECUTION_API_TIMEOUT:g} s"
    return asked.stderr.strip().splitlines()[-1] if asked.returncode else ""
