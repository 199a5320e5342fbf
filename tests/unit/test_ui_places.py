"""Where the page finds the clusters of lanes, and what it asks them."""

from __future__ import annotations

import json
import os
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from airflow_eks_dask.endpoint import Endpoint
from airflow_eks_dask.executors import connection_watch
from airflow_eks_dask.executors.connection_watch import Whereabouts
from airflow_eks_dask.executors.settings import DaskSettings
from airflow_eks_dask.hooks.dask import local_versions, ownership_mark, published_cluster
from airflow_eks_dask.hooks.dask_cluster import Cluster, ClusterError
from airflow_eks_dask.ui import snapshot
from airflow_eks_dask.ui.places import Place, find_places, read_settings
from airflow_eks_dask.ui.queues import add_waiting_in_airflow
from airflow_eks_dask.ui.snapshot import ClusterReader

FIRST, SECOND = Endpoint("tcp://127.0.0.1:1"), Endpoint("tcp://127.0.0.1:2")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr("airflow.configuration.AIRFLOW_HOME", str(tmp_path))
    (tmp_path / "dask").mkdir()
    return tmp_path


@pytest.fixture
def embedded(home):
    """Write the file of an embedded cluster whose process lives."""

    def embedded(pid, text=None):
        written = json.dumps({"address": f"tcp://127.0.0.1:{pid}"}) if text is None else text
        (home / "dask" / f"embedded-{pid}.json").write_text(written)

    return embedded


@pytest.fixture
def connections(monkeypatch):
    """What connections say, by id; an exception is raised."""
    found: dict[str, Whereabouts | Exception] = {}

    def read(connection_id):
        where = found.get(connection_id, Whereabouts(None))
        if isinstance(where, Exception):
            raise where
        return where

    monkeypatch.setattr(connection_watch, "read", read)
    return found


def settings(**changes):
    return DaskSettings(
        **{"endpoint": None, "connection_id": "dask_default", "connection_check_interval": 10, **changes}
    )


class TestPlaces:
    """The clusters of all lanes."""

    def test_with_nothing_configured_all_lanes_use_the_embedded_cluster(self, connections, embedded):
        embedded(os.getpid())
        (place,) = find_places(settings())
        assert place.lanes == ("default", "local")
        assert place.cluster.endpoint.address == f"tcp://127.0.0.1:{os.getpid()}"
        assert (place.fault, place.note) == (None, None)

    def test_without_an_embedded_cluster_it_is_told_where_to_look(self, connections, home):
        (place,) = find_places(settings())
        assert place.cluster is None
        assert "Is the Airflow scheduler up" in place.fault

    def test_each_airflow_scheduler_of_the_machine_has_one(self, connections, embedded):
        embedded(os.getpid())
        embedded(os.getppid())
        assert len(find_places(settings())) == 2

    def test_the_connection_leads_elsewhere_and_the_local_lane_stays(self, connections, embedded):
        connections["dask_default"] = Whereabouts(FIRST, "pipelines")
        embedded(os.getpid())
        remote, local = find_places(settings())
        assert (remote.lanes, remote.cluster.endpoint, remote.kubernetes) == (("default",), FIRST, "pipelines")
        assert remote.cluster.source == "connection dask_default"
        assert local.lanes == ("local",)

    def test_the_local_lane_starts_with_its_first_task(self, connections, home):
        connections["dask_default"] = Whereabouts(FIRST)
        _, local = find_places(settings())
        assert (local.cluster, local.fault) == (None, None)
        assert "starts with the first task of queue 'local'" in local.note

    def test_an_address_goes_before_a_connection(self, connections, embedded):
        connections["dask_default"] = Whereabouts(SECOND)
        embedded(os.getpid())
        first, _ = find_places(settings(endpoint=FIRST))
        assert (first.cluster.endpoint, first.cluster.source) == (FIRST, "[dask] cluster_address")

    def test_lanes_of_one_cluster_are_shown_together(self, connections, embedded):
        connections["dask_default"] = connections["dask_gpu"] = Whereabouts(FIRST)
        embedded(os.getpid())
        first, _ = find_places(settings(lanes={"gpu": "dask_gpu"}))
        assert first.lanes == ("default", "gpu")

    def test_a_lane_without_its_connection_is_told(self, connections, embedded):
        embedded(os.getpid())
        _, gpu = find_places(settings(lanes={"gpu": "dask_gpu"}))
        assert gpu.lanes == ("gpu",)
        assert "no connection 'dask_gpu'" in gpu.fault

    @pytest.mark.parametrize("error", [ValueError("host is empty"), RuntimeError("cannot be decrypted")])
    def test_a_connection_that_does_not_work_spoils_its_lane_alone(self, connections, embedded, error):
        connections["dask_default"] = error
        embedded(os.getpid())
        default, local = find_places(settings())
        assert (default.lanes, default.fault) == (("default",), str(error))
        assert local.cluster is not None

    def test_a_file_that_cannot_be_read(self, connections, embedded):
        embedded(os.getpid(), "{")
        with pytest.raises(ClusterError, match="is no Dask scheduler file"):
            find_places(settings())

    def test_a_configuration_that_cannot_work(self, monkeypatch):
        monkeypatch.setenv("AIRFLOW__DASK__LANES", "gpu")
        with pytest.raises(ClusterError, match="must look like name=connection_id"):
            read_settings()


