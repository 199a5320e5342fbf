"""Which cluster Airflow's tasks run on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from airflow_eks_dask.cli._errors import reported
from airflow_eks_dask.hooks.dask_cluster import (
    ClusterError,
    NoClusterError,
    SeveralClustersError,
    connect_timeout,
    embedded_addresses,
    find_cluster,
)

LOOPBACK = "tcp://127.0.0.1:8786"
CONNECTION = "AIRFLOW_CONN_DASK_DEFAULT"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An Airflow home without a database, and a configuration that says nothing."""
    monkeypatch.setattr("airflow.configuration.AIRFLOW_HOME", str(tmp_path))
    monkeypatch.delenv(CONNECTION, raising=False)
    (tmp_path / "dask").mkdir()
    return tmp_path


@pytest.fixture
def configure(monkeypatch):
    def configure(**options):
        for name, value in options.items():
            monkeypatch.setenv(f"AIRFLOW__DASK__{name.upper()}", value)

    return configure


@pytest.fixture
def embedded(home):
    """Write the file of an embedded cluster."""

    def embedded(pid, text=None):
        file = home / "dask" / f"embedded-{pid}.json"
        file.write_text(json.dumps({"address": f"tcp://127.0.0.1:{pid}"}) if text is None else text)
        return file

    return embedded


def test_the_given_one_comes_first(configure, monkeypatch, embedded):
    configure(cluster_address="tcp://127.0.0.1:1")
    monkeypatch.setenv(CONNECTION, '{"host": "127.0.0.1", "port": 2}')
    embedded(os.getpid())
    found = find_cluster(LOOPBACK)
    assert (found.endpoint.address, found.source) == (LOOPBACK, "--address")


def test_then_the_configured_one(configure, monkeypatch, embedded):
    configure(cluster_address="tcp://127.0.0.1:1")
    monkeypatch.setenv(CONNECTION, '{"host": "127.0.0.1", "port": 2}')
    embedded(os.getpid())
    found = find_cluster(None)
    assert (found.endpoint.address, found.source) == ("tcp://127.0.0.1:1", "[dask] cluster_address")


def test_then_the_connection(monkeypatch, embedded):
    monkeypatch.setenv(CONNECTION, '{"host": "127.0.0.1", "port": 2}')
    embedded(os.getpid())
    found = find_cluster(None)
    assert (found.endpoint.address, found.source) == ("tcp://127.0.0.1:2", "connection dask_default")


def test_the_configuration_may_name_another_connection(monkeypatch, configure):
    configure(connection_id="another")
    monkeypatch.setenv(CONNECTION, '{"host": "127.0.0.1", "port": 2}')
    monkeypatch.setenv("AIRFLOW_CONN_ANOTHER", '{"host": "127.0.0.1", "port": 3}')
    assert find_cluster(None).source == "connection another"


def test_then_the_embedded_one(embedded):
    embedded(os.getpid())
    found = find_cluster(None)
    assert found.endpoint.address == f"tcp://127.0.0.1:{os.getpid()}"
    assert found.source == f"embedded cluster, process {os.getpid()}"


def test_none_at_all(home):
    with pytest.raises(NoClusterError, match="set \\[dask\\] cluster_address or add the connection") as error:
        find_cluster(None)
    assert str(home) in str(error.value)


def test_a_connection_that_is_half_filled_in_is_not_passed_over(monkeypatch, embedded):
    monkeypatch.setenv(CONNECTION, '{"host": "127.0.0.1", "password": "hunter2"}')
    embedded(os.getpid())
    with pytest.raises(ClusterError, match=r"needs extra\.tls_ca") as error:
        find_cluster(None)
    assert "hunter2" not in str(error.value)


