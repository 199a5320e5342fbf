"""What happens to the chart's pods in the life of a cluster, as faults of the chaos tests."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

from tests.chaos.faults import Damage, Fault
from tests.chaos.ledger import wait
from tests.chaos.sites import Site
from tests.cluster.installation import SLOTS, condition
from tests.conftest import PATIENCE

if TYPE_CHECKING:
    from random import Random

    from tests.cluster.installation import Installation
    from tests.cluster.pipelines import Pipelines

REPLICAS = 4
_TOO_MANY_REQUESTS = "(TooManyRequests)"


@dataclass
class ClusterSite(Site):
    """With DaskExecutor on the chart's Dask cluster."""

    installation: Installation

    @classmethod
    def of(cls, pipelines: Pipelines) -> ClusterSite:
        """Return the site of an Airflow, with as many workers as an event begins with."""
        pipelines.settle(REPLICAS)
        return cls(
            "DaskExecutor",
            pipelines.airflow,
            pipelines.client,
            pipelines.postgres,
            REPLICAS * SLOTS,
            pipelines.installation,
            host=pipelines.host,
        )

    def unsettled(self) -> str:
        return self.installation.unsettled(self.slots)

    def scale(self, replicas: int) -> None:
        """Have so many workers, and wait until they are there and the others have drained."""
        self.installation.ensure({"workerDefaults": {"replicas": replicas}})
        self.slots = replicas * SLOTS
        names = self.installation.pod_names
        wait(lambda: len(names()) == replicas, PATIENCE, lambda: f"{replicas} workers: {names()}")


def in_cluster(site: Site) -> ClusterSite:
    assert isinstance(site, ClusterSite)
    return site


def annotated(name: str) -> dict:
    """Return values that give workers' pods an annotation, and so new pods."""
    return {"workerDefaults": {"podAnnotations": {"tests/upgraded": name}}}


def scale(site: Site, _: Random, __: float) -> Damage:
    at = time.time()
    in_cluster(site).scale(1)
    in_cluster(site).scale(3)
    return Damage(at)


def upgrade(site: Site, _: Random, __: float) -> Damage:
    at = time.time()
    in_cluster(site).installation.ensure(annotated(uuid4().hex))
    return Damage(at)


def roll_back(site: Site, _: Random, __: float) -> Damage:
    """Regret an upgrade that is half done."""
    installation = in_cluster(site).installation
    values, revision, name = installation.values, installation.revision(), uuid4().hex
    at = time.time()
    installation.ensure(annotated(name), wait=False)

    def half_done() -> bool:
        pods = installation.pods("worker")
        new = [pod for pod in pods if pod["metadata"]["annotations"].get("tests/upgraded") == name]
        return any(not condition(pod) for pod in new)

    wait(half_done, PATIENCE, lambda: "one worker is upgraded")
    installation.rollback(revision)
    installation.values = values
    return Damage(at)


def delete_dask_scheduler(site: Site, _: Random, __: float) -> Damage:
    installation = in_cluster(site).installation
    (scheduler,) = installation.pod_names("scheduler")
    # Its workers end with it, and with them what they run.
    hosts = frozenset(installation.pod_names())
    at = time.time()
    installation.kubectl("delete", "pod", scheduler)
    return Damage(at, slots=site.slots, hosts=hosts)


def delete_worker(site: Site, random: Random, _: float) -> Damage:
    installation = in_cluster(site).installation
    worker = random.choice(sorted(installation.pod_names()))
    at = time.time()
    installation.kubectl("delete", "pod", worker)
    return Damage(at)


def kill_worker(site: Site, random: Random, _: float) -> Damage:
    """Take a pod away without asking, as the end of its node does."""
    installation = in_cluster(site).installation
    worker = random.choice(sorted(installation.pod_names()))
    at = time.time()
    installation.kubectl("delete", "pod", worker, "--grace-period=0", "--force")
    return Damage(at, slots=SLOTS, hosts=frozenset([worker]))


def evict_workers(site: Site, _: Random, __: float) -> Damage:
    """Do what the drain of a node does, but leave the node to the pods that come instead: it may be the only one."""
    installation = in_cluster(site).installation
    server = json.loads(installation.kubectl("version", "--output", "json"))["serverVersion"]
    version = "policy/v1" if int(server["minor"].rstrip("+")) >= 22 else "policy/v1beta1"
    at = time.time()
    for worker in sorted(installation.pod_names()):
        body = {"apiVersion": version, "kind": "Eviction"}
        body["metadata"] = {"name": worker, "namespace": installation.namespace}
        wait(lambda body=body: evicted(installation, body), PATIENCE, lambda: "the budget lets a pod go")
    return Damage(at)


def evicted(installation: Installation, body: dict) -> bool:
    """Evict a pod; whether the budget let it go."""
    name, namespace = body["metadata"]["name"], body["metadata"]["namespace"]
    path = f"/api/v1/namespaces/{namespace}/pods/{name}/eviction"
    try:
        installation.kubectl("create", "--raw", path, "--filename", "-", text=json.dumps(body))
    except AssertionError as error:
        if _TOO_MANY_REQUESTS not in str(error):
            raise
        return False
    return True


EVENTS = (
    Fault("workers scaled 4 to 1 to 3", scale),
    Fault("helm upgrade", upgrade, long_only=True),
    Fault("helm rollback of half an upgrade", roll_back, long_only=True),
    Fault("Dask scheduler's pod deleted", delete_dask_scheduler),
    Fault("worker's pod deleted", delete_worker, long_only=True),
    Fault("worker's pod killed", kill_worker, long_only=True),
    Fault("workers' pods evicted", evict_workers, long_only=True),
)
