"""Brings the logs of finished workloads home, so that they outlive their worker."""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.worker.protocol import LOG_LIMIT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)


async def ask(call: Callable[..., Awaitable[dict[str, Any]]], key: str, offset: int, limit: int) -> dict[str, Any]:
    """
    Ask the Dask scheduler for part of a workload's log.

    :param call: Calls a handler of the Dask scheduler by its name.
    :return: What the handler ``airflow_log`` answers.
    :raises OSError: It does not have it; the message says why.
    """
    answer = await call("airflow_log", key=key, offset=offset, limit=limit)
    if "error" in answer:
        raise OSError(answer["error"])
    return answer


async def read_from(call: Callable[..., Awaitable[dict[str, Any]]], key: str, offset: int, size: int) -> bytes:
    """
    Read a workload's log from an offset, in as many messages as it takes.

    :param size: Of the log, as it was told before; what was written since is left out.
    :raises OSError: The Dask scheduler does not have it.
    """
    parts: list[bytes] = []
    while offset < size:
        data: bytes = (await ask(call, key, offset, min(LOG_LIMIT, size - offset)))["data"]
        if not data:
            break
        parts.append(data)
        offset += len(data)
    return b"".join(parts)


class LogKeeper:
    """
    Copies logs from workers into a folder of this machine.

    :param folder: Airflow's ``[logging] base_log_folder`` here.
    :param limit: Bytes kept of one log at most: those at its end.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        # A thousand workloads that end at once must not take the connection from the next ones.
        self._at_a_time = asyncio.Semaphore(4)

    async def bring_home(self, key: str, call: Callable[..., Awaitable[dict[str, Any]]]) -> None:
        """
        Copy the log of one workload, unless all of it is here already (the worker shares this folder).

        A log that can't be had is told in the executor's own log: the workload has ended, and that is what counts.

        :param key: The workload's.
        :param call: Calls a handler of the Dask scheduler by its name.
        """
        async with self._at_a_time:
            try:
                await self._bring_home(key, call)
            except (OSError, ValueError, asyncio.TimeoutError) as error:
                log.warning("The log of workload %s stays on its worker: %s", key, str(error) or type(error).__name__)

    async def _bring_home(self, key: str, call: Callable[..., Awaitable[dict[str, Any]]]) -> None:
        about = await ask(call, key, 0, 0)
        if about.get("log_path") is None:
            return
        file = self._file(about["log_path"])
        size = int(about["size"])
        if file.exists() and file.stat().st_size >= size:
            return
        start = max(0, size - self._limit)
        data = await read_from(call, key, start, size)
        await asyncio.to_thread(write, file, _from_whole_line(data, start))

    def _file(self, log_path: str) -> Path:
        """Return where a log belongs. The worker is not trusted to say so: the path must stay in the folder."""
        file = self._folder / log_path
        if not file.resolve().is_relative_to(self._folder.resolve()):
            raise ValueError(f"log path {log_path!r} leads out of {self._folder}")
        return file


def _from_whole_line(data: bytes, missing: int) -> bytes:
    if not missing:
        return data
    newline = data.find(b"\n") + 1
    return b"... %d bytes before this were not kept ([dask] ship_logs)\n" % (missing + newline) + data[newline:]


def write(file: Path, data: bytes) -> None:
    """
    Write a file so that readers see all of it or nothing.

    :raises OSError: It could not be written.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            os.fchmod(descriptor, 0o664)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
