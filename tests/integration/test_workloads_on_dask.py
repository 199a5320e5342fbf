"""Workloads on a real Dask cluster, without Airflow: the path from the executor's link to a process and back."""

from __future__ import annotations

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from airflow_eks_dask.executors.cluster_link import Answered, ClusterLink, Connected, Disconnected
from airflow_eks_dask.executors.in_flight import Ask
from airflow_eks_dask.executors.settings import DaskSettings
from airflow_eks_dask.provider_info import OPTIONS
from airflow_eks_dask.worker.protocol import Capacity, Outcome, Submission, WorkerOptions
from tests.conftest import eventually, is_running
from tests.integration.cluster import DaskCluster

if TYPE_CHECKING:
    from airflow_eks_dask.executors.embedded import EmbeddedCluster
    from airflow_eks_dask.local.processes import Child

pytestmark = pytest.mark.any_airflow
ROOT = Path(__file__).parents[2]


class Options:
    """The ``[dask]`` section with its defaults and some changes."""

    def __init__(self, **changes: str) -> None:
        self.values = {name: option["default"] for name, option in OPTIONS.items()} | changes

    def get(self, section: str, option: str) -> str | None:
        return self.values.get(option)


class Executor:
    """What is left of an executor: a link, and the events it has brought."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.directory = directory
        self.settings = DaskSettings.from_configuration(Options(**settings))
        self.link = ClusterLink(self.settings.endpoint, self.settings)
        self.seen: list[Any] = []
        self.link.start()

    def name(self, key: str) -> str:
        """Return the key as the cluster knows it, which other tests use too and which runs a key once, ever."""
        return f"{self.directory}:{key}"

    def order(self, key: str, do: str, *, submission: dict[str, Any] | None = None, **order: Any) -> Submission:
        order = {"do": do, "ledger": str(self.directory / key), "until": str(self.directory / f"{key}.go"), **order}
        return Submission(self.name(key), json.dumps(order).encode(), **(submission or {}))

    def run(self, key: str, do: str, **order: Any) -> None:
        self.link.submit([self.order(key, do, **order)])

    def let_go(self, key: str) -> None:
        (self.directory / f"{key}.go").touch()

    def ledger(self, key: str, what: str) -> dict[str, Any] | None:
        file = self.directory / key
        lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        found = [line for line in lines if line["what"] == what]
        assert len(found) <= 1, f"{key}: {what} twice"
        return found[0] if found else None

    def events(self, kind: type) -> list[Any]:
        self.seen += self.link.events()
        return [event for event in self.seen if isinstance(event, kind)]

    def wait_for_end(self, key: str) -> Outcome:
        return self.wait_for(Outcome, key=self.name(key))

    def wait_for(self, kind: type, **attributes: Any) -> Any:
        def look() -> Any:
            matching = [e for e in self.events(kind) if all(getattr(e, k) == v for k, v in attributes.items())]
            return matching[-1] if matching else None

        return eventually(look, what=f"{kind.__name__} {attributes}")

    def wait_until_running(self, key: str) -> tuple[int, int]:
        """Return the process ids of a sleeping workload and of its child."""
        child = eventually(lambda: self.ledger(key, "child"), what=f"{key} runs")
        return child["pid"], child["value"]

    def sleep(self, key: str, queue: str, **submission: Any) -> tuple[int, int]:
        """Have a workload sleep in a queue until it is let go; return its process ids."""
        self.link.submit([self.order(key, "sleep", submission={"queue": queue, **submission})])
        return self.wait_until_running(key)

    def capacity(self, **expected: Any) -> None:
        eventually(
            lambda: (now := self.events(Capacity)) and all(getattr(now[-1], k) == v for k, v in expected.items()),
            what=f"capacity {expected}; last: {self.events(Capacity)[-1:]}",
        )


@pytest.fixture(autouse=True)
def stub(monkeypatch):
    """Have the workers run ``stub_workload`` where Airflow's supervisor would be."""
    options = partial(WorkerOptions, workload_module="tests.integration.stub_workload")
    monkeypatch.setattr("airflow_eks_dask.executors.settings.WorkerOptions", options)
    # For the embedded cluster, which inherits it.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def new_cluster(directory: Path) -> DaskCluster:
    cluster = DaskCluster(directory, {"PYTHONPATH": str(ROOT)})
    cluster.start_scheduler()
    return cluster


