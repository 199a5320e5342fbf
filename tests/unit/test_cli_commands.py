"""``status``, ``workers`` and ``drain`` against a Dask scheduler whose handlers answer as a test wants."""

from __future__ import annotations

import json
import signal
import threading
from types import SimpleNamespace

import pytest
from airflow.cli.cli_parser import get_parser
from distributed import LocalCluster

from airflow_eks_dask.cli._show import age, size
from airflow_eks_dask.cli.drain import Draining, drain
from airflow_eks_dask.cli.status import idle_memory, status
from airflow_eks_dask.cli.workers import workers
from airflow_eks_dask.hooks import dask_scheduler
from airflow_eks_dask.hooks.dask_scheduler import Queue, queues_of

COMMANDS = {"status": status, "workers": workers, "drain": drain}
MIB = 1 << 20
RUNNING = {"key": "k1", "label": "etl.load[red] run r1 try 1", "queue": "default", "since": 1_000.0}


def worker(name="w-0", running=(), state="running", **more):
    return {
        "address": f"tcp://10.0.0.1:{name[-1]}",
        "name": name,
        "host": "10.0.0.1",
        "slots": 2,
        "free": 2 - len(running),
        "queues": ["default", "large"],
        "resources": {"GPU": 1.0},
        "state": state,
        "launcher_memory": 100 * MIB,
        "idle_memory_per_slot": 50 * MIB,
        "running": list(running),
        **more,
    }


def state(*found, queues=None, waiting=None):
    return {
        "workers": list(found),
        "waiting": [],
        "waiting_total": sum((waiting or {}).values()),
        "capacity": {
            "workers": len(found),
            "slots": sum(one["slots"] for one in found),
            "free": sum(one["free"] for one in found),
            "queues": queues or {},
            "waiting": waiting or {},
        },
        "outcomes": 7,
    }


ACCEPTED = {"address": "tcp://10.0.0.1:0", "state": "draining"}
BUSY = state(worker(running=[RUNNING], state="draining"), worker("w-1"))
IDLE = state(worker(state="draining"), worker("w-1"))
LEFT = state(worker("w-1"))


@pytest.fixture(scope="module")
def dask():
    with LocalCluster(
        n_workers=0, processes=False, protocol="tcp://", host="127.0.0.1", dashboard_address=None
    ) as cluster:
        yield cluster.scheduler


@pytest.fixture
def answers(dask):
    """Set what the scheduler answers: a value, or a list of values of which the last is repeated."""
    before = dict(dask.handlers)
    asked = []

    def answers(**handlers):
        for name, values in handlers.items():
            rest = list(values) if isinstance(values, list) else [values]

            def handler(rest=rest, name=name, **arguments):
                asked.append((name, arguments))
                answer = rest.pop(0) if len(rest) > 1 else rest[0]
                if callable(answer):
                    return answer()
                return answer

            dask.handlers[f"airflow_{name}"] = handler
        return asked

    yield answers
    dask.handlers.clear()
    dask.handlers.update(before)


@pytest.fixture
def run(dask, capsys):
    """Run a command and return its exit code, output and errors."""

    def run(command, *words, address=dask.address):
        code = 0
        try:
            COMMANDS[command](get_parser().parse_args(["eks-dask", command, "--address", address, *words]))
        except SystemExit as end:
            code = end.code
        output = capsys.readouterr()
        return SimpleNamespace(code=code, out=output.out, err=output.err)

    return run


class TestParsing:
    """What Airflow's parser makes of the words."""

    @pytest.mark.parametrize("command", ["status", "workers"])
    def test_defaults(self, command):
        args = get_parser().parse_args(["eks-dask", command])
        assert (args.address, args.output) == (None, "table")

    def test_drain(self):
        args = get_parser().parse_args(["eks-dask", "drain", "w-0"])
        assert (args.worker, args.cancel, args.wait, args.timeout) == ("w-0", False, False, None)
        args = get_parser().parse_args(["eks-dask", "drain", "w-0", "--wait", "--timeout", "1.5", "-o", "json"])
        assert (args.wait, args.timeout, args.output) == (True, 1.5, "json")

    @pytest.mark.parametrize(
        "words",
        [
            ["drain"],
            ["drain", "w", "--timeout", "nan"],
            ["drain", "w", "--timeout", "-1"],
            ["drain", "w", "--timeout", "soon"],
            ["status", "-o", "yaml"],
            ["workers", "w"],
        ],
    )
    def test_bad_usage(self, words):
        with pytest.raises(SystemExit) as end:
            get_parser().parse_args(["eks-dask", *words])
        assert end.value.code == 2

    @pytest.mark.parametrize("words", [["--cancel", "--wait"], ["--timeout", "3"]])
    def test_options_that_do_not_go_together(self, run, words):
        ended = run("drain", "w-0", *words)
        assert ended.code == 2
        assert "airflow eks-dask drain: --" in ended.err
        assert ended.out == ""

    @pytest.mark.parametrize("command", COMMANDS)
    def test_help(self, command, capsys):
        with pytest.raises(SystemExit) as end:
            get_parser().parse_args(["eks-dask", command, "--help"])
        assert end.value.code == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "Exit codes: 0 done, 1 failed" in shown
        assert "what section dask of the configuration says" in shown


