"""A PostgreSQL server for throw-away data, on this machine, in one call."""

from __future__ import annotations

import contextlib
import logging
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2
from psycopg2 import sql

from airflow_eks_dask.local.ports import free_port
from airflow_eks_dask.local.postgres_binaries import PROGRAMS, WHEEL, binary_directories, places
from airflow_eks_dask.local.processes import Child, LocalProcessError, ProcessSet

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Self

log = logging.getLogger(__name__)

USER = "airflow"
START_ATTEMPTS = 5
READY_TIMEOUT = 30.0

# Data that nobody needs after a crash of the machine: do not wait for the disk.
THROW_AWAY = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


class PostgresError(LocalProcessError):
    """PostgreSQL is missing, or could not be set up or started."""


class PostgresServer:
    """
    A PostgreSQL server on 127.0.0.1 with a random password; its data go when it is closed.

    It runs with ``fsync`` off and is for throw-away data only. PostgreSQL refuses to run as root: then it runs as
    ``postgres`` if there is such an account, else as ``nobody``. If this process dies, the server ends with it.

    :param directory: Existing directory for data and log; the account PostgreSQL runs as must be able to reach it.
        Default: a temporary one that is removed on ``close``.
    :param port: TCP port. 0: a free one, chosen on the first start.
    :param max_connections: How many clients may be connected at the same time.
    :raises PostgresError: if PostgreSQL is not installed.
    """

    def __init__(self, directory: Path | None = None, *, port: int = 0, max_connections: int = 200) -> None:
        self._own_directory = directory is None
        self.directory = directory or Path(tempfile.mkdtemp(prefix="airflow-eks-dask-postgres-"))
        self.port = port
        self.max_connections = max_connections
        self.log_file = self.directory / "postgres.log"
        self._data = self.directory / "data"
        self._password = secrets.token_urlsafe(24)
        self._account = _account() if os.geteuid() == 0 else None
        self._processes = ProcessSet([self.directory] if self._own_directory else [])
        self._server: Child | None = None
        try:
            self._give_away(self.directory)
            self._binaries = self._find_binaries()
        except BaseException:
            self._remove_own_directory()
            raise

    @property
    def pid(self) -> int | None:
        """Process id of the server; None if it is not running."""
        return self._server.popen.pid if self._server and self._server.running else None

    def dsn(self, database: str = "postgres") -> str:
        """Return the address of a database, password included, as libpq and Airflow connections take it."""
        return self._address(self.port, database)

    def sqlalchemy_url(self, database: str = "postgres") -> str:
        """Return the address of a database, password included, as SQLAlchemy takes it."""
        return self.dsn(database).replace("postgresql://", "postgresql+psycopg2://", 1)

    def pgpass(self) -> str:
        """Return the line for libpq's password file that gives access to all databases."""
        return f"127.0.0.1:{self.port}:*:{USER}:{self._password}\n"

    def start(self) -> None:
        """
        Start the server and wait until it answers; the first time, create its data.

        :raises PostgresError: if it does not start; the message holds the end of its log.
        """
        if self.pid is not None:
            return
        if not self._data.exists():
            self._initialize()
        # A free port may be taken by somebody else before PostgreSQL opens it: then try another one.
        attempts = 1 if self.port else START_ATTEMPTS
        for attempt in range(1, attempts + 1):
            port = self.port or free_port()
            try:
                self._start_on(port)
            except PostgresError:
                if attempt == attempts or "Address already in use" not in self.log_file.read_text():
                    raise
                log.info("Port %s was taken meanwhile, trying another one", port)
                continue
            self.port = port
            return

    def stop(self) -> None:
        """End the server as PostgreSQL's fast shutdown does; data and port stay for the next ``start``."""
        if self._server is not None:
            self._processes.stop(self._server)
            self._server = None

    def restart(self) -> None:
        """Stop the server, which ends its clients' connections, and start it with the same data and port."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End the server and remove its data, if they are in a directory of its own."""
        self._processes.close()
        self._server = None
        self._remove_own_directory()

    def create_database(self, name: str) -> None:
        """
        Create an empty database.

        :param name: Its name.
        :raises psycopg2.errors.DuplicateDatabase: if there is one of that name.
        """
        with self._connection() as connection, connection.cursor() as cursor:
            cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Any]:
        connection = psycopg2.connect(self.dsn(), connect_timeout=5)
        try:
            # CREATE DATABASE refuses to run inside a transaction.
            connection.autocommit = True
            yield connection
        finally:
            connection.close()

    def _address(self, port: int, database: str = "postgres") -> str:
        return f"postgresql://{USER}:{self._password}@127.0.0.1:{port}/{database}"

    def _find_binaries(self) -> Path:
        """Return the directory of a PostgreSQL that the server's account can run."""
        problems = []
        for candidate in binary_directories():
            problem = self._problem_with(candidate)
            if problem is not None and candidate.parent.parent.name == WHEEL:
                # An environment beneath a private home directory: the wheel's PostgreSQL runs from anywhere.
                candidate = self._copy_of_wheel(candidate)
                problem = self._problem_with(candidate)
            if problem is None:
                return candidate
            problems.append(problem)
        explanation = (
            f"No PostgreSQL found that can be run here. Looked for {' and '.join(PROGRAMS)} {places()}. "
            "Install one of them, for example: pip install 'airflow-eks-dask[demo]'"
        )
        raise PostgresError("\n".join([explanation, *problems]))

    def _problem_with(self, directory: Path) -> str | None:
        """Say why the programs in a directory cannot be run; None if they can."""
        for program in PROGRAMS:
            try:
                self._run([str(directory / program), "--version"])
            except (OSError, subprocess.SubprocessError) as error:
                return f"Cannot run {directory / program}: {error} {getattr(error, 'stdout', None) or ''}".rstrip()
        return None

    def _copy_of_wheel(self, binaries: Path) -> Path:
        """Copy the wheel's PostgreSQL to where the server's account can reach it."""
        install, package = binaries.parent, binaries.parent.parent
        copy = self.directory / WHEEL / install.name
        shutil.copytree(install, copy, symlinks=True, dirs_exist_ok=True)
        # The programs look for their libraries beside the package.
        libraries = package.with_name(f"{WHEEL}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, self.directory / libraries.name, dirs_exist_ok=True)
        for path in self.directory.rglob("*"):
            self._give_away(path)
        return copy / "bin"

    def _initialize(self) -> None:
        """Create the data directory, with the password in it but not in any command line."""
        password_file = self.directory / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self._password)
        self._give_away(password_file)
        command = [str(self._binaries / "initdb"), "-D", str(self._data), "-U", USER, "--pwfile", str(password_file)]
        command += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        try:
            self._run(command)
        except (OSError, subprocess.SubprocessError) as error:
            shutil.rmtree(self._data, ignore_errors=True)
            output = getattr(error, "stdout", None) or ""
            raise PostgresError(f"PostgreSQL could not create its data in {self._data}: {error}\n{output}") from error
        finally:
            password_file.unlink()

    def _start_on(self, port: int) -> None:
        options = {
            "listen_addresses": "127.0.0.1",
            # TCP only: a socket file would need a directory that both accounts may use.
            "unix_socket_directories": "",
            "max_connections": str(self.max_connections),
            **THROW_AWAY,
        }
        command = [str(self._binaries / "postgres"), "-D", str(self._data), "-p", str(port)]
        for name, value in options.items():
            command += ["-c", f"{name}={value}"]
        self.log_file.unlink(missing_ok=True)
        server = self._processes.start(
            "PostgreSQL",
            command,
            log_file=self.log_file,
            env=_environment(),
            # PostgreSQL's fast shutdown: does not wait for clients to leave.
            stop_signal=signal.SIGINT,
            cwd="/",
            **self._as_account(),
        )
        try:
            self._wait_until_ready(server, port)
        except BaseException:
            self._processes.stop(server)
            raise
        self._server = server

    def _wait_until_ready(self, server: Child, port: int) -> None:
        deadline = time.monotonic() + READY_TIMEOUT
        while True:
            if not server.running:
                raise PostgresError(f"PostgreSQL did not start on port {port}: {server.failure()}")
            try:
                psycopg2.connect(self._address(port), connect_timeout=5).close()
            except psycopg2.OperationalError as error:
                if time.monotonic() > deadline:
                    raise PostgresError(
                        f"PostgreSQL on port {port} gave no answer within {READY_TIMEOUT:.0f} s: {error}. "
                        f"See {self.log_file}."
                    ) from error
                time.sleep(0.05)
            else:
                return

    def _run(self, command: list[str]) -> None:
        subprocess.run(
            command,
            check=True,
            env=_environment(),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            **self._as_account(),
        )

    def _as_account(self) -> dict[str, Any]:
        if self._account is None:
            return {}
        return {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}

    def _give_away(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.pw_uid, self._account.pw_gid, follow_symlinks=False)

    def _remove_own_directory(self) -> None:
        if self._own_directory:
            shutil.rmtree(self.directory, ignore_errors=True)


def _account() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise PostgresError(
        "PostgreSQL refuses to run as root, and there is neither an account 'postgres' nor 'nobody' to run it as."
    )


def _environment() -> dict[str, str]:
    """Return what PostgreSQL needs of our environment: it has no use for our secrets."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