@pytest.fixture
def dask(tmp_path):
    """A cluster of its own, for tests that break it; no workers yet."""
    cluster = new_cluster(tmp_path)
    yield cluster
    cluster.stop(grace=1)


@pytest.fixture(scope="module")
def shared_dask(tmp_path_factory):
    """A cluster with one worker of two slots, for tests that leave it as it was."""
    cluster = new_cluster(tmp_path_factory.mktemp("shared-dask"))
    cluster.start_worker("--nthreads", "1")
    yield cluster
    cluster.stop()


@pytest.fixture
def worker(shared_dask, tmp_path):
    """Start further workers in the shared cluster, each for a queue of its own."""
    started: list[Child] = []

    def start_worker(queue: str, *options: str) -> Child:
        started.append(shared_dask.start_worker("--nthreads", "1", *options, AIRFLOW__DASK__QUEUES=queue))
        return started[-1]

    yield start_worker
    for child in started:
        shared_dask.processes.stop(child, grace=2)
    names = [child.name for child in started]
    eventually(
        lambda: not [w for w in shared_dask.call("airflow_status")["workers"] if w["name"] in names],
        what="the further workers are gone",
    )


@pytest.fixture
def start(tmp_path):
    """Start executors, and end them afterwards."""
    started: list[Executor] = []

    def start(**settings: str) -> Executor:
        started.append(Executor(tmp_path, **settings))
        return started[-1]

    yield start
    for executor in started:
        executor.link.stop()


@pytest.fixture
def executor(shared_dask, start):
    """An executor of the shared cluster."""
    executor = start(cluster_address=shared_dask.address)
    executor.capacity(slots=2, free=2, queues={"default": 2})
    yield executor
    # What a test that failed has left there must not fail the others.
    executor.link.revoke([key["key"] for key in shared_dask.call("airflow_status")["waiting"]])
    for each in shared_dask.call("airflow_status")["workers"]:
        executor.link.revoke([running["key"] for running in each["running"]])


@pytest.fixture
def breakable(dask, start):
    """An executor of a cluster that the test may break."""
    dask.start_worker("--nthreads", "1", "--no-nanny")
    executor = start(cluster_address=dask.address)
    executor.capacity(slots=2, free=2)
    return executor


def gone(*pids: int) -> bool:
    return not any(is_running(pid) for pid in pids)


def launcher_of(workload: int) -> psutil.Process:
    return psutil.Process(workload).parent()


@pytest.mark.parametrize("options", [(), ("--no-nanny",)], ids=["nanny", "no nanny"])
def test_runs_and_reports(dask, start, options):
    dask.start_worker("--nthreads", "1", *options)
    executor = start(cluster_address=dask.address)
    executor.capacity(slots=2)
    executor.run("fine", "nothing")
    executor.run("broken", "raise", words="the disk is full")
    assert executor.wait_for_end("fine").success
    assert executor.wait_for_end("broken").reason == "ValueError: the disk is full"
    executor.capacity(free=2)


def test_a_workload_has_a_process_and_session_of_its_own_and_shows_nothing(executor):
    executor.run("k", "sleep", secret="eyJ-a-token")
    pid, child = executor.wait_until_running("k")
    assert os.getsid(pid) == pid == os.getsid(child)
    launcher = launcher_of(pid)
    worker = launcher.parent()
    for process in (psutil.Process(pid), psutil.Process(child), launcher, worker):
        assert "eyJ-a-token" not in str(process.cmdline()) + str(process.environ())
    assert launcher.num_threads() == 1
    executor.let_go("k")
    assert executor.wait_for_end("k").success
    eventually(lambda: gone(child), what="what it has left running is gone")


