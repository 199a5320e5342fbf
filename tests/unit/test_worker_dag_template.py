"""Processes that have read a DAG file and become those of its tasks, below a stand-in for a workload process."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
import pytest

from airflow_eks_dask.worker.dag_template import CHANGES, DagFile, Template
from tests.conftest import PATIENCE, eventually, is_running

ROOT = Path(__file__).parents[2]
LOCAL, OTHER = "files", "versions"
BUNDLES = [
    {"name": LOCAL, "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle", "kwargs": {"path": "latest"}},
    {"name": OTHER, "classpath": "tests.unit.template_driver.OneFolderEachVersion", "kwargs": {}},
]
FILE = """
import json, threading
from pathlib import Path
from airflow.sdk import DAG
from {folder}.helper import HELPER

DATA = json.loads((Path(__file__).parent / "data.json").read_text())
for name in ("one", "two"):
    with DAG(name, params={"found": [threading.get_native_id(), "file 1", HELPER, DATA]}):
        pass
"""


class Driver:
    """The process."""

    def __init__(self, home: Path) -> None:
        self.home = home
        bundles = json.dumps(BUNDLES).replace('"latest"', json.dumps(str(home / "latest")))
        environment = {
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": bundles,
            "PYTHONPATH": str(ROOT),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.template_driver"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=home,
            text=True,
            start_new_session=True,
        )

    def ask(self, **order: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(PATIENCE)


class Folder:
    """A folder of DAG files, in each version, and the process that runs tasks of them."""

    def __init__(self, driver: Driver, keep: float) -> None:
        self.driver = driver
        self.name = f"dags_{uuid4().hex}"
        for version in ("latest", "v1", "v2"):
            self.write(version)
        driver.ask(do="begin", keep=keep)
        eventually(lambda: self.status()["children"] == [], what="the templates of other tests have ended")

    def file(self, name: str, version: str = "latest") -> Path:
        return self.driver.home / version / self.name / name

    def write(self, version: str, source: str = FILE) -> None:
        self.file("", version).mkdir(parents=True, exist_ok=True)
        self.file("helper.py", version).write_text(f"HELPER = 'helper 1 of {version}'\n")
        self.file("data.json", version).write_text('"data 1"')
        self.file("file.py", version).write_text(source.replace("{folder}", self.name))

    def change(self, name: str) -> None:
        file = self.file(name)
        file.write_text(file.read_text().replace(" 1", " 2"))

    def run(self, dag_id: str = "one", bundle: str = LOCAL, version: str | None = None, *, die: bool = False) -> Task:
        """Run a task to its end."""
        order = {"bundle": bundle, "version": version, "path": f"{self.name}/file.py", "dag_id": dag_id, "die": die}
        return Task(self.driver.ask(do="run", **order))

    def status(self) -> Any:
        return self.driver.ask(do="say")

    def template(self, **task: Any) -> int:
        """Run two tasks, and return the process id of the template that comes of it."""
        assert [self.run(**task).has_read_itself for _ in range(2)] == [True, True]
        (pid,) = self.status()["pids"]
        eventually(lambda: self.status()["ready"], what="the template has read its file")
        return pid


class Task:
    """What came of a task."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.read_in, *self.found = told["found"]
        self.pid = told["pid"]
        assert self.pid == told["forked"]
        self.parent = told["parent"]
        self.session = told["session"]
        self.exit_code = told["exit"]

    @property
    def has_read_itself(self) -> bool:
        return bool(self.read_in == self.pid)


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    driver = Driver(tmp_path_factory.mktemp("home"))
    yield driver
    driver.close()


@pytest.fixture
def folder(driver):
    return Folder(driver, keep=3600)


LATEST = ["file 1", "helper 1 of latest", "data 1"]


def test_each_task_has_a_process_of_its_own_and_one_reading_serves_them_all(folder):
    template = folder.template()
    tasks = [folder.run() for _ in range(8)]
    assert {each.read_in for each in tasks} == {template}
    assert tasks[0].pid == template
    assert len({each.pid for each in tasks}) == len(tasks)
    assert {each.parent for each in tasks} == {each.session for each in tasks} == {folder.driver.process.pid}
    assert [each.found for each in tasks] == [LATEST] * len(tasks)
    assert {each.exit_code for each in tasks} == {0}
    status = folder.status()
    assert status["children"] == status["pids"]


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("file.py", ["file 2", *LATEST[1:]]),
        ("helper.py", ["file 1", "helper 2 of latest", "data 1"]),
        ("data.json", [*LATEST[:2], "data 2"]),
    ],
)
def test_nothing_stale_is_served(folder, name, found):
    folder.template()
    assert folder.run().found == LATEST
    folder.change(name)
    task = folder.run()
    assert task.found == found
    assert task.has_read_itself
    # And what was read anew is used again.
    assert folder.run().found == found
    eventually(lambda: folder.status()["ready"], what="there is another template")
    task = folder.run()
    assert task.found == found
    assert folder.run().read_in == task.read_in


