"""The ``[dask]`` section of Airflow's configuration, checked."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from airflow.exceptions import AirflowConfigException

from airflow_eks_dask.endpoint import Endpoint
from airflow_eks_dask.worker.protocol import WorkerOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_LANE = "default"
LOCAL_LANE = "local"
_LANE = re.compile(r"[A-Za-z][\w.-]*")


class Configuration(Protocol):
    """What is needed of Airflow's configuration, global or of one team."""

    def get(self, section: str, option: str, /) -> str | None:
        """Return an option's value."""


@dataclass(frozen=True)
class DaskSettings:
    """
    The options of section ``[dask]``; their meaning is in :mod:`airflow_eks_dask.provider_info`.

    Make it with :meth:`from_configuration`, which refuses what cannot work.

    :param endpoint: Of ``cluster_address``, with its TLS files; None where that is empty.
    :param lanes: The Airflow connection of each further lane, by the lane's name.
    :param default_queue: Airflow's ``[operators] default_queue``.
    """

    endpoint: Endpoint | None
    connection_id: str
    connection_check_interval: float
    lanes: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    slots_per_worker: int = 0
    preload_modules: tuple[str, ...] = ()
    embedded_workers: int = 1
    ship_logs: float = 1
    connect_timeout: float = 10
    reconnect_timeout: float = 300
    drain_timeout: float = 600
    shutdown_timeout: float = 30
    default_queue: str = "default"

    @classmethod
    def from_configuration(cls, configuration: Configuration) -> DaskSettings:
        """
        Read and check the options.

        :raises AirflowConfigException: With everything that is wrong.
        """
        reader = _Reader(configuration)
        settings = cls(
            endpoint=reader.endpoint(),
            connection_id=reader.text("connection_id"),
            connection_check_interval=reader.number("connection_check_interval", minimum=1),
            lanes=reader.lanes(),
            slots_per_worker=reader.whole_number("slots_per_worker", minimum=0),
            preload_modules=reader.modules("preload_modules"),
            embedded_workers=reader.whole_number("embedded_workers", minimum=1),
            ship_logs=reader.number("ship_logs", minimum=0),
            connect_timeout=reader.number("connect_timeout", minimum=0.1),
            reconnect_timeout=reader.number("reconnect_timeout", minimum=1),
            drain_timeout=reader.number("drain_timeout", minimum=0),
            shutdown_timeout=reader.number("shutdown_timeout", minimum=0),
            default_queue=configuration.get("operators", "default_queue") or "default",
        )
        if reader.problems:
            raise AirflowConfigException("Section [dask] of the configuration: " + "; ".join(reader.problems))
        return settings

    @property
    def worker_options(self) -> WorkerOptions:
        """What is asked of each worker."""
        return WorkerOptions(
            self.slots_per_worker,
            self.preload_modules,
            default_queue=self.default_queue,
            drain_timeout=self.drain_timeout,
        )


class _Reader:
    """Reads options and collects what is wrong with them."""

    def __init__(self, configuration: Configuration) -> None:
        self._configuration = configuration
        self.problems: list[str] = []

    def text(self, option: str) -> str:
        return (self._configuration.get("dask", option) or "").strip()

    def words(self, option: str) -> tuple[str, ...]:
        return tuple(word for word in re.split(r"[,\s]+", self.text(option)) if word)

    def number(self, option: str, *, minimum: float) -> float:
        return self._number(option, float, minimum, "number")

    def whole_number(self, option: str, *, minimum: int) -> int:
        return int(self._number(option, int, minimum, "whole number"))

    def _number(self, option: str, type_: type[float], minimum: float, kind: str) -> float:
        value = self.text(option)
        try:
            parsed = type_(value)
        except ValueError:
            parsed = minimum - 1
        if not minimum <= parsed < 1e9:
            self.problems.append(f"{option} = {value!r}: must be a {kind} of at least {minimum:g}")
        return parsed

    def truth(self, option: str) -> bool:
        value = self.text(option).lower()
        if value not in ("true", "false"):
            self.problems.append(f"{option} = {value!r}: must be True or False")
        return value == "true"

    def modules(self, option: str) -> tuple[str, ...]:
        names = self.words(option)
        self.problems += [
            f"{option}: {name!r} is not the name of a module"
            for name in names
            if not all(part.isidentifier() for part in name.split("."))
        ]
        return names

    def lanes(self) -> Mapping[str, str]:
        lanes: dict[str, str] = {}
        for word in self.words("lanes"):
            name, _, connection_id = word.partition("=")
            if not _LANE.fullmatch(name) or not connection_id:
                self.problems.append(f"lanes: {word!r} must look like name=connection_id")
            elif name in (DEFAULT_LANE, LOCAL_LANE) or name in lanes:
                self.problems.append(f"lanes: there is a lane {name!r} already")
            else:
                lanes[name] = connection_id
        return MappingProxyType(lanes)

    def endpoint(self) -> Endpoint | None:
        address = self.text("cluster_address")
        endpoint = Endpoint(
            address, self.text("tls_ca"), self.text("tls_cert"), self.text("tls_key"), self.truth("allow_insecure")
        )
        if address:
            self.problems += endpoint.problems()
            return endpoint
        self.problems += endpoint.tls_problems()
        return None