def test_a_waiting_workload_starts_when_a_slot_is_free_by_priority(executor):
    for key in "ab":
        executor.run(key, "sleep")
    executor.capacity(free=0)
    executor.link.submit(
        [
            executor.order("low", "nothing", submission={"priority": 1}),
            executor.order("high", "sleep", submission={"priority": 2}),
        ]
    )
    executor.let_go("a")
    executor.wait_until_running("high")
    assert executor.ledger("low", "started") is None
    for key in ("b", "high"):
        executor.let_go(key)
    assert executor.wait_for_end("low").success


def test_computations_of_workloads_that_take_every_slot_finish(executor):
    executor.link.submit([executor.order(key, "compute") for key in ("a", "b")])
    for key in ("a", "b"):
        assert executor.wait_for_end(key).success
        assert executor.ledger(key, "result")["value"] == 6


def test_workloads_forked_from_one_launcher_draw_different_random_numbers(dask, start):
    dask.start_worker("--nthreads", "1")
    executor = start(cluster_address=dask.address, preload_modules="numpy.random")
    executor.capacity(slots=2)
    for key in "ab":
        executor.run(key, "random")
        assert executor.wait_for_end(key).success
    assert executor.ledger("a", "number")["value"] != executor.ledger("b", "number")["value"]


def test_a_workload_killed_says_so(executor):
    executor.run("k", "signal", signal="SIGKILL")
    assert "SIGKILL" in executor.wait_for_end("k").reason


@pytest.mark.parametrize("stubborn", [False, True])
def test_revoking_ends_the_whole_group_and_frees_the_slot(executor, stubborn):
    executor.run("k", "sleep", stubborn=stubborn)
    pids = executor.wait_until_running("k")
    executor.link.revoke([executor.name("k")])
    assert executor.wait_for_end("k").reason == "ended at Airflow's request"
    eventually(lambda: gone(*pids), what="its processes are gone")
    executor.capacity(free=2)


def test_a_lost_worker_takes_its_workloads_along(breakable):
    breakable.run("k", "sleep")
    pids = breakable.wait_until_running("k")
    launcher = launcher_of(pids[0])
    launcher.parent().kill()
    assert "lost while running it" in breakable.wait_for_end("k").reason
    eventually(lambda: gone(*pids, launcher.pid), what="its processes are gone")


def test_a_lost_worker_is_replaced_and_what_waited_runs_there(breakable, dask):
    for key in "ab":
        breakable.run(key, "sleep")
    worker = launcher_of(breakable.wait_until_running("a")[0]).parent()
    breakable.run("waiting", "nothing")
    worker.kill()
    dask.start_worker("--nthreads", "1")
    assert breakable.wait_for_end("waiting").success


def test_a_lost_launcher_takes_its_workloads_along_and_is_replaced(breakable):
    breakable.run("k", "sleep")
    pids = breakable.wait_until_running("k")
    launcher_of(pids[0]).kill()
    assert "launcher" in breakable.wait_for_end("k").reason
    eventually(lambda: gone(*pids), what="its processes are gone")
    breakable.run("next", "nothing")
    assert breakable.wait_for_end("next").success


CONTAINER = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
"""What matters of a container: the worker is process 1, which nothing above it reaps or signals by default."""


@pytest.mark.skipif(os.geteuid() != 0, reason="making a PID namespace takes root")
@pytest.mark.parametrize("options", [(), ("--no-nanny",)], ids=["nanny", "no nanny"])
def test_a_worker_in_a_container_runs_workloads_and_drains(dask, start, options):
    container = dask.start_worker("--nthreads", "1", *options, within=CONTAINER)
    executor = start(cluster_address=dask.address)
    executor.capacity(slots=2)
    executor.run("killed", "signal", signal="SIGKILL")
    assert "SIGKILL" in executor.wait_for_end("killed").reason
    executor.run("k", "sleep")
    assert eventually(lambda: executor.ledger("k", "child"))
    worker, *below = psutil.Process(container.popen.pid).children(recursive=True)
    assert psutil.STATUS_ZOMBIE not in {process.status() for process in below}
    worker.send_signal(signal.SIGTERM)
    eventually(lambda: {each["state"] for each in dask.call("airflow_status")["workers"]} == {"draining"})
    executor.let_go("k")
    assert executor.wait_for_end("k").success
    assert container.popen.wait(60) is not None
    assert gone(*(process.pid for process in below))


