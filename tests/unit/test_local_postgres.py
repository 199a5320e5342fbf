from __future__ import annotations

import importlib.util
import os
import shutil
import socket
from pathlib import Path

import psutil
import psycopg2
import pytest

from airflow_eks_dask.local import postgres, postgres_binaries
from airflow_eks_dask.local.postgres import PostgresError, PostgresServer

pytestmark = pytest.mark.any_airflow


@pytest.fixture(scope="module")
def server():
    with PostgresServer() as started:
        yield started


def query(dsn, statement):
    connection = psycopg2.connect(dsn, connect_timeout=5)
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else None
    finally:
        connection.close()


def test_runs_throw_away_data_as_an_ordinary_account(server):
    assert query(server.dsn(), "SHOW fsync") == [("off",)]
    assert psutil.Process(server.pid).uids().real != 0


def test_listens_on_loopback_only(server):
    listening = [c.laddr for c in psutil.Process(server.pid).net_connections() if c.status == psutil.CONN_LISTEN]
    assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", server.port)]


def test_refuses_a_wrong_password(server):
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(host="127.0.0.1", port=server.port, user="airflow", password="wrong", dbname="postgres")


def test_password_is_in_no_command_line_and_no_file(server):
    password = server.dsn().split(":")[2].split("@")[0]
    assert not any(password in word for word in psutil.Process(server.pid).cmdline())
    assert password not in server.log_file.read_text()
    assert not (server.directory / "password").exists()


def test_databases_keep_their_data_over_a_restart(server):
    server.create_database("with-a-dash")
    query(server.dsn("with-a-dash"), "CREATE TABLE kept AS SELECT 42 AS answer")
    port, pid = server.port, server.pid
    server.restart()
    assert (server.port, server.pid != pid) == (port, True)
    assert query(server.dsn("with-a-dash"), "SELECT answer FROM kept") == [(42,)]


def test_a_database_of_that_name_exists(server):
    with pytest.raises(psycopg2.errors.DuplicateDatabase):
        server.create_database("postgres")


def test_nothing_is_left(tmp_path):
    with PostgresServer() as server:
        pid, directory, port = server.pid, server.directory, server.port
        assert directory.exists()
    assert not psutil.pid_exists(pid)
    assert not directory.exists()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5).close()


def test_max_connections():
    with PostgresServer(max_connections=23) as server:
        assert query(server.dsn(), "SHOW max_connections") == [("23",)]


def test_a_port_asked_for_that_is_busy_is_an_error(server):
    other = PostgresServer(port=server.port)
    try:
        with pytest.raises(PostgresError, match=f"port {server.port}.*Address already in use|(?s:exited)"):
            other.start()
        assert other.pid is None
    finally:
        other.close()
    assert query(server.dsn(), "SELECT 1") == [(1,)]


def test_missing_binaries_are_explained(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres_binaries, "DEBIAN_ROOT", tmp_path / "usr/lib/postgresql")
    monkeypatch.setattr(postgres_binaries, "WHEEL", "no_such_package")
    with pytest.raises(PostgresError) as caught:
        PostgresServer()
    for place in ("PATH", f"{tmp_path}/usr/lib/postgresql/*/bin", "no-such-package"):
        assert place in str(caught.value)


def make_programs(directory):
    directory.mkdir(parents=True)
    for program in postgres_binaries.PROGRAMS:
        (directory / program).touch(mode=0o755)
    return directory


def test_order_of_binaries(monkeypatch, tmp_path):
    debian = tmp_path / "postgresql"
    nine, fifteen = make_programs(debian / "9" / "bin"), make_programs(debian / "15" / "bin")
    wheel = tmp_path / "site"
    (wheel / "a_wheel").mkdir(parents=True)
    (wheel / "a_wheel" / "__init__.py").write_text("raise AssertionError('must not be imported')")
    plain = make_programs(wheel / "a_wheel" / "pginstall" / "bin")
    eighteen = make_programs(wheel / "a_wheel" / "pginstall18" / "bin")
    monkeypatch.setattr(postgres_binaries, "DEBIAN_ROOT", debian)
    monkeypatch.setattr(postgres_binaries, "WHEEL", "a_wheel")
    monkeypatch.syspath_prepend(str(wheel))

    monkeypatch.setenv("PATH", str(tmp_path))
    assert postgres_binaries.binary_directories() == [fifteen, nine, eighteen, plain]

    links = tmp_path / "links"
    links.mkdir()
    (links / "postgres").symlink_to(nine / "postgres")
    monkeypatch.setenv("PATH", str(links))
    assert postgres_binaries.binary_directories() == [nine, fifteen, eighteen, plain]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs PostgreSQL as another account")
def test_binaries_in_a_private_directory_are_copied(monkeypatch, tmp_path):
    spec = importlib.util.find_spec(postgres_binaries.WHEEL)
    if spec is None:
        pytest.skip("the wheel is not installed")
    package, private = Path(spec.origin).parent, tmp_path / "private"
    private.mkdir(mode=0o700)
    for folder in (package / "pginstall", package.with_name(f"{postgres_binaries.WHEEL}.libs")):
        shutil.copytree(folder, private / folder.relative_to(package.parent))
    binaries = private / postgres_binaries.WHEEL / "pginstall" / "bin"
    monkeypatch.setattr(postgres, "binary_directories", lambda: [binaries])
    with PostgresServer() as server:
        executable = Path(psutil.Process(server.pid).exe())
        assert executable.is_relative_to(server.directory)
        assert query(server.dsn(), "SELECT 1") == [(1,)]
