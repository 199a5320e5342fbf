"""The plugin that has a nanny, told to stop by a signal, wait until its worker's workloads have ended."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, ClassVar

from distributed.diagnostics.plugin import NannyPlugin

from airflow_eks_dask.worker.protocol import PLUGIN_NAME
from airflow_eks_dask.worker.stop_signals import StopSignals, is_dask_command

if TYPE_CHECKING:
    import signal

    from distributed.nanny import Nanny

log = logging.getLogger(__name__)

POLL = 1.0
"""Seconds that the nanny waits for one answer of its worker, and so for a second signal to take effect."""

POLL_TIMEOUT = 30.0
"""Seconds after which a worker that does not answer is given up."""


class DrainingNannyPlugin(NannyPlugin):
    """
    Lets the worker's workloads finish before a signal takes effect.

    distributed awaits a plugin's teardown before it closes the worker process. The nannies of one process
    (``dask worker --nworkers``) share the signals.
    """

    name = PLUGIN_NAME
    idempotent = True
    _signals: ClassVar[StopSignals | None] = None

    def setup(self, nanny: Nanny) -> None:
        """Watch for signals if this process is ``dask worker``, and not one that hosts a cluster among other things."""
        if DrainingNannyPlugin._signals is None and is_dask_command():
            DrainingNannyPlugin._signals = StopSignals(asyncio.get_running_loop(), self._heard, pass_on=True)
            DrainingNannyPlugin._signals.install()

    async def teardown(self, nanny: Nanny) -> None:
        """Wait until the worker has drained, if a signal is why it ends."""
        signals = DrainingNannyPlugin._signals
        if signals is None or not signals.count:
            return
        signals.install()
        address = nanny.worker_address
        while address and nanny.is_alive():
            try:
                worker = nanny.rpc(address)
                leave = worker.airflow_leave(at_once=signals.count > 1, wait=POLL)
                if await asyncio.wait_for(leave, POLL_TIMEOUT):
                    return
            except (OSError, asyncio.TimeoutError) as error:
                log.warning("Worker %s does not answer, and is not waited for: %s", address, error)
                return

    @staticmethod
    def _heard(number: signal.Signals, times: int) -> None:
        if times == 1:
            log.info("%s: closing when the Airflow workloads have ended. Once more: at once.", number.name)