def test_a_signal_to_a_worker_that_closes_with_its_scheduler(dask, breakable):
    """As in an uninstall, which tells both to stop at the same time."""
    (child,) = dask.workers
    dask.scheduler.popen.send_signal(signal.SIGTERM)
    eventually(lambda: "Removing Worker plugin airflow-eks-dask" in child.log_file.read_text(), what="it closes")
    child.popen.send_signal(signal.SIGTERM)
    # By the signal, if it comes when Dask has nothing left to do and no handler any more.
    assert child.popen.wait(60) in (0, -signal.SIGTERM), child.log_file.read_text()


def test_a_worker_takes_as_many_as_it_was_told_at_its_start(dask, start):
    dask.start_worker("--nthreads", "1", "--resources", "airflow=5")
    start(cluster_address=dask.address).capacity(slots=5, free=5)


def test_a_second_executor_disturbs_nothing_and_both_hear_of_every_end(executor, shared_dask, start):
    executor.run("k", "sleep")
    executor.wait_until_running("k")
    other = start(cluster_address=shared_dask.address)
    other.capacity(slots=2, free=1)
    other.link.ask(Ask((executor.name("k"), "unheard of")))
    answer = other.wait_for(Answered)
    assert (answer.present, answer.ended) == ((executor.name("k"),), ())
    executor.let_go("k")
    assert executor.wait_for_end("k").success
    assert other.wait_for_end("k").success


def test_what_ends_while_the_executor_is_away_is_found_out(executor, shared_dask, start):
    executor.run("k", "sleep")
    executor.wait_until_running("k")
    executor.link.stop()
    executor.let_go("k")
    eventually(lambda: executor.ledger("k", "ended"))
    successor = start(cluster_address=shared_dask.address)
    successor.wait_for(Connected)

    def ended() -> bool:
        successor.link.ask(Ask((executor.name("k"),)))
        return any(answer.ended and answer.ended[0].success for answer in successor.events(Answered))

    eventually(ended)


def test_no_cluster_at_first(dask, start, tmp_path, caplog):
    dask.stop()
    executor = start(cluster_address=dask.address, connect_timeout="1")
    eventually(lambda: f"No Dask cluster at {dask.address}" in caplog.text, what="it says what is missing")
    executor.run("too early", "nothing")
    dask.start_scheduler()
    dask.start_worker("--nthreads", "1")
    executor.capacity(slots=2)
    executor.run("k", "nothing")
    assert executor.wait_for_end("k").success
    assert executor.ledger("too early", "started") is None, "the ledger sends it again, not the link"


def test_the_dask_scheduler_comes_back(breakable, dask):
    breakable.run("k", "sleep")
    pids = breakable.wait_until_running("k")
    os.kill(dask.scheduler.popen.pid, signal.SIGKILL)
    breakable.wait_for(Disconnected)
    dask.scheduler.popen.wait(10)
    dask.start_scheduler()
    eventually(lambda: len(breakable.events(Connected)) == 2, what="it connects again")
    eventually(lambda: gone(*pids), what="workers of a lost scheduler end, and with them their workloads")
    breakable.link.ask(Ask((breakable.name("k"),)))
    assert breakable.wait_for(Answered) == Answered(Ask((breakable.name("k"),)), (), ())
    dask.start_worker("--nthreads", "1")
    breakable.run("next", "nothing")
    assert breakable.wait_for_end("next").success


