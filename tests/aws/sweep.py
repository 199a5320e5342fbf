"""
Let each AWS call of bootstrap and teardown fail, in each way; run again; the account is as if nothing had happened.

Each task is tried from the account that the tasks before it left, and has to leave the same account as undisturbed: so
the rest goes on as undisturbed, and need not be run each time. ``python -m tests.aws.sweep`` tries all points.
"""

from __future__ import annotations

import argparse
import itertools
import logging
import os
import random
import signal
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import Pool
from typing import TYPE_CHECKING, Any
from unittest import mock

import structlog

from airflow_eks_dask.hooks.aws import AwsClients
from tests.aws import account, dags, whole
from tests.aws.simulation import Simulation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.sdk import DAG

ATTEMPTS = 6
"""How often a client makes a call before it gives up."""
KINDS = {"throttle": ATTEMPTS, "timeout": ATTEMPTS, "error": ATTEMPTS, "denied": 1, "dropped": 1, "killed": 1}
"""How a call fails, and how many times in a row."""
DAGS: dict[str, Callable[..., DAG]] = {"bootstrap": dags.bootstrap, "teardown": dags.teardown}
PARAMETERS = {"deferrable": False, "poll_interval": 0.001, "patience": 0, "timeout": 60}


class KilledError(BaseException):
    """The process is gone: nothing catches it."""


class MortalClients(AwsClients):
    """
    Clients of a process that dies right after a call.

    ``calls``: how many were made. ``dies_after``: the number of the last one; 0: it lives.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.dies_after = 0
        self._watched: set[tuple[str, str | None]] = set()

    def client(self, service: str, region_name: str | None = None) -> Any:
        """Return a client that counts, and dies."""
        client = super().client(service, region_name)
        if (service, region_name) not in self._watched:
            self._watched.add((service, region_name))
            client.meta.events.register_first("before-call", self._before)
            client.meta.events.register_last("after-call", self._after)
        return client

    def _before(self, **_: Any) -> None:
        if self.dies_after and self.calls >= self.dies_after:
            raise KilledError
        self.calls += 1

    def _after(self, **_: Any) -> None:
        if self.calls == self.dies_after:
            raise KilledError


@dataclass(frozen=True)
class Point:
    """One call of one task, and how it fails."""

    dag: str
    task: str
    nth: int
    kind: str

    def __str__(self) -> str:
        return f"{self.dag}, task {self.task}, call {self.nth}: {self.kind}"


class Stage:
    """One simulated account on which tasks run again and again from the same beginning."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.aws = MortalClients()

    def tasks(self, dag_name: str) -> Iterator[tuple[str, Callable[[], Any], int]]:
        """
        Run a DAG task by task, undisturbed, and stop before each.

        :return: A task's name, how to run it alone, and how many calls it makes.
        """
        done: dict[str, Any] = {}
        for name in [task.task_id for task in whole.in_order(DAGS[dag_name](**PARAMETERS))]:

            def run(name: str = name) -> Any:
                dag = DAGS[dag_name](**PARAMETERS)
                return whole.Run(dag, self.aws, dict(done)).execute(dag.get_task(name))

            self._simulation.save()
            self.aws.calls = self.aws.dies_after = 0
            result = run()
            calls = self.aws.calls
            yield name, run, calls
            done[name] = result

    def undisturbed(self, run: Callable[[], None]) -> tuple[list[str], dict[str, list[str]]]:
        """Return the changes that a task makes, and the account after it."""
        self._simulation.restore()
        self._simulation.forget_calls()
        run()
        return self._changes(), account.contents(self._simulation)

    def _changes(self) -> list[str]:
        return [
            f"{call} {call.digest}"
            for call in self._simulation.calls()
            if call.is_write and call.status in range(200, 300)
        ]

    def try_point(
        self, run: Callable[[], None], point: Point, expected: tuple[list[str], dict[str, list[str]]]
    ) -> list[str]:
        """Let a task fail, run it again, and return what is other than it should be."""
        self._simulation.restore()
        self._simulation.forget_calls()
        self.aws.calls, self.aws.dies_after = 0, point.nth if point.kind == "killed" else 0
        if point.kind != "killed":
            self._simulation.fail(point.kind, nth=point.nth, times=KINDS[point.kind])
        try:
            run()
        except KilledError:
            pass
        except Exception as error:  # noqa: BLE001  Any error will do, if the next run makes up for it.
            logging.getLogger(__name__).info("%s: %s", point, error)
        self._simulation.heal()
        self.aws.dies_after = 0
        try:
            run()
        except Exception as error:  # noqa: BLE001  It is what this is to find.
            return [f"the second run failed: {error!r}"]
        changes, contents = expected
        # The same changes give the same account: no need to look.
        if self._changes() == changes:
            return []
        return account.differences(contents, account.contents(self._simulation))


