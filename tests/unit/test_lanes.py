"""Lanes: where workloads go, and what happens to them when a lane's cluster changes."""

from __future__ import annotations

import pytest

from airflow_eks_dask.endpoint import Endpoint
from airflow_eks_dask.executors.cluster import Cluster
from airflow_eks_dask.executors.in_flight import Adoption, Release, Report
from airflow_eks_dask.executors.lanes import Lanes, route
from airflow_eks_dask.worker.protocol import Capacity, Submission
from tests.unit.fake_link import FakeLink

FIRST, SECOND, GPU = (Endpoint(f"tcp://127.0.0.1:{port}") for port in (1, 2, 3))


def submission(key: str, queue: str = "default") -> Submission:
    return Submission(key, b"payload", queue=queue)


class System:
    """Lanes over fake links, one for each cluster that was made."""

    def __init__(self, *names: str) -> None:
        self.links: dict[Endpoint | None, FakeLink] = {}
        self.now = 0.0
        self.lanes: Lanes[str] = Lanes(names, "default", self.new_cluster)

    def new_cluster(self, endpoint: Endpoint | None) -> Cluster[str]:
        self.links[endpoint] = FakeLink()
        return Cluster(str(endpoint), self.links[endpoint], 300, clock=lambda: self.now)

    def room(self, **demand: int) -> int:
        self.lanes.sync()
        return self.lanes.room(lambda: demand)


@pytest.fixture
def system():
    return System("gpu")


@pytest.mark.parametrize(
    ("queue", "expected"),
    [
        ("default", ("default", "default")),
        ("large", ("default", "large")),
        ("local", ("local", "default")),
        ("gpu", ("gpu", "default")),
        ("gpu/large", ("gpu", "large")),
        ("no-lane/large", ("default", "no-lane/large")),
    ],
)
def test_route(queue, expected):
    assert route(queue, {"default", "local", "gpu"}, "default") == expected


def test_a_workload_goes_to_the_cluster_of_its_lane(system):
    system.lanes.point("default", FIRST)
    system.lanes.point("gpu", GPU)
    for link in system.links.values():
        link.connect()
    system.lanes.sync()
    system.lanes.submit("default", {"a": submission("1")})
    system.lanes.submit("gpu", {"b": submission("2")})
    assert [set(system.links[endpoint].submitted) for endpoint in (FIRST, GPU)] == [{"1"}, {"2"}]


def test_the_embedded_cluster_starts_with_its_first_workload_if_the_default_lane_is_elsewhere(system):
    system.lanes.point("default", FIRST)
    assert None not in system.links
    assert system.room(local=3) == 1
    system.lanes.submit("local", {"a": submission("1")})
    assert system.links[None].running