class TestQueues:
    """Workers that serve queues of their own and have resources."""

    def test_queues_and_resources_are_kept_apart(self, executor, shared_dask, worker):
        worker("gpu,render", "--resources", "airflow=3 GPU=1")
        executor.capacity(slots=5, free=5, queues={"default": 2, "gpu": 3, "render": 3})
        executor.sleep("first", "gpu", resources={"GPU": 1}, label="train")
        executor.run("second", "nothing", submission={"queue": "gpu", "resources": {"GPU": 1}})
        executor.run("nobody", "nothing", submission={"queue": "nobody", "priority": 9, "label": "orphan"})
        executor.sleep("plain", "render")
        executor.run("default", "nothing")
        assert executor.wait_for_end("default").success
        executor.capacity(free=3, queues={"default": 2, "gpu": 1, "render": 1}, waiting={"gpu": 1, "nobody": 1})
        status = shared_dask.call("airflow_status")
        assert [(w["label"], w["queue"], w["priority"]) for w in status["waiting"]] == [
            ("", "gpu", 0),
            ("orphan", "nobody", 9),
        ]
        (gpu,) = (w for w in status["workers"] if "gpu" in w["queues"])
        assert gpu["resources"] == {"GPU": 1}
        assert gpu["running"][0].items() >= {"label": "train", "key": executor.name("first")}.items()
        executor.let_go("first")
        assert executor.wait_for_end("second").success
        executor.let_go("plain")
        executor.wait_for_end("plain")
        executor.link.revoke([executor.name("nobody")])
        executor.capacity(waiting={})

    def test_status_is_plain_data_without_secrets(self, executor, shared_dask):
        executor.run("k", "sleep", secret="eyJ-a-token", submission={"label": "dag.task run"})
        executor.wait_until_running("k")
        status = shared_dask.call("airflow_status")
        assert "eyJ-a-token" not in json.dumps(status)
        (only,) = status["workers"]
        assert (only["slots"], only["free"], only["state"]) == (2, 1, "running")
        assert only["host"] == "127.0.0.1"
        assert 0 < only["idle_memory_per_slot"] == only["launcher_memory"] // 2
        assert status["capacity"]["free"] == 1
        assert time.time() - 60 < only["running"][0]["since"] <= time.time()
        executor.let_go("k")
        executor.wait_for_end("k")


class TestLogs:
    """Reading the logs of workloads where they ran."""

    @pytest.fixture
    def logs(self, shared_dask):
        folder = shared_dask.directory / "logs"
        folder.mkdir(exist_ok=True)
        return folder

    def test_the_log_of_a_running_and_of_an_ended_workload(self, executor, shared_dask, logs):
        (logs / "dag").mkdir()
        executor.sleep("k", "default", log_path="dag/attempt=1.log")
        missing = shared_dask.call("airflow_log", key=executor.name("k"))
        assert "No such file" in missing["error"]
        (logs / "dag" / "attempt=1.log").write_bytes(b"0123456789")
        part = shared_dask.call("airflow_log", key=executor.name("k"), offset=4, limit=3)
        (worker,) = shared_dask.call("airflow_status")["workers"]
        where = {"worker": worker["address"], "log_path": "dag/attempt=1.log"}
        assert part == {"data": b"456", "size": 10, "offset": 4, **where}
        executor.let_go("k")
        executor.wait_for_end("k")
        assert shared_dask.call("airflow_log", key=executor.name("k"))["data"] == b"0123456789"
        assert "no workload" in shared_dask.call("airflow_log", key="unheard of")["error"]

    def test_a_path_that_leaves_the_folder_is_refused(self, executor, shared_dask, logs, tmp_path):
        secret = tmp_path / "secret"
        secret.write_text("secret")
        (logs / "link").symlink_to(secret)
        (logs / "folder").symlink_to(tmp_path)
        for number, path in enumerate((str(secret), "../secret", "link", "folder/secret", "a/../../secret", "")):
            executor.run(str(number), "nothing", submission={"log_path": path})
            executor.wait_for_end(str(number))
            answer = shared_dask.call("airflow_log", key=executor.name(str(number)))
            assert answer.keys() == {"error"}, path


NANNY = pytest.mark.parametrize("options", [(), ("--no-nanny",)], ids=["nanny", "no nanny"])


