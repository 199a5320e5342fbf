"""One fault, done to one run of a DAG, and what came of it."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from airflow_eks_dask.local.client import AirflowWaitError
from tests.chaos import ledger as ledgers
from tests.chaos.ledger import LOOK, Ledger, wait

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from airflow_eks_dask.local.client import TaskInstance
    from tests.chaos.faults import Damage, Fault
    from tests.chaos.ledger import Key, Start
    from tests.chaos.sites import Site

DAG = "chaos"
RUN_TIMEOUT = 600.0
SETTLE_TIMEOUT = 120.0
# Seconds before a fault in which it was already being looked for what it is about to hit.
JUST = 1.0


@dataclass(frozen=True)
class Form:
    """
    How much is done.

    :param tasks: How many tasks each run has.
    :param longest: Seconds that a task takes at most.
    :param seconds: How long a fault lasts that is mended.
    :param shortest: Seconds that a task takes at least.
    """

    tasks: int
    longest: float
    seconds: float
    is_long: bool
    shortest: float = 0.2


SHORT = Form(24, 3, 5, is_long=False)
LONG = Form(200, 1.5, 20, is_long=True)


@dataclass(frozen=True)
class Verdict:
    """
    What came of a fault.

    :param lost: Tasks that did not succeed in the end.
    :param duplicated: Tries that were begun twice.
    :param overlapping: Tries that began while another of the same task lived.
    :param failed: Tries that failed because what they ran on was broken.
    :param wrongly_failed: Tries that failed although nothing of theirs was broken.
    :param first_start: Seconds from the fault to the first start of a task.
    :param busy: Seconds from the fault until all slots were busy again; None if that was not seen.
    :param left_over: What was not as before, some time after the run.
    :param took: Seconds that the fault itself took, until it was done and, if it is one that is mended, mended.
    """

    fault: str
    executor: str
    tasks: int
    lost: tuple[str, ...]
    duplicated: tuple[Key, ...]
    overlapping: tuple[Key, ...]
    failed: int
    wrongly_failed: tuple[str, ...]
    first_start: float | None
    busy: float | None
    left_over: str
    took: float = 0

    @property
    def problems(self) -> list[str]:
        """Return what must not be."""
        named = ("lost", "duplicated", "overlapping", "wrongly_failed", "left_over")
        return [f"{name}: {value}" for name in named if (value := getattr(self, name))]


def judge(
    fault: str,
    site: Site,
    damage: Damage,
    starts: Sequence[Start],
    tasks: Iterable[TaskInstance],
    left_over: str,
    took: float = 0,
) -> Verdict:
    """Compare what tasks have written down with what Airflow thinks of them."""
    tasks = list(tasks)
    begun = {(start.key[1], start.key[2], start.key[4]): start for start in starts}
    hit, others = [], []
    for task in tasks:
        for attempt in range(1, task.try_number):
            start = begun.get((task.task_id, task.map_index, attempt))
            died_with_it = start is not None and damage.hit(start)
            (hit if died_with_it else others).append((task, attempt, start))
    # They had not begun their task, or only just, when what they were on broke.
    unseen = [each for each in others if each[2] is None or (damage.at - JUST < each[2].started and not each[2].ended)]
    unseen = unseen[: max(0, damage.slots - len(hit))]
    wrongly = [
        f"{task.label} try {attempt}{'' if start else ' (never began)'}"
        for task, attempt, start in others
        if (task, attempt, start) not in unseen
    ]
    return Verdict(
        fault,
        site.executor,
        len(tasks),
        tuple(f"{task.label}: {task.state}" for task in tasks if task.state != "success"),
        tuple(ledgers.duplicated(starts)),
        tuple(ledgers.overlapping(starts)),
        len(hit) + len(unseen),
        tuple(wrongly),
        ledgers.first_start_after(starts, damage.at),
        ledgers.busy_again(starts, damage.at, site.slots),
        left_over,
        took,
    )


def run(fault: Fault, site: Site, form: Form, seed: int) -> Verdict:
    """
    Run a DAG, break something meanwhile, and judge what came of it.

    :param seed: Decides when, what and how long tasks take.
    """
    random = Random(f"{seed} {fault.name}")
    plan = [round(random.uniform(form.shortest, form.longest), 2) for _ in range(form.tasks)]
    begun = random.randint(form.tasks // 6, form.tasks // 2)
    site.client.wait_for_dag(DAG)
    wait(lambda: not site.unsettled(), SETTLE_TIMEOUT, lambda: f"before: {site.unsettled()}")
    with Ledger(site.host) as ledger:
        run_id = site.client.trigger(DAG, {"ledger": ledger.address, "seconds": plan})
        wait(
            lambda: len(ledger.starts) >= begun, RUN_TIMEOUT, lambda: f"{begun} tasks begin; {len(ledger.starts)} have"
        )
        time.sleep(random.uniform(0, 1))
        damage = fault.do(site, random, form.seconds)
        took = time.time() - damage.at
        # Tasks of a run that has not ended by then are judged as they are: lost.
        with suppress(AirflowWaitError):
            site.client.wait_for_run(DAG, run_id, expected=None, timeout=RUN_TIMEOUT)
        left_over = settled(site, ledger)
        tasks = site.client.task_instances(DAG, run_id)
        return judge(fault.name, site, damage, ledger.starts, tasks, left_over, took)


def settled(site: Site, ledger: Ledger) -> str:
    """Wait until all is as before; say what is not, if that takes too long."""
    deadline = time.monotonic() + SETTLE_TIMEOUT
    while problem := site.unsettled() or alive(ledger):
        if time.monotonic() > deadline:
            return problem
        time.sleep(LOOK)
    return ""


def alive(ledger: Ledger) -> str:
    """Say which tasks' processes live."""
    return ", ".join(f"process {start.pid} of {start.key}" for start in ledger.running())
