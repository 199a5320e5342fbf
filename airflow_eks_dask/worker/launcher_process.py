"""The worker's end of the launcher: start it, hand it workloads, learn how they ended."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from airflow_eks_dask.worker import sessions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eks_dask.worker.protocol import WorkerOptions

log = logging.getLogger(__name__)

START_TIMEOUT = 120.0
"""Seconds the launcher may take to import Airflow: long, for a cold disk and a machine with much to do."""


@dataclass(slots=True)
class RunningWorkload:
    """
    A workload handed to the launcher.

    :param pid: Of the workload process, and so of its session. While there is a launcher, only that sends it signals:
        it knows whether the process has gone on to another workload.
    :param end_reason: Why it was asked to end, if it was.
    """

    pid: int | None = None
    end_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Description:
    """
    What a launcher tells when it is warm.

    :param queues: That the worker's configuration names.
    :param log_folder: Where the worker's workloads write their logs.
    :param memory: Bytes that the launcher takes while nothing runs: its proportional share (PSS) where the system
        knows it, else its resident set.
    """

    queues: tuple[str, ...] = ()
    log_folder: str | None = None
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """
    How a workload process ended.

    :param success: Whether it did its work.
    :param reason: Why not.
    """

    success: bool
    reason: str | None = None


def explain(exit_code: int | None, reason: str | None, end_reason: str | None = None) -> Ended:
    """
    Put the end of a workload process into words.

    :param exit_code: As :func:`os.waitstatus_to_exitcode` gives it; None if the launcher was gone first.
    :param reason: What the workload process itself had to say.
    :param end_reason: Why it was asked to end, if it was.
    """
    if exit_code == 0:
        return Ended(True)
    if end_reason is not None:
        return Ended(False, end_reason)
    if reason is not None:
        return Ended(False, reason)
    if exit_code is None:
        return Ended(False, "the launcher that ran it ended; it was ended with it")
    if exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = " (the machine may be out of memory)" if name == "SIGKILL" else ""
        return Ended(False, f"its supervisor was ended by {name}{hint}")
    return Ended(False, f"its supervisor ended with exit code {exit_code}")


class LauncherProcess:
    """One launcher, from its start to its end."""

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self._process = process
        self._control = control
        self.running: dict[str, RunningWorkload] = {}
        self.description = Description()

    @classmethod
    async def start(cls, environment: Mapping[str, str], options: WorkerOptions) -> LauncherProcess:
        """
        Start a launcher and wait until it is warm.

        :param environment: The environment of all workloads.
        :param options: What it imports.
        :raises RuntimeError: It ended, or was not ready in time.
        """
        modules = [options.workload_module, *options.preload_modules]
        control, theirs = socket.socketpair()
        control.setblocking(False)
        with theirs:
            process = subprocess.Popen(  # noqa: ASYNC220 - starting does not block
                [sys.executable, "-m", "airflow_eks_dask.worker.launcher", str(theirs.fileno()), *modules],
                stdin=subprocess.DEVNULL,
                env=dict(environment),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        launcher = cls(process, control)
        try:
            launcher.description = await asyncio.wait_for(launcher._read_description(), START_TIMEOUT)
        except EOFError:
            await launcher.close()
            raise RuntimeError(f"it ended with exit code {process.returncode} before it was ready") from None
        except BaseException:
            await launcher.close()
            raise
        return launcher

    async def _read_description(self) -> Description:
        line = b""
        while not line.endswith(b"\n"):
            data = await asyncio.get_running_loop().sock_recv(self._control, 65_536)
            if not data:
                raise EOFError
            line += data
        told = json.loads(line)
        memory = await asyncio.to_thread(_memory, self.pid)
        return Description(tuple(told["queues"]), told["log_folder"], memory)

    @property
    def pid(self) -> int:
        """Process id of the launcher."""
        return self._process.pid

    async def wait(self) -> int:
        """Return the launcher's exit code once it has ended, and all workloads with it."""
        # The launcher sends nothing after it is ready: this ends at end of file.
        with suppress(ConnectionError):
            await asyncio.get_running_loop().sock_recv(self._control, 1)
        await self.close()
        return self._process.returncode

    async def run(self, key: str, payload: bytes) -> Ended:
        """
        Run one workload.

        :param key: What :meth:`end` will call it.
        :param payload: The workload as JSON.
        """
        workload = self.running[key] = RunningWorkload()
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                socket.send_fds(self._control, [_order("run", key)], [theirs.fileno()])
            reader, writer = await asyncio.open_connection(sock=ours)
            try:
                writer.write(len(payload).to_bytes(8, "big") + payload)
                return await self._follow(reader, workload)
            finally:
                writer.close()
        except OSError as error:
            return Ended(False, f"the launcher does not take workloads: {error}")
        finally:
            del self.running[key]

    async def _follow(self, reader: asyncio.StreamReader, workload: RunningWorkload) -> Ended:
        exit_code, reason = None, None
        async for line in reader:
            message: dict[str, Any] = json.loads(line)
            reason = message.get("reason", reason)
            workload.pid = message.get("pid", workload.pid)
            if (exit_code := message.get("exit")) is not None:
                break
        if exit_code is None and workload.pid is not None:
            await asyncio.to_thread(sessions.kill, workload.pid)
        return explain(exit_code, reason, workload.end_reason)

    async def end(self, key: str, grace: float, reason: str) -> None:
        """
        End a workload.

        Its supervisor is asked to end (SIGTERM), which lets the task's ``on_kill`` run; after a grace all its
        processes are killed.

        :param grace: Seconds between the two.
        :param reason: What is reported about its end.
        """
        workload = self.running.get(key)
        if workload is None or workload.end_reason is not None:
            return
        workload.end_reason = reason
        self._tell("end", key)
        await asyncio.sleep(grace)
        if self.running.get(key) is workload:
            self._tell("kill", key)

    def _tell(self, order: str, key: str) -> None:
        try:
            self._control.send(_order(order, key))
        except OSError as error:
            log.error("The launcher could not be told to %s a workload: %s", order, error)

    async def close(self, reason: str | None = None) -> None:
        """
        End the launcher and every workload still running.

        :param reason: What is reported about their end.
        """
        for workload in self.running.values():
            workload.end_reason = workload.end_reason or reason
        pids = [workload.pid for workload in self.running.values() if workload.pid is not None]
        self._control.close()
        self._process.kill()
        await asyncio.to_thread(self._process.wait)
        for pid in pids:
            await asyncio.to_thread(sessions.kill, pid)


def _order(order: str, key: str) -> bytes:
    return json.dumps({order: key}).encode() + b"\n"


def _memory(pid: int) -> int | None:
    try:
        memory = psutil.Process(pid).memory_full_info()
    except psutil.Error:
        return None
    return int(getattr(memory, "pss", memory.rss))