def points(dag: str, task: str, calls: int) -> list[Point]:
    """Return all points of a task."""
    return [Point(dag, task, nth, kind) for nth in range(1, calls + 1) for kind in KINDS]


def silence() -> None:
    """Keep quiet what operators say: there would be a book of it."""
    logging.disable(logging.CRITICAL)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def quick() -> ExitStack:
    """Return a context in which nothing waits: neither clients before they try again, nor operators."""
    sleep = time.sleep
    stack = ExitStack()
    stack.enter_context(mock.patch("time.sleep", lambda seconds: sleep(min(seconds, 0.001))))
    return stack


def sweep(simulation: Simulation, choose: Callable[[list[Point]], list[Point]]) -> tuple[int, list[str]]:
    """
    Try points of all tasks, one task after the other, on an empty account.

    :param choose: Says which of the points of a task to try.
    :return: How many points were tried, and what was wrong.
    """
    tried, wrong = 0, []
    stage = Stage(simulation)
    for dag in DAGS:
        for task, run, calls in stage.tasks(dag):
            chosen = choose(points(dag, task, calls))
            if not chosen:
                continue
            simulation.save("after")
            expected = stage.undisturbed(run)
            for point in chosen:
                tried += 1
                wrong += [f"{point}: {what}" for what in stage.try_point(run, point, expected)]
            simulation.restore("after")
            print(f"{dag}, task {task}: {calls} calls, {len(chosen)} points", flush=True)
    return tried, wrong


def sample(number: int, seed: int) -> Callable[[list[Point]], list[Point]]:
    """
    Return a choice of points.

    :param number: About one of so many tasks gets a point.
    """
    dice = random.Random(seed)
    return lambda found: [dice.choice(found)] if dice.randrange(number) == 0 and found else []


def _sweep_part(first: int, every: int) -> tuple[int, list[str]]:
    """Try every so manieth point of all, on a simulated AWS of its own."""
    silence()
    numbers = itertools.count()
    with Simulation.started() as simulation, mock.patch.dict(os.environ, simulation.environment), quick():
        return sweep(simulation, lambda found: [point for point in found if next(numbers) % every == first])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.aws.sweep", description=__doc__)
    parser.add_argument("--every", type=int, default=1, help="try each so manieth point (default: all)")
    parser.add_argument("--processes", type=int, default=2, help="simulated AWS accounts at a time")
    arguments = parser.parse_args()
    # Ways to fail follow one another, so that one part has some of them and the next the others.
    parts = [(part * arguments.every, arguments.processes * arguments.every) for part in range(arguments.processes)]
    started = time.monotonic()
    # Its processes end with this one, also if that is told to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with Pool(arguments.processes) as pool:
        results = pool.starmap(_sweep_part, parts)
    wrong = [line for _, lines in results for line in lines]
    tried = sum(number for number, _ in results)
    print(f"{tried} points tried in {time.monotonic() - started:.0f} s, {len(wrong)} wrong", *wrong, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