@pytest.mark.parametrize("name", ["pipelines", "a, published by airflow-eks-dask", "Dask cluster "])
def test_the_name_of_a_published_cluster_is_read_back(name):
    assert published_cluster(ownership_mark(name)) == name


@pytest.mark.parametrize("description", [None, "", "mine", "Dask cluster ", "Dask cluster x"])
def test_another_connection_has_no_cluster_name(description):
    assert published_cluster(description) is None


class Calls:
    """A Dask scheduler's answers."""

    def __init__(self, *workers, versions=None):
        self.workers, self.asked, self.worker_version = workers, [], versions or {}

    def status(self):
        workers = [{"address": each, "name": each} for each in self.workers]
        capacity = {"queues": {"default": 1}, "waiting": {"large": 2}}
        return {"workers": workers, "waiting": [], "waiting_total": 2, "capacity": capacity}

    def versions(self):
        return local_versions()

    def started(self):
        return 1.0

    def dashboard(self):
        return None

    def worker_versions(self, workers):
        self.asked += workers
        return {worker: {**local_versions(), **self.worker_version} for worker in workers}


@pytest.fixture
def clusters(monkeypatch):
    """Answers by address; an exception is raised."""
    answers = {}

    @contextmanager
    def connected(cluster, timeout):
        answer = answers[cluster.endpoint.address]
        if isinstance(answer, Exception):
            raise answer
        yield answer

    monkeypatch.setattr(snapshot, "connected", connected)
    return answers


def place(endpoint, lane):
    return Place(lanes=(lane,), name=f"the cluster at {endpoint.address}", cluster=Cluster(endpoint, "a test"))


class TestReading:
    """What clusters tell."""

    def test_one_that_is_away_leaves_the_others(self, clusters):
        clusters[FIRST.address] = ClusterError("No connection")
        clusters[SECOND.address] = Calls("w")
        reading = ClusterReader(lambda: [place(FIRST, "default"), place(SECOND, "gpu")]).read()
        away, there = reading.clusters
        assert (away.error, away.address, away.workers) == ("No connection", FIRST.address, [])
        assert (there.error, len(there.workers), there.started) == (None, 1, 1.0)
        assert [queue["name"] for queue in there.queues] == ["large", "default"]

    def test_what_was_not_foreseen_is_told_and_logged(self, clusters, caplog):
        clusters[FIRST.address] = TypeError("of another version")
        (away,) = ClusterReader(lambda: [place(FIRST, "default")]).read().clusters
        assert "TypeError: of another version" in away.error
        assert "could not be asked" in caplog.text

    def test_they_are_asked_side_by_side(self, clusters, monkeypatch):
        both = threading.Barrier(2, timeout=30)
        for endpoint in (FIRST, SECOND):
            clusters[endpoint.address] = calls = Calls("w")
            monkeypatch.setattr(calls, "dashboard", both.wait)
        reading = ClusterReader(lambda: [place(FIRST, "default"), place(SECOND, "gpu")]).read()
        assert [each.error for each in reading.clusters] == [None, None]

    def test_a_worker_of_another_version_is_told(self, clusters):
        clusters[FIRST.address] = Calls("w", versions={"apache-airflow": "2.0.0"})
        (found,) = ClusterReader(lambda: [place(FIRST, "default")]).read().clusters
        (worker,) = found.workers
        assert worker["versions"]["apache-airflow"] == "2.0.0"
        (difference,) = worker["version_differences"]
        assert difference.startswith("apache-airflow 3.")
        assert difference.endswith("here, 2.0 there")
        assert found.version_differences == []

    def test_each_worker_is_asked_for_its_versions_once(self, clusters):
        clusters[FIRST.address] = calls = Calls("a")
        reader = ClusterReader(lambda: [place(FIRST, "default")])
        reader.read()
        calls.workers = ("a", "b")
        reader.read()
        assert calls.asked == ["a", "b"]
        # Whoever has left is forgotten.
        calls.workers = ("b",)
        reader.read()
        calls.workers = ("a", "b")
        reader.read()
        assert calls.asked == ["a", "b", "a"]

    def test_a_configuration_that_cannot_work(self):
        def broken():
            raise ClusterError("lanes: ...")

        assert ClusterReader(broken).read().error == "lanes: ..."


class TestQueues:
    """What waits in Airflow."""

    @staticmethod
    def clusters():
        queue = {"name": "default", "free": 1, "waiting": 0, "served": True}
        return [
            {"lanes": ("default",), "queues": [dict(queue)], "error": None, "note": None},
            {"lanes": ("gpu", "local"), "queues": [], "error": "away", "note": None},
        ]

    def test_it_is_counted_where_it_will_run(self):
        clusters = self.clusters()
        scheduled = {"default": 2, "large": 3, "gpu": 4, "gpu/large": 5, "local": 6}
        add_waiting_in_airflow(clusters, scheduled, SimpleNamespace(lanes={"gpu": "g"}, default_queue="default"))
        told = [
            {queue["name"]: (queue["in_airflow"], queue["served"]) for queue in each["queues"]} for each in clusters
        ]
        assert told[0] == {"default": (2, True), "large": (3, False)}
        # Of a cluster that is away it is not known whom its workers serve.
        assert told[1] == {"default": (10, True), "large": (5, True)}

    def test_a_lane_that_is_shown_nowhere_does_no_harm(self):
        add_waiting_in_airflow([], {"default": 1}, SimpleNamespace(lanes={}, default_queue="default"))
