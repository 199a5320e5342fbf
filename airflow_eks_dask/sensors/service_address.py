"""The sensor that waits until a Service in Kubernetes is reached."""

from __future__ import annotations

import time
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator, PokeReturnValue
from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException

from airflow_eks_dask.operators._deferral import is_deferrable
from airflow_eks_dask.operators._kubernetes import KubernetesOperator, secret_problems
from airflow_eks_dask.operators._text import is_true
from airflow_eks_dask.triggers.service_address import ServiceAddressTrigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_eks_dask.resources.service_address import ServiceAddress, ServiceAddressWatch


class ServiceAddressSensor(KubernetesOperator, BaseSensorOperator):
    """
    Wait until a Service in Kubernetes is reached, step by step.

    The Service is there, and has an address; DNS knows it; a TCP connection is made; with TLS, the server shows a
    certificate that counts. A server that asks for one of ours, as Dask does, gets none: this much needs no key. Each
    step is logged, with what Kubernetes tells of the Service while one hangs; what hung, and why, is in the error.

    The address is that of the load balancer, or of a Service of type ClusterIP its name in the cluster, which is where
    Airflow then has to run. Returns ``tls://host:port``, or ``tcp://host:port`` without TLS: ``address`` of
    :class:`.VerifyDaskEndpointOperator` and :class:`.PublishDaskEndpointOperator`.

    .. code-block:: python

        ServiceAddressSensor(
            task_id="dask_address",
            namespace="pipelines",
            service="pipeline-scheduler",
            tls_secret="pipelines/pipeline-client-tls",
            eks_cluster_name="pipelines",
            deferrable=True,
            queue="local",
        )

    :param namespace: Where the Service is.
    :param service: Its name.
    :param port: Number or name of its port; None: the only one.
    :param tls: Whether the server has to speak TLS, with a certificate for its host's name from an authority that the
        system trusts; with one of the next two, from that authority, and the name does not count.
    :param tls_ca: File (PEM) with the certificate of the authority, where the task runs.
    :param tls_secret: Instead, ``namespace/name`` of a Secret that has it as ``ca.crt``.
    :param deferrable: Whether to wait in the triggerer, without a slot. Default: ``[operators] default_deferrable``.
    :param poke_interval: Seconds between two looks.
    :param timeout: Seconds until it has to be reached.
    """

    template_fields: Sequence[str] = (
        *KubernetesOperator.template_fields,
        "namespace",
        "service",
        "port",
        "tls",
        "tls_ca",
        "tls_secret",
    )
    ui_color = "#d5e2f0"

    def __init__(
        self,
        *,
        namespace: str,
        service: str,
        port: int | str | None = None,
        tls: bool | str = False,
        tls_ca: str | None = None,
        tls_secret: str | None = None,
        deferrable: bool | None = None,
        poke_interval: float = 10,
        timeout: float = 1200,
        **kwargs: Any,
    ) -> None:
        super().__init__(poke_interval=poke_interval, timeout=timeout, **kwargs)
        self.namespace = namespace
        self.service = service
        self.port = port
        self.tls = tls
        self.tls_ca = tls_ca
        self.tls_secret = tls_secret
        self.deferrable = is_deferrable(deferrable)

    def execute(self, context: Context) -> str:
        """
        Wait.

        :return: The address.
        :raises AirflowSensorTimeout: It was not reached in time.
        :raises ServiceAddressError: It never will be.
        :raises KubernetesError: Kubernetes refused, or was not reached.
        :raises ValueError: Something is wrong with the parameters.
        """
        if problems := self.problems():
            raise ValueError("What is wanted can't be: " + "; ".join(problems))
        with self.watch as watch:
            address = watch.look().address if self.deferrable else self._wait(context)
        if not address:
            self.defer(
                trigger=ServiceAddressTrigger(
                    wanted=self.wanted.to_json(),
                    poke_interval=self.poke_interval,
                    deadline=time.time() + self.timeout,
                ),
                method_name="resume",
            )
        return str(address)

    def poke(self, context: Context) -> PokeReturnValue:
        """Look once."""
        address = self.watch.look().address
        return PokeReturnValue(is_done=bool(address), xcom_value=address)

    def resume(self, context: Context, event: dict[str, Any]) -> str:
        """Go on after the wait in the triggerer."""
        from airflow_eks_dask.resources.service_address import ServiceAddressError

        if late := event.get("late"):
            raise AirflowSensorTimeout(late)
        if error := event.get("error"):
            raise ServiceAddressError(error)
        return str(event["address"])

    def problems(self) -> list[str]:
        """Say all that is wrong with the parameters, without asking anybody."""
        names = {"namespace": self.namespace, "service": self.service}
        found = [f"{name} is empty" for name, value in names.items() if not value]
        if isinstance(self._port, int) and not 0 < self._port < 65536:
            found.append(f"port = {self.port!r}: is none")
        if self.tls_ca and self.tls_secret:
            found.append("tls_ca and tls_secret are given: choose one")
        if self.tls_secret:
            found += secret_problems("tls_secret", self.tls_secret)
        return found + self._authority_problems() + self.cluster.problems()

    @cached_property
    def wanted(self) -> ServiceAddress:
        """The Service, once the templates are rendered."""
        from airflow_eks_dask.resources.service_address import ServiceAddress

        return ServiceAddress(
            cluster=self.cluster,
            namespace=self.namespace,
            service=self.service,
            port=self._port,
            tls=is_true(self.tls) or bool(self.tls_ca or self.tls_secret),
            authority=self._authority(),
            tls_secret=self.tls_secret or None,
        )

    @cached_property
    def watch(self) -> ServiceAddressWatch:
        """What looks at it."""
        from airflow_eks_dask.resources.service_address import ServiceAddressWatch

        return ServiceAddressWatch(self.wanted, self.log)

    def _wait(self, context: Context) -> str:
        try:
            return str(super().execute(context))
        except (AirflowSensorTimeout, AirflowSkipException) as error:
            if error.__cause__ is not None:
                raise  # an error that is to be a skip
            # Airflow's own words tell only that time was up.
            raise type(error)(self.watch.late()) from error

    @property
    def _port(self) -> int | str | None:
        text = str(self.port or "").strip()
        return int(text) if text.isdigit() else text or None

    def _authority(self) -> str | None:
        from airflow_eks_dask.resources.reachability import only_certificates

        return only_certificates(Path(self.tls_ca).read_bytes()) if self.tls_ca else None

    def _authority_problems(self) -> list[str]:
        try:
            self._authority()
        except OSError as error:
            return [f"tls_ca = {self.tls_ca!r}: {error.strerror}"]
        except ValueError as error:
            return [f"tls_ca = {self.tls_ca!r} holds no certificate: {error}"]
        return []