class TestMove:
    """A lane's cluster changes while Airflow runs."""

    def test_new_work_goes_to_the_new_cluster_and_running_work_ends_where_it_is(self, system):
        system.lanes.point("default", FIRST)
        system.links[FIRST].connect()
        system.lanes.sync()
        system.lanes.submit("default", {"old": submission("1")})
        system.lanes.point("default", SECOND)
        system.links[SECOND].connect()
        system.lanes.sync()
        system.lanes.submit("default", {"new": submission("2")})
        assert set(system.links[SECOND].submitted) == {"2"}
        assert system.links[FIRST].running
        system.links[FIRST].end("1")
        assert system.lanes.sync() == [Report("old", True, None, "1")]
        assert not system.links[FIRST].running, "nothing runs there any more"
        assert len(system.lanes) == 1

    def test_what_the_former_cluster_never_got_moves_too(self, system):
        system.lanes.point("default", FIRST)
        system.lanes.submit("default", {"a": submission("1")})
        system.lanes.point("default", SECOND)
        system.links[SECOND].connect()
        system.lanes.sync()
        assert set(system.links[SECOND].submitted) == {"1"}
        assert not system.links[FIRST].running

    def test_home_and_away_again(self, system):
        system.lanes.point("default", None)
        system.links[None].connect()
        system.lanes.sync()
        system.lanes.submit("default", {"a": submission("1")})
        system.lanes.point("default", FIRST)
        system.lanes.point("default", None)
        system.lanes.submit("default", {"b": submission("2")})
        assert set(system.links[None].submitted) == {"1", "2"}
        system.lanes.sync()
        assert not system.links[FIRST].running

    def test_the_embedded_cluster_stays_for_its_lane(self, system):
        system.lanes.point("default", None)
        system.lanes.point("default", FIRST)
        system.lanes.sync()
        assert system.links[None].running

    def test_a_lane_whose_cluster_is_not_known_waits_for_it(self, system):
        system.lanes.submit("gpu", {"a": submission("1")})
        assert system.room(gpu=1) == 0
        system.lanes.point("gpu", GPU)
        system.links[GPU].connect()
        system.lanes.sync()
        assert set(system.links[GPU].submitted) == {"1"}

    def test_a_lane_whose_connection_was_deleted_keeps_what_runs(self, system):
        system.lanes.point("gpu", GPU)
        system.links[GPU].connect()
        system.lanes.sync()
        system.lanes.submit("gpu", {"a": submission("1")})
        system.lanes.forget("gpu")
        system.lanes.submit("gpu", {"b": submission("2")})
        assert system.lanes.sync() == []
        assert set(system.links[GPU].submitted) == {"1"}
        system.links[GPU].end("1")
        assert [report.workload for report in system.lanes.sync()] == ["a"]
        assert len(system.lanes) == 1, "the other waits"


class TestRoom:
    """What is taken from Airflow."""

    def test_of_one_cluster_it_is_what_is_free(self):
        system = System()
        system.lanes.point("default", None)
        assert system.room() == 0, "it is not connected yet"
        system.links[None].connect(slots=4, free=3)
        system.lanes.sync()
        assert system.lanes.room(lambda: pytest.fail("nothing depends on what waits")) == 3

    def test_what_is_on_its_way_takes_room(self, system):
        system.lanes.point("default", FIRST)
        system.links[FIRST].connect()
        system.lanes.sync()
        system.lanes.submit("default", {"a": submission("1")})
        assert system.lanes.room(dict) == 3
        system.links[FIRST].pending.append(Capacity(1, 4, 3, {"default": 3}))
        assert system.room() == 3

    def test_of_another_lane_counts_while_its_tasks_wait(self, system):
        system.lanes.point("default", FIRST)
        system.lanes.point("gpu", GPU)
        system.links[FIRST].connect(slots=4, free=0)
        system.links[GPU].connect(slots=2)
        assert system.room(default=9) == 0
        assert system.room(default=9, gpu=1) == 1
        assert system.room(default=9, gpu=5) == 2

    def test_of_another_queue_counts_while_its_tasks_wait(self, system):
        system.lanes.point("default", FIRST)
        system.links[FIRST].connect(slots=6, free=4, default=1, large=3)
        assert system.room(default=9) == 1
        assert system.room(default=9, large=2) == 3
        assert system.room(default=9, large=9) == 4

    def test_workers_that_serve_two_queues_count_once(self, system):
        system.lanes.point("default", FIRST)
        system.links[FIRST].connect(slots=4, default=4, large=4)
        assert system.room(default=9, large=9) == 4


def test_an_outage_that_lasts_fails_what_was_running():
    system = System()
    system.lanes.point("default", FIRST)
    system.links[FIRST].connect()
    system.lanes.sync()
    system.lanes.submit("default", {"a": submission("1")})
    system.links[FIRST].disconnect("the network was cut")
    assert system.lanes.sync() == []
    system.now = 299
    assert system.lanes.sync() == []
    system.now = 301
    (report,) = system.lanes.sync()
    assert (report.workload, report.success) == ("a", False)
    assert "unreachable for 301 s: the network was cut" in report.reason
    system.links[FIRST].connect()
    system.lanes.sync()
    assert system.links[FIRST].revoked == ["1"], "it may run yet"


