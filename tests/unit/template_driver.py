"""
Stands where a workload process is: runs what it is told as tasks, and says in JSON what came of each.

A task is what the supervisor forks, with another end than Airflow's task runner: it reads its DAG file as that does and
prints what it found.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from socket import socket, socketpair
from typing import Any

import psutil
from airflow.dag_processing.bundles.base import BaseDagBundle
from airflow.sdk.execution_time import supervisor

from airflow_eks_dask.worker import airflow_workload
from airflow_eks_dask.worker.dag_reading import NotKeptError
from airflow_eks_dask.worker.dag_template import DagFile, Templates


class OneFolderEachVersion(BaseDagBundle):
    """A bundle whose versions are folders."""

    supports_versioning = True

    @property
    def path(self) -> Path:
        return Path(os.environ["AIRFLOW_HOME"]) / (self.version or "latest")

    def get_current_version(self) -> str | None:
        return self.version

    def refresh(self) -> None:
        """Nothing to do."""

    def initialize(self) -> None:
        """Nothing to do either, which nobody can know from outside."""
        super().initialize()


def task() -> None:
    """Be a task: the values that its module has, and where it runs."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import BundleDagBag

    wanted = json.loads(os.read(0, 65_536))
    bundle = DagBundlesManager().get_bundle(name=wanted["bundle"], version=wanted["version"])
    bag = BundleDagBag(
        dag_folder=os.fspath(Path(bundle.path, wanted["path"])),
        safe_mode=False,
        load_op_links=False,
        bundle_path=bundle.path,
        bundle_name=wanted["bundle"],
    )
    found: Any = bag.dags[wanted["dag_id"]].params["found"]
    print(json.dumps({"found": found, "pid": os.getpid(), "parent": os.getppid(), "session": os.getsid(0)}))
    if wanted["die"]:
        sys.stdout.flush()
        os.kill(os.getpid(), signal.SIGKILL)


def start() -> tuple[int, list[socket]]:
    """Fork as :meth:`airflow.sdk.execution_time.supervisor.WatchedSubprocess.start` does, with its names."""
    child_stdout, read_stdout = socketpair()
    child_stderr, read_stderr = socketpair()
    child_requests, read_requests = socketpair()
    child_logs, read_logs = socketpair()
    ours = [read_requests, read_stdout, read_stderr, read_logs]
    if (pid := os.fork()) == 0:
        for each in ours:
            each.close()
        supervisor._fork_main(child_requests, child_stdout, child_stderr, child_logs.fileno(), task)
    for each in (child_stdout, child_stderr, child_requests, child_logs):
        each.close()
    return pid, ours


def run(templates: Templates, order: dict[str, Any]) -> dict[str, Any]:
    """Run one task."""
    dag_file = DagFile(order["bundle"], order["version"], order["path"], order["dag_id"])
    with templates.task(dag_file):
        pid, ours = start()
    requests, output, *_ = ours
    requests.sendall(json.dumps(order).encode())
    told = b""
    while data := output.recv(65_536):
        told += data
    for each in ours:
        each.close()
    _, status = os.waitpid(pid, 0)
    return {**json.loads(told), "forked": pid, "exit": os.waitstatus_to_exitcode(status)}


def is_ready(templates: Templates) -> bool:
    """Return whether there is a template that has read its file."""
    with suppress(NotKeptError):
        return templates._template is not None and templates._template.is_ready()
    return False


def main() -> None:
    """Do what the lines of standard input say."""
    # Airflow logs where answers are read.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    airflow_workload.warm_up()
    supervisor._subprocess_main = task
    templates = Templates(0)
    for line in sys.stdin:
        order = json.loads(line)
        if order["do"] == "begin":
            templates._dismiss()
            templates, answer = Templates(order["keep"]), {}
        elif order["do"] == "run":
            answer = run(templates, order)
        else:
            answer = {
                "ready": is_ready(templates),
                "pids": sorted(templates.pids),
                "children": [each.pid for each in psutil.Process().children() if each.status() != psutil.STATUS_ZOMBIE],
            }
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