def test_a_file_that_changes_all_the_time_is_left_to_its_tasks(folder):
    for _ in range(CHANGES):
        folder.run(), folder.run()
        eventually(lambda: folder.status()["ready"], what="there is a template")
        folder.file("file.py").touch()
        assert folder.run().has_read_itself
    assert all(folder.run().has_read_itself for _ in range(4))
    assert folder.status()["pids"] == []


def test_each_version_of_a_bundle_is_read(folder):
    first = folder.template(bundle=OTHER, version="v1")
    assert folder.run(bundle=OTHER, version="v1").found[1] == "helper 1 of v1"
    second = folder.run(bundle=OTHER, version="v2")
    assert second.found[1] == "helper 1 of v2"
    assert second.has_read_itself
    eventually(lambda: not is_running(first), what="the template of the other version has ended")
    assert folder.template(bundle=OTHER, version="v2") != first
    assert folder.run(bundle=OTHER, version="v2").found[1] == "helper 1 of v2"


def test_a_bundle_that_may_be_renewed_when_a_task_begins_is_not_read_beforehand(folder):
    assert all(folder.run(bundle=OTHER).has_read_itself for _ in range(4))
    eventually(lambda: folder.status()["children"] == [], what="the template has ended")
    assert all(folder.run(bundle=OTHER).has_read_itself for _ in range(4))


@pytest.mark.parametrize(
    "line",
    [
        "import time; NOW = time.time()",
        "from airflow.sdk import Variable; VALUE = Variable.get('v', default='none')",
        "from airflow.sdk import BaseHook\ntry: BaseHook.get_connection('c')\nexcept Exception: pass",
        "try:\n    raise KeyboardInterrupt\nexcept BaseException: __import__('os').getpid()",
    ],
)
def test_a_file_that_asks_for_more_is_read_by_each_task(folder, line):
    folder.write("latest", f"{FILE}\n{line}\n")
    assert all(folder.run().has_read_itself for _ in range(2))
    eventually(lambda: folder.status()["children"] == [], what="the template has ended")
    assert all(folder.run().has_read_itself for _ in range(3))
    assert folder.status() == {"ready": False, "pids": [], "children": []}


def test_another_dag_of_the_same_file_is_another_matter(folder):
    template = folder.template()
    assert folder.run(dag_id="two").has_read_itself
    eventually(lambda: not is_running(template), what="the template of the other DAG has ended")


def test_what_was_read_is_not_used_for_long(driver):
    folder = Folder(driver, keep=0.001)
    for _ in range(CHANGES + 2):
        assert folder.run().has_read_itself
        assert folder.run().has_read_itself
        eventually(lambda: folder.status()["ready"], what="there is a template, if too old a one")


def test_it_can_be_switched_off(driver):
    folder = Folder(driver, keep=0)
    assert all(folder.run().has_read_itself for _ in range(5))
    assert folder.status() == {"ready": False, "pids": [], "children": []}


def test_a_task_that_is_killed_takes_nothing_along(folder):
    template = folder.template()
    assert folder.run(die=True).exit_code == -signal.SIGKILL
    assert folder.run().read_in == template


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_tasks_run_without_a_template_that_is_broken(folder, number):
    template = folder.template()
    os.kill(template, number)
    task = folder.run()
    assert task.has_read_itself
    assert task.found == LATEST
    eventually(lambda: not is_running(template), what="it is no more")
    assert folder.template() != template


UNABLE_TO_FORK = """
import os, socket, sys
from unittest import mock
from airflow_eks_dask.worker import dag_template_process

dag = mock.Mock()
dag.reading.is_older_than.return_value = False
with mock.patch.object(dag_template_process, "_ReadDag", return_value=dag), mock.patch("os.fork", side_effect=OSError):
    dag_template_process.main(socket.socket(fileno=int(sys.argv[1])), None, 3600)
"""


def test_a_template_that_can_not_fork_becomes_no_task():
    ours, theirs = socket.socketpair()
    dag_file = DagFile(LOCAL, None, "file.py", "one")
    with ours, theirs:
        command = [sys.executable, "-c", UNABLE_TO_FORK, str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        template = Template(dag_file, process.pid, ours)
        eventually(template.is_ready, what="it has read its file")
        assert template.become_task([ours.fileno()]) is None
        process.wait(PATIENCE)


def test_a_template_ends_with_its_workload_process(tmp_path):
    driver = Driver(tmp_path)
    folder = Folder(driver, keep=3600)
    folder.template()
    folder.run()
    (successor,) = folder.status()["pids"]
    driver.process.kill()
    eventually(lambda: not is_running(successor), what="it has ended")
    driver.close()


def test_a_template_has_nothing_open_that_is_a_tasks(folder):
    folder.template()
    folder.run()
    (successor,) = folder.status()["pids"]
    assert len(psutil.Process(successor).net_connections("unix")) == 1