def test_the_log_of_what_ended_is_brought_home():
    system = System()
    system.lanes.point("default", FIRST)
    system.links[FIRST].connect()
    system.lanes.sync()
    with_log, without = Submission("1", b"payload", log_path="dag/task.log"), submission("2")
    system.lanes.submit("default", {"a": with_log, "b": without})
    for key in "12":
        system.links[FIRST].end(key)
    system.lanes.sync()
    assert system.links[FIRST].logs == ["1"]


def test_adoption():
    system = System()
    system.lanes.point("default", FIRST)
    system.lanes.adopt("default", {"ran": Adoption("1", started=True), "never": Adoption("2", started=False)})
    assert system.lanes.unanswered_adoptions == 2
    system.links[FIRST].connect()
    system.lanes.sync()
    system.links[FIRST].answer(present=("1",))
    (release,) = system.lanes.sync()
    assert (type(release), release.workload) == (Release, "never")
    assert system.lanes.unanswered_adoptions == 0


def test_a_workload_is_revoked_wherever_it_is(system):
    system.lanes.point("default", FIRST)
    system.links[FIRST].connect()
    system.lanes.sync()
    system.lanes.submit("default", {"a": submission("1")})
    system.lanes.point("default", SECOND)
    system.lanes.submit("gpu", {"b": submission("2")})
    system.lanes.revoke("a")
    system.lanes.revoke("b")
    assert system.links[FIRST].revoked == ["1"]
    assert len(system.lanes) == 0


def test_a_queue_that_nobody_serves_is_told_once_for_each_workload():
    system = System()
    system.lanes.point("default", FIRST)
    system.links[FIRST].connect()
    system.lanes.sync()
    system.lanes.submit("default", {"a": submission("1", "large"), "b": submission("2")})
    system.links[FIRST].pending.append(Capacity(1, 4, 3, {"default": 3}, {"large": 1}))
    system.lanes.sync()
    ((workload, queue, _),) = system.lanes.newly_unserved()
    assert (workload, queue) == ("a", "large")
    system.links[FIRST].pending.append(Capacity(1, 4, 4, {"default": 4}, {"large": 1}))
    system.lanes.sync()
    assert system.lanes.newly_unserved() == []


class TestChanges:
    """What is told of lanes and clusters, once."""

    @staticmethod
    def told(system):
        system.lanes.sync()
        return [(change.event, change.about) for change in system.lanes.changes()]

    def test_a_start_and_a_move(self, system):
        system.lanes.point("default", None)
        system.lanes.point("default", None)
        system.lanes.point("default", FIRST)
        first, embedded = f"the cluster at {FIRST.address}", "the embedded cluster"
        assert self.told(system) == [
            ("dask lane moved", {"lane": "default", "cluster": embedded, "former": None}),
            ("dask lane moved", {"lane": "default", "cluster": first, "former": embedded}),
        ]
        assert self.told(system) == []

    def test_a_cluster_that_is_let_go_of(self, system):
        system.lanes.point("default", FIRST)
        system.lanes.point("default", SECOND)
        assert ("dask cluster left", {"cluster": str(FIRST)}) in self.told(system)

    def test_a_lane_that_nothing_is_known_of_any_more(self, system):
        system.lanes.point("gpu", GPU)
        self.told(system)
        system.lanes.forget("gpu")
        system.lanes.forget("gpu")
        events = [event for event, _ in self.told(system)]
        assert events == ["dask lane lost", "dask cluster left"]

    def test_connections_with_reasons(self, system):
        system.lanes.point("default", FIRST)
        self.told(system)
        link = system.links[FIRST]
        for _ in range(3):
            link.disconnect("refused")
        assert self.told(system) == [("dask cluster not reached", {"cluster": str(FIRST), "reason": "refused"})]
        link.connect()
        assert self.told(system) == [("dask cluster connected", {"cluster": str(FIRST)})]
        link.disconnect("silent")
        link.disconnect("refused")
        assert self.told(system) == [("dask cluster lost", {"cluster": str(FIRST), "reason": "silent"})]
