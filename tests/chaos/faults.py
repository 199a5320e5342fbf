"""What can break, and how it is broken."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from tests.chaos.ledger import wait
from tests.chaos.sites import SLOTS_PER_WORKER, CelerySite, DaskSite

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tests.chaos.ledger import Start
    from tests.chaos.sites import Site


@dataclass(frozen=True)
class Damage:
    """
    What a fault has broken, so that it is known which tries may fail.

    :param at: When, in seconds since 1970.
    :param pids: Processes that end by it.
    :param hosts: Machines or pods whose processes end by it.
    :param slots: How many workloads may have been there: one that has not begun its task is in no ledger yet.
    """

    at: float
    pids: frozenset[int] = frozenset()
    slots: int = 0
    hosts: frozenset[str] = frozenset()

    def hit(self, start: Start) -> bool:
        """Whether what was started ends by it."""
        return start.pid in self.pids or (start.host in self.hosts and start.started < self.at)


@dataclass(frozen=True)
class Fault:
    """
    One way to break something.

    :param do: Breaks it, on a site; what lasts, lasts for some seconds and is mended before it returns.
    :param long_only: Too slow for the short form.
    """

    name: str
    do: Callable[[Site, Random, float], Damage]
    long_only: bool = field(default=False, kw_only=True)


def kill(victim: psutil.Process, slots: int = 0) -> Damage:
    """SIGKILL, and note what goes with it."""
    family = frozenset(process.pid for process in [victim, *victim.children(recursive=True)])
    at = time.time()
    victim.kill()
    return Damage(at, family, slots)


def kill_airflow_scheduler(site: Site, _: Random, __: float) -> Damage:
    at = time.time()
    site.airflow.kill_component("scheduler")
    # What Airflow had queued and its executor had not sent yet is nobody's: Airflow gives it a new try.
    return Damage(at, slots=site.slots)


def restart_api_server(site: Site, _: Random, __: float) -> Damage:
    at = time.time()
    site.airflow.kill_component("api-server", signal.SIGTERM)
    return Damage(at)


def restart_postgres(site: Site, _: Random, __: float) -> Damage:
    at = time.time()
    site.postgres.restart()
    return Damage(at)


def on_dask(site: Site) -> DaskSite:
    assert isinstance(site, DaskSite)
    return site


def kill_dask_scheduler(site: Site, _: Random, __: float) -> Damage:
    dask = on_dask(site)
    family = [process for nanny in dask.nannies() for process in (nanny, *nanny.children(recursive=True))]
    scheduler = dask.dask.scheduler
    assert scheduler is not None
    at = time.time()
    scheduler.popen.kill()
    # Its workers end with it, and with them what they run.
    return Damage(at, frozenset(process.pid for process in family), site.slots)


def kill_one_of(
    find: Callable[[DaskSite], list[psutil.Process]], slots: int = SLOTS_PER_WORKER
) -> Callable[[Site, Random, float], Damage]:
    def do(site: Site, random: Random, _: float) -> Damage:
        dask = on_dask(site)
        wait(lambda: find(dask), 60, lambda: "there is something to kill")
        return kill(random.choice(find(dask)), slots)

    return do


def stop_worker_for_a_while(site: Site, random: Random, seconds: float) -> Damage:
    worker = random.choice(on_dask(site).workers())
    at = time.time()
    worker.suspend()
    try:
        time.sleep(seconds)
    finally:
        with suppress(psutil.NoSuchProcess):
            worker.resume()
    return Damage(at)


def cut_network(site: Site, _: Random, seconds: float) -> Damage:
    at = time.time()
    on_dask(site).proxy.cut()
    try:
        time.sleep(seconds)
    finally:
        on_dask(site).proxy.heal()
    return Damage(at)


def hush_network(site: Site, _: Random, seconds: float) -> Damage:
    at = time.time()
    on_dask(site).proxy.hush()
    try:
        time.sleep(seconds)
    finally:
        on_dask(site).proxy.heal()
    return Damage(at)


def drain_worker(site: Site, random: Random, _: float) -> Damage:
    dask = on_dask(site).dask
    worker = random.choice(dask.call("airflow_status")["workers"])
    at = time.time()
    answer = dask.call("airflow_drain", worker=worker["address"])
    assert "error" not in answer, answer
    return Damage(at)


def kill_celery_worker(site: Site, _: Random, __: float) -> Damage:
    assert isinstance(site, CelerySite)
    return kill(psutil.Process(site.worker().popen.pid), site.slots)


def kill_redis(site: Site, _: Random, __: float) -> Damage:
    assert isinstance(site, CelerySite)
    return kill(psutil.Process(site.redis.pid))


EVERYWHERE = (
    Fault("nothing", lambda *_: Damage(time.time())),
    Fault("Airflow scheduler killed", kill_airflow_scheduler),
    Fault("API server restarted", restart_api_server),
    Fault("PostgreSQL restarted", restart_postgres),
)
DASK = (
    Fault("Dask scheduler killed", kill_dask_scheduler),
    Fault("worker killed", kill_one_of(DaskSite.workers)),
    Fault("nanny killed", kill_one_of(DaskSite.nannies)),
    Fault("launcher killed", kill_one_of(DaskSite.launchers)),
    Fault("supervisor killed", kill_one_of(DaskSite.supervisors, slots=1)),
    Fault("worker stopped for a while", stop_worker_for_a_while),
    Fault("network cut and healed", cut_network),
    Fault("network silent and healed", hush_network, long_only=True),
    Fault("worker drained", drain_worker),
)
CELERY = (Fault("worker killed", kill_celery_worker), Fault("Redis killed", kill_redis))

FAULTS = {"dask": (*EVERYWHERE, *DASK), "celery": (*EVERYWHERE, *CELERY)}