class TestDrain:
    """Workers that leave without harm to what they run."""

    def test_by_command(self, executor, shared_dask, worker):
        child = worker("drain")
        executor.capacity(queues={"default": 2, "drain": 2})
        pids = executor.sleep("k", "drain")
        unknown = shared_dask.call("airflow_drain", worker="no such worker")
        assert child.name in unknown["error"]
        assert shared_dask.call("airflow_drain", worker=child.name)["state"] == "draining"
        executor.run("waits", "nothing", submission={"queue": "drain"})
        executor.capacity(slots=2, queues={"default": 2}, waiting={"drain": 1})
        assert shared_dask.call("airflow_drain", worker=child.name, cancel=True)["state"] == "running"
        assert executor.wait_for_end("waits").success
        address = shared_dask.call("airflow_drain", worker=child.name)["address"]
        assert address.startswith("tcp://")
        assert not gone(*pids)
        executor.let_go("k")
        assert executor.wait_for_end("k").success
        eventually(lambda: not child.running, what="worker and nanny have ended")
        assert "error" in shared_dask.call("airflow_drain", worker=child.name, cancel=True)

    @NANNY
    def test_by_signal(self, executor, worker, options):
        child = worker("drain", *options)
        executor.capacity(queues={"default": 2, "drain": 2})
        executor.sleep("k", "drain")
        child.popen.send_signal(signal.SIGTERM)
        executor.capacity(slots=2, queues={"default": 2})
        executor.run("waits", "nothing", submission={"queue": "drain"})
        executor.capacity(waiting={"drain": 1})
        executor.let_go("k")
        assert executor.wait_for_end("k").success
        assert child.popen.wait(30) == 0, child.log_file.read_text()
        executor.link.revoke([executor.name("waits")])
        executor.capacity(waiting={})

    @NANNY
    def test_a_second_signal_ends_what_runs(self, executor, worker, options):
        """As Ctrl-C in a terminal: nanny and worker get it both."""
        child = worker("drain", *options)
        executor.capacity(queues={"default": 2, "drain": 2})
        pids = executor.sleep("k", "drain")
        os.killpg(child.popen.pid, signal.SIGINT)
        executor.capacity(slots=2, queues={"default": 2})
        os.killpg(child.popen.pid, signal.SIGINT)
        reason = executor.wait_for_end("k").reason
        assert reason == f"its worker {child.name} was told to stop, and told again before it had ended"
        assert child.popen.wait(30) == 0, child.log_file.read_text()
        assert gone(*pids)

    def test_retiring_a_busy_worker_waits_for_it(self, executor, shared_dask, worker):
        child = worker("drain")
        executor.capacity(queues={"default": 2, "drain": 2})
        executor.sleep("k", "drain")
        with ThreadPoolExecutor(1) as pool:
            retiring = pool.submit(shared_dask.call, "retire_workers", names=[child.name], close_workers=True)
            executor.capacity(slots=2, queues={"default": 2})
            assert not retiring.done()
            executor.let_go("k")
            assert executor.wait_for_end("k").success
            assert [worker["name"] for worker in retiring.result(30).values()] == [child.name]
        eventually(lambda: not child.running, what="worker and nanny have ended")


class TestEmbedded:
    """The cluster that the executor starts itself."""

    def test_runs_and_leaves_nothing(self, start):
        executor = start(slots_per_worker="3", embedded_workers="2")
        executor.capacity(workers=2, slots=6)
        executor.run("k", "sleep")
        pids = executor.wait_until_running("k")
        host = psutil.Process(executor.link._embedded._process.pid)
        family = [host, *host.children(recursive=True)]
        assert psutil.Process(pids[0]) in family
        for process in family:
            for connection in process.net_connections("inet"):
                assert connection.laddr.ip in ("127.0.0.1", "::1"), f"{process} listens on {connection.laddr}"
        executor.link.stop()
        eventually(lambda: gone(*(p.pid for p in family)), what="everything has ended")

    def test_comes_back_after_its_process_was_killed(self, start):
        executor = start()
        executor.capacity(workers=1)
        executor.run("k", "sleep")
        pids = executor.wait_until_running("k")
        embedded: EmbeddedCluster = executor.link._embedded
        embedded._process.send_signal(signal.SIGKILL)
        executor.wait_for(Disconnected)
        eventually(lambda: gone(*pids), what="its workloads are gone")
        executor.run("next", "nothing")
        eventually(lambda: len(executor.events(Connected)) == 2, what="a new one is there")
        executor.run("next", "nothing")
        assert executor.wait_for_end("next").success
