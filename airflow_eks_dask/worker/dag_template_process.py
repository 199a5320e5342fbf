"""What a template does: read a DAG file, wait, and become the process of a task (see :mod:`.dag_template`)."""

from __future__ import annotations

import atexit
import gc
import os
import socket
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from airflow_eks_dask.worker import random_numbers, sessions
from airflow_eks_dask.worker.dag_reading import NotKeptError, Reading, observed

if TYPE_CHECKING:
    from airflow_eks_dask.worker.dag_template import DagFile

READY = b"ready"
"""What it says when it has read its file; anything else is why that may not be used."""

CHANGED = b"changed"
"""What it answers if its file, or what that read in turn, is not as it was."""

REASON_LIMIT = 1_000


def main(link: socket.socket, dag_file: DagFile, keep: float) -> NoReturn:
    """
    Read the file, and serve until there is no one to serve.

    :param link: Gives the descriptors of the sockets for each task; takes the process id of the successor.
    :param dag_file: What to read.
    :param keep: Seconds for which that may be used.
    """
    try:
        try:
            dag = _ReadDag(dag_file)
        except BaseException as error:  # noqa: BLE001 - the file's own code may raise anything, and it is told
            link.sendall((str(error) or repr(error)).encode()[:REASON_LIMIT])
            os._exit(0)
        # What is there now stays: the garbage collector of a task would touch all of it, and so copy it.
        gc.collect()
        gc.freeze()
        link.sendall(READY)
        _serve(link, dag, keep)
    finally:
        os._exit(0)


def _serve(link: socket.socket, dag: _ReadDag, keep: float) -> None:
    while True:
        order, descriptors, _, _ = socket.recv_fds(link, 1, 4)
        if not order or dag.reading.is_older_than(keep):
            return
        if not dag.reading.is_current():
            link.sendall(CHANGED)
            return
        if (successor := os.fork()) != 0:
            link.sendall(successor.to_bytes(8, "big"))
            link.close()
            dag.become_task(descriptors)
        for each in descriptors:
            os.close(each)


class _ReadDag:
    """
    A DAG file that has been read as Airflow's task runner does.

    :param dag_file: What to read.
    :raises NotKeptError: The result may not be used.
    """

    def __init__(self, dag_file: DagFile) -> None:
        from airflow.dag_processing import dagbag
        from airflow.sdk.execution_time import supervisor, task_runner

        self._outputs = os.dup(1), os.dup(2)
        # What is printed and logged meanwhile belongs to the log of a task, and there is none.
        self._logs = os.open(os.devnull, os.O_RDWR)
        for each in range(3):
            os.dup2(self._logs, each)
        atexit._clear()
        supervisor._reset_signals()  # type: ignore[no-untyped-call]
        supervisor._configure_logs_over_json_channel(self._logs)
        supervisor.block_orm_access()  # type: ignore[no-untyped-call]
        comms = task_runner.SUPERVISOR_COMMS = _NoSupervisor()  # type: ignore[assignment]
        bundle_path = _bundle_path(dag_file)
        path = os.fspath(bundle_path / dag_file.path)
        self._arguments: dict[str, Any] = {
            "dag_folder": path,
            "safe_mode": False,
            "load_op_links": False,
            "bundle_path": bundle_path,
            "bundle_name": dag_file.bundle,
        }
        self._dag_bag = dagbag.BundleDagBag
        comms.asked.clear()
        with observed() as reading:
            reading.note(path)
            self._bag = self._dag_bag(**self._arguments)
        self.reading: Reading = reading
        reading.obstacles += comms.asked
        reading.check()
        if dag_file.dag_id not in self._bag.dags:
            raise NotKeptError(f"it has no DAG {dag_file.dag_id}")
        del task_runner.SUPERVISOR_COMMS

    def become_task(self, descriptors: list[int]) -> NoReturn:
        """
        Do what Airflow's supervisor has its child do.

        :param descriptors: Of the sockets for it: requests, standard output, standard error, logs.
        """
        from airflow.dag_processing import dagbag
        from airflow.sdk.execution_time import supervisor

        try:
            sessions.die_with_parent()
            random_numbers.seed()
            requests, stdout, stderr, logs = (socket.socket(fileno=each) for each in descriptors)
            for number, output in enumerate(self._outputs, start=1):
                os.dup2(output, number)
                os.close(output)
            # Loggers made while the file was read go on writing there.
            os.dup2(logs.fileno(), self._logs)
            dagbag.BundleDagBag = self._take  # type: ignore[assignment, misc]
            # It was cleared before the file was read, and what that registered is to run.
            atexit._clear = lambda: None
            supervisor._fork_main(requests, stdout, stderr, logs.fileno(), supervisor._subprocess_main)
        except BaseException:  # noqa: BLE001 - as in the child of the supervisor: it must end here, however
            traceback.print_exc(file=sys.__stderr__)
        os._exit(124)

    def _take(self, **asked: Any) -> Any:
        """Stand in for Airflow's reading of the file, once."""
        from airflow.dag_processing import dagbag

        dagbag.BundleDagBag = self._dag_bag  # type: ignore[misc]
        if asked.get("bundle_path") != self._arguments["bundle_path"]:
            raise RuntimeError(f"The DAG was read in {self._arguments['bundle_path']}, not in {asked['bundle_path']}")
        # Nothing has changed since, so that to read it once more does no harm.
        return self._bag if asked == self._arguments else self._dag_bag(**asked)


def _bundle_path(dag_file: DagFile) -> Path:
    """Return where the bundle is; nothing of it is fetched, as the task before this one has seen to that."""
    from airflow.dag_processing.bundles.local import LocalDagBundle
    from airflow.dag_processing.bundles.manager import DagBundlesManager

    bundles = DagBundlesManager()  # type: ignore[no-untyped-call]
    bundle = bundles.get_bundle(name=dag_file.bundle, version=dag_file.version)
    is_local = isinstance(bundle, LocalDagBundle) and type(bundle).initialize is LocalDagBundle.initialize
    if dag_file.version is None and not is_local:
        raise NotKeptError(f"the bundle {dag_file.bundle} may be renewed whenever a task begins")
    if not Path(bundle.path, dag_file.path).is_file():
        raise NotKeptError(f"it is not in {bundle.path}")
    return bundle.path


class _NoSupervisor:
    """Stands where the task runner has its supervisor: what would be asked of that may be different next time."""

    socket = None

    def __init__(self) -> None:
        self.asked: list[str] = []

    def send(self, msg: object, **_: object) -> NoReturn:
        self.asked.append(f"{type(msg).__name__} is asked of Airflow while it is read")
        raise NotKeptError(self.asked[-1])

    async def asend(self, msg: object, **_: object) -> NoReturn:
        self.send(msg)
