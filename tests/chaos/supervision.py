"""What systemd or Kubernetes do: start again what has ended."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from airflow_eks_dask.local.processes import LocalProcessError

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self

log = logging.getLogger(__name__)

INTERVAL = 0.2


class Supervision:
    """
    Looks after services until it is left.

    :param services: By name, what starts each if it does not run, and else does nothing.
    """

    def __init__(self, services: dict[str, Callable[[], None]]) -> None:
        self._services = services
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._keep, args=(name, ensure), name=f"supervision of {name}", daemon=True)
            for name, ensure in services.items()
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(150)

    def _keep(self, name: str, ensure: Callable[[], None]) -> None:
        while not self._stop.wait(INTERVAL):
            try:
                ensure()
            except LocalProcessError as error:
                # As a service manager would: it comes back when what it needs does.
                log.warning("%s did not start, once more: %s", name, error)