class TestFailures:
    """What keeps any of the commands from doing its work."""

    @pytest.mark.parametrize("words", [["status"], ["workers"], ["drain", "w-0"]])
    def test_a_dask_scheduler_without_the_plugin(self, run, words):
        ended = run(*words, "-o", "json")
        assert (ended.code, ended.out) == (1, "")
        assert "runs no Airflow workloads: no DaskExecutor has connected to it" in ended.err

    def test_nobody_there(self, run, monkeypatch):
        monkeypatch.setenv("AIRFLOW__DASK__CONNECT_TIMEOUT", "0.5")
        ended = run("status", address="tcp://127.0.0.1:1")
        assert ended.code == 1
        assert "airflow eks-dask status: No connection to the Dask scheduler at tcp://127.0.0.1:1: " in ended.err
        assert "(from --address)" in ended.err

    def test_no_answer(self, run, answers, monkeypatch):
        async def silent():
            await done.wait()

        import asyncio

        done = asyncio.Event()
        monkeypatch.setattr(dask_scheduler, "CALL_TIMEOUT", 0.3)
        answers(status=silent)
        ended = run("status")
        assert ended.code == 1
        assert "has not answered within 0.3 s" in ended.err

    def test_an_address_that_is_refused(self, run):
        ended = run("workers", address="tcp://10.0.0.1:8786")
        assert ended.code == 1
        assert "whoever reaches it runs code as Airflow does" in ended.err


class TestStatus:
    """The cluster as a whole."""

    def test_table(self, run, answers, dask):
        answers(status=state(worker(running=[RUNNING]), worker("w-1", state="draining"), queues={"default": 3}))
        shown = run("status")
        assert shown.code == 0
        for words in (
            dask.address,
            "--address",
            "distributed 20",
            "2, 1 draining",
            "4, 3 free",
            "1 running, 0 waiting",
        ):
            assert words in shown.out
        assert "50.0 MiB" in shown.out

    def test_a_queue_that_nobody_serves(self, run, answers):
        answers(status=state(worker(), queues={"default": 0}, waiting={"gpu": 4, "default": 1}))
        shown = run("status").out
        (gpu,) = (line for line in shown.splitlines() if line.startswith("gpu"))
        assert "4" in gpu
        assert "NO: no worker in service has it" in gpu
        (default,) = (line for line in shown.splitlines() if line.startswith("default"))
        assert "yes" in default
        assert shown.index("gpu") < shown.index("default")

    def test_json(self, run, answers, dask):
        answers(status=state(worker(running=[RUNNING]), queues={"default": 1}, waiting={"gpu": 4}))
        shown = run("status", "-o", "json")
        result = json.loads(shown.out)
        assert shown.err == ""
        assert result["address"] == dask.address
        assert (result["workers"], result["slots"], result["free"], result["running"]) == (1, 2, 1, 1)
        assert result["waiting"] == 4
        assert result["queues"] == [
            {"name": "gpu", "free": 0, "waiting": 4, "served": False},
            {"name": "default", "free": 1, "waiting": 0, "served": True},
        ]
        assert result["idle_memory_per_slot"] == 50 * MIB
        assert result["version_differences"] == []

    def test_nothing_has_joined(self, run, answers):
        answers(status=state())
        shown = run("status")
        assert shown.code == 0
        assert "0, 0 free" in shown.out

    def test_queues(self):
        capacity = {"queues": {"b": 0, "a": 1}, "waiting": {"a": 2, "z": 3}}
        assert queues_of(capacity) == [
            Queue("z", 0, 3, False),
            Queue("a", 1, 2, True),
            Queue("b", 0, 0, True),
        ]

    def test_idle_memory_is_an_average_over_slots(self):
        large = worker(slots=3, idle_memory_per_slot=10)
        small = worker(slots=1, idle_memory_per_slot=50)
        starting = worker(slots=0, idle_memory_per_slot=None)
        assert idle_memory([large, small, starting]) == 20
        assert idle_memory([starting]) is None


