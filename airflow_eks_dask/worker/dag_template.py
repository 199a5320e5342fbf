"""
A process that has read a DAG file and waits to become the process of a task in it.

Reading its DAG file is much of what a small task does. A workload process that is handed a second task of the same DAG
forks a *template* (:mod:`.dag_template_process`), which reads the file. For each task after that, Airflow's supervisor
forks no child of its own but is given the template, which forks a successor and becomes the task's process itself. Each
task still has a process of its own, a copy made right after the file was read. A template that may not or no longer be
used ends, and the supervisor forks as ever.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.worker import dag_template_process, orphans
from airflow_eks_dask.worker.dag_reading import NotKeptError

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

CHANGES = 3
"""How often a file may have changed before a workload process forks no more templates of it."""

ANSWER_TIMEOUT = 5.0
"""Seconds after which a template that has read its file and does not answer is taken for broken."""

SOCKETS = ("child_requests", "child_stdout", "child_stderr", "child_logs")
"""What Airflow's supervisor calls the ends of its socket pairs that are for its child, in the order of `_fork_main`."""


@dataclass(frozen=True)
class DagFile:
    """
    Which DAG is read.

    :param bundle: Name of the DAG bundle.
    :param version: Of the bundle; None: whatever is there.
    :param path: Of the file, in the bundle.
    :param dag_id: A file may be read for one DAG of several.
    """

    bundle: str
    version: str | None
    path: str
    dag_id: str

    @classmethod
    def of(cls, workload: Any) -> DagFile:
        """Return the file of a task."""
        bundle = workload.bundle_info
        return cls(bundle.name, bundle.version, os.fspath(workload.dag_rel_path), workload.ti.dag_id)


class Templates:
    """
    The templates of a workload process, one at a time: most tasks come after another of the same DAG.

    :param keep: Seconds for which a DAG file that was read may be used; 0: never.
    """

    def __init__(self, keep: float) -> None:
        # What a template needs of the system is Linux's.
        self._keep = keep if sys.platform == "linux" else 0
        self._last: DagFile | None = None
        self._template: Template | None = None
        self._changes: dict[DagFile, int] = {}

    @property
    def pids(self) -> frozenset[int]:
        """Ids of the processes that are there between two tasks."""
        return frozenset() if self._template is None else frozenset({self._template.pid})

    @contextmanager
    def task(self, dag_file: DagFile) -> Iterator[None]:
        """
        Have a supervisor that is called meanwhile be given the template as the process of its task, if there is one.

        :param dag_file: Of the task.
        """
        is_second, self._last = self._last == dag_file, dag_file
        if self._template is not None and self._template.dag_file != dag_file:
            self._dismiss()
        if self._template is not None and self._is_ready(self._template):
            with self._in_place_of_fork():
                yield
            return
        if is_second and self._template is None and self._keep > 0 and self._changes.get(dag_file, 0) < CHANGES:
            self._template = Template.fork(dag_file, self._keep)
        yield

    def _is_ready(self, template: Template) -> bool:
        try:
            return template.is_ready()
        except NotKeptError as error:
            log.info("Each task of %s reads it anew: %s", template.dag_file.path, error)
            self._changes[template.dag_file] = CHANGES
            self._dismiss()
            return False

    @contextmanager
    def _in_place_of_fork(self) -> Iterator[None]:
        fork = os.fork

        def from_template() -> int:
            # Whoever forks after this has the system's own.
            os.fork = fork
            pid = self._take(sys._getframe(1).f_locals)
            return fork() if pid is None else pid

        os.fork = from_template
        try:
            yield
        finally:
            os.fork = fork

    def _take(self, caller: dict[str, Any]) -> int | None:
        sockets = [caller.get(name) for name in SOCKETS]
        descriptors = [each.fileno() for each in sockets if isinstance(each, socket.socket)]
        template = self._template
        if template is None or len(descriptors) < len(SOCKETS):
            return None
        pid = template.become_task(descriptors)
        if pid is None:
            self._changes[template.dag_file] = self._changes.get(template.dag_file, 0) + template.has_changed
            self._dismiss()
        return pid

    def _dismiss(self) -> None:
        if self._template is not None:
            self._template.link.close()
        self._template = None


class Template:
    """
    The workload process's end of a template.

    :param dag_file: What it reads.
    :param pid: Its process id, which is another after each task.
    :param link: To it, for one after the other.
    """

    def __init__(self, dag_file: DagFile, pid: int, link: socket.socket) -> None:
        self.dag_file = dag_file
        self.pid = pid
        self.link = link
        self.has_changed = False
        self._is_ready = False

    @classmethod
    def fork(cls, dag_file: DagFile, keep: float) -> Template | None:
        """
        Fork one; None if that fails.

        :param dag_file: What it is to read.
        :param keep: Seconds for which that may be used.
        """
        orphans.adopt()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                pid = os.fork()
            except OSError as error:
                log.warning("No template of %s could be forked: %s", dag_file.path, error)
                ours.close()
                return None
            if pid == 0:
                ours.close()
                dag_template_process.main(theirs, dag_file, keep)
        os.register_at_fork(after_in_child=ours.close)
        return cls(dag_file, pid, ours)

    def is_ready(self) -> bool:
        """
        Return whether it has read its file.

        :raises NotKeptError: Its file may not be read beforehand.
        """
        if not self._is_ready:
            with suppress(BlockingIOError):
                told = self.link.recv(dag_template_process.REASON_LIMIT, socket.MSG_DONTWAIT)
                if told != dag_template_process.READY:
                    raise NotKeptError(told.decode(errors="replace") or "its template ended")
                self._is_ready = True
        return self._is_ready

    def become_task(self, descriptors: list[int]) -> int | None:
        """
        Have it become the process of a task.

        :param descriptors: Of the supervisor's sockets that are for it.
        :return: Id of that process; None: what was read is too old or has changed, or the template is gone.
        """
        self.link.settimeout(ANSWER_TIMEOUT)
        try:
            socket.send_fds(self.link, [b"T"], descriptors)
            answer = self.link.recv(8)
        except OSError as error:
            log.warning("The template of %s does not answer and is ended: %s", self.dag_file.path, error)
            # Before another process is forked for the same task.
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            return None
        self.link.settimeout(None)
        self.has_changed = answer == dag_template_process.CHANGED
        if len(answer) < 8:
            return None
        pid, self.pid = self.pid, int.from_bytes(answer, "big")
        return pid