class TestAddress:
    """What is refused of an address, and what goes with it."""

    @pytest.mark.parametrize("address", ["", "h", "http://127.0.0.1:1", "tcp://127.0.0.1"])
    def test_no_address(self, address):
        with pytest.raises(ClusterError, match=r"--address = .*: must look like"):
            find_cluster(address)

    def test_beyond_this_machine_without_tls(self, configure):
        with pytest.raises(ClusterError, match=r"--address = .* without TLS.*or set \[dask\] allow_insecure = True"):
            find_cluster("tcp://10.0.0.1:8786")
        configure(allow_insecure="True")
        assert find_cluster("tcp://10.0.0.1:8786").endpoint.allow_insecure

    def test_tls_files_come_from_the_configuration(self, configure, tmp_path):
        with pytest.raises(ClusterError, match=r"needs \[dask\] tls_ca, \[dask\] tls_cert, \[dask\] tls_key too"):
            find_cluster("tls://h:1")
        files = {option: tmp_path / option for option in ("tls_ca", "tls_cert", "tls_key")}
        for file in files.values():
            file.touch()
        configure(**{option: str(file) for option, file in files.items()})
        assert find_cluster("tls://h:1").endpoint.tls_key == str(files["tls_key"])
        # They are those of the configured cluster, and a given one may be without.
        assert find_cluster(LOOPBACK).endpoint.tls_key == ""

    def test_tls_files_with_a_configured_address_that_is_not_tls(self, configure, tmp_path):
        (tmp_path / "ca.pem").touch()
        configure(cluster_address=LOOPBACK, tls_ca=str(tmp_path / "ca.pem"))
        with pytest.raises(ClusterError, match=r"\[dask\] cluster_address = .* is not TLS"):
            find_cluster(None)

    def test_an_option_that_cannot_be_read(self, configure):
        configure(allow_insecure="perhaps")
        with pytest.raises(ClusterError, match=r"\[dask\] allow_insecure: .*perhaps"):
            find_cluster(LOOPBACK)

    def test_a_time_that_cannot_be_read(self, configure):
        configure(connect_timeout="soon")
        with pytest.raises(ClusterError, match=r"\[dask\] connect_timeout: .*soon"):
            connect_timeout()


class TestEmbedded:
    """The files of embedded clusters."""

    def test_one_that_is_gone_is_passed_over(self, home, embedded):
        with subprocess.Popen([sys.executable, "-c", ""]) as ended:
            # Not yet waited for, it is a zombie; afterwards it is gone.
            os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
            embedded(ended.pid)
            assert embedded_addresses(home / "dask") == {}
        assert embedded_addresses(home / "dask") == {}

    def test_one_whose_number_another_process_has_got_is_passed_over(self, home, embedded):
        file = embedded(os.getpid())
        long_ago = time.time() - 10 * 365 * 86_400
        os.utime(file, (long_ago, long_ago))
        assert embedded_addresses(home / "dask") == {}

    def test_other_files_are_passed_over(self, home):
        for name in ("embedded-x.json", f"embedded-{os.getpid()}.json.tmp", "scheduler.json"):
            (home / "dask" / name).write_text("{}")
        assert embedded_addresses(home / "dask") == {}

    def test_no_folder(self, home):
        assert embedded_addresses(home / "nothing") == {}

    def test_several_are_a_choice(self, embedded):
        embedded(os.getpid())
        embedded(os.getppid())
        with pytest.raises(SeveralClustersError) as error:
            find_cluster(None)
        for pid in (os.getpid(), os.getppid()):
            assert f"tcp://127.0.0.1:{pid} (process {pid})" in str(error.value)

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null"])
    def test_a_file_that_cannot_be_read(self, embedded, text):
        file = embedded(os.getpid(), text)
        with pytest.raises(ClusterError, match="is no Dask scheduler file") as error:
            find_cluster(None)
        assert str(file) in str(error.value)


class TestCommands:
    """How commands tell that it is not clear which cluster they are about."""

    @pytest.fixture
    def told(self, capsys):
        def told():
            with pytest.raises(SystemExit) as end, reported("status"):
                find_cluster(None)
            return end.value.code, capsys.readouterr().err

        return told

    def test_none(self, told):
        code, message = told()
        assert code == 1
        assert message.startswith("airflow eks-dask status: No Dask cluster is named")
        assert message.endswith("Or give --address\n")

    def test_several(self, told, embedded):
        for pid in (os.getpid(), os.getppid()):
            embedded(pid)
        code, message = told()
        assert code == 2
        assert message.endswith("Choose one with --address\n")

    def test_a_file_that_cannot_be_read(self, told, embedded):
        embedded(os.getpid(), "{")
        code, message = told()
        assert code == 1
        assert "is no Dask scheduler file" in message