class TestWorkers:
    """One row for each."""

    def test_table(self, run, answers):
        other = {**RUNNING, "key": "k2", "label": ""}
        answers(status=state(worker("w-1", running=[RUNNING, other]), worker("w-0", state="starting", slots=2)))
        shown = run("workers")
        assert shown.code == 0
        rows = [[cell.strip() for cell in line.split("|")] for line in shown.out.splitlines() if "|" in line]
        assert rows[0][:3] == ["worker", "state", "free slots"]
        assert rows[1] == ["w-0", "starting", "2 of 2", "default, large", "-"]
        assert rows[2][0] == "tcp://10.0.0.1:0"
        # Brackets are no markup, and what has no name is known by its key.
        assert rows[3][:4] == ["w-1", "running", "0 of 2", "default, large"]
        assert rows[3][4].startswith("etl.load[red] run r1 try 1, default, ")
        assert rows[4][3] == "GPU=1"
        assert rows[4][4].startswith("k2, default, ")

    def test_json(self, run, answers):
        answers(status=state(worker(running=[RUNNING])))
        result = json.loads(run("workers", "--output", "json").out)
        assert result["workers"] == [worker(running=[RUNNING])]

    def test_none(self, run, answers):
        answers(status=state())
        assert "No worker has joined" in run("workers").out
        assert json.loads(run("workers", "-o", "json").out)["workers"] == []


class TestDrain:
    """Taking a worker out of service."""

    def test_says_what_it_waits_for(self, run, answers):
        asked = answers(drain=ACCEPTED, status=BUSY)
        ended = run("drain", "w-0")
        assert ended.code == 0
        assert ended.out == "w-0 leaves when these have ended: etl.load[red] run r1 try 1\n"
        assert ("drain", {"worker": "w-0", "cancel": False}) in asked

    def test_cancel(self, run, answers):
        asked = answers(drain={**ACCEPTED, "state": "running"}, status=state(worker()))
        ended = run("drain", "w-0", "--cancel")
        assert (ended.code, ended.out) == (0, "w-0 takes workloads again\n")
        assert ("drain", {"worker": "w-0", "cancel": True}) in asked

    def test_unknown_worker(self, run, answers):
        answers(drain={"error": "there is no worker w-9; there are: w-0"}, status=LEFT)
        ended = run("drain", "w-9")
        assert (ended.code, ended.out) == (1, "")
        assert ended.err == "airflow eks-dask drain: there is no worker w-9; there are: w-0\n"

    def test_wait(self, run, answers):
        answers(drain=ACCEPTED, status=[BUSY, BUSY, IDLE, LEFT])
        ended = run("drain", "w-0", "--wait")
        assert ended.code == 0
        assert ended.out.splitlines() == [
            "w-0 leaves when these have ended: etl.load[red] run r1 try 1",
            "w-0 runs nothing any more, and leaves",
            "w-0 has left",
        ]

    def test_a_successor_of_the_same_name_is_another_worker(self, run, answers):
        successor = state(worker("w-0", address="tcp://10.0.0.9:9"))
        answers(drain=ACCEPTED, status=[BUSY, successor])
        assert run("drain", "w-0", "--wait").out.endswith("w-0 has left\n")

    def test_wait_in_json(self, run, answers):
        answers(drain=ACCEPTED, status=[BUSY, LEFT])
        ended = run("drain", "w-0", "--wait", "-o", "json")
        assert json.loads(ended.out) == {
            "worker": "tcp://10.0.0.1:0",
            "name": "w-0",
            "state": "left",
            "running": [],
        }
        assert "leaves when these have ended" in ended.err

    def test_not_in_time(self, run, answers):
        answers(drain=ACCEPTED, status=BUSY)
        ended = run("drain", "w-0", "--wait", "--timeout", "0")
        assert ended.code == 1
        assert "not within 0 s, and it goes on: w-0 leaves when these have ended" in ended.err

    def test_somebody_takes_it_back_meanwhile(self, run, answers):
        answers(drain=ACCEPTED, status=[BUSY, state(worker(running=[RUNNING]))])
        ended = run("drain", "w-0", "--wait")
        assert ended.code == 1
        assert "w-0 no longer drains" in ended.err

    def test_ctrl_c_says_how_to_take_it_back(self, run, answers):
        def interrupted():
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
            return BUSY

        answers(drain=ACCEPTED, status=[BUSY, interrupted])
        ended = run("drain", "w-0", "--wait")
        assert ended.code == 130
        assert "airflow eks-dask drain w-0 --cancel" in ended.err

    def test_many_are_not_all_named(self):
        names = tuple(f"t{number}" for number in range(8))
        assert str(Draining("a", "w", "draining", names)).endswith("t0, t1, t2, t3, t4, and 3 more")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 s"), (0.9, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (3_600, "1 h 0 min"), (90_061, "1 d 1 h")],
)
def test_age(seconds, words):
    assert age(seconds) == words


@pytest.mark.parametrize(
    ("number", "words"),
    [(None, "-"), (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1.5 * MIB, "1.5 MiB"), (1 << 50, "1024.0 TiB")],
)
def test_size(number, words):
    assert size(number) == words
