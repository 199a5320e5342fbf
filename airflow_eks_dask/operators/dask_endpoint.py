"""Operators that verify a Dask cluster, have Airflow's tasks run there, and take them home again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from airflow.configuration import conf
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from airflow_eks_dask.executors.settings import DaskSettings
from airflow_eks_dask.hooks import dask_check
from airflow_eks_dask.hooks.airflow_api import AirflowApi, AirflowApiError, find_api
from airflow_eks_dask.hooks.dask import connection_fields, endpoint_of, ownership_mark
from airflow_eks_dask.hooks.dask_check import Check, Checked, DaskClusterError, DaskUnreachableError
from airflow_eks_dask.operators._dask_endpoint import DaskEndpointOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_eks_dask.endpoint import Endpoint


class VerifyDaskEndpointOperator(DaskEndpointOperator):
    """
    Find out whether a Dask cluster can run Airflow's tasks, waiting until it can. Changes nothing in Airflow.

    Connects with mutual TLS; compares versions of Python, Dask, Airflow and this package with those of the Dask
    scheduler and of each worker; has the workers warm up, and waits for their slots; sends a function through each of
    them and back, which also tries whether Airflow's execution API can be reached from there. Returns ``address``,
    ``versions``, ``workers``, ``slots`` and ``seconds``, which the way through all workers took.

    .. code-block:: python

        VerifyDaskEndpointOperator(
            task_id="cluster_answers",
            address="tls://dask.example.com:8786",
            tls_ca="/etc/airflow/dask/ca.pem",
            tls_cert="/etc/airflow/dask/client.pem",
            tls_key="/etc/airflow/dask/client-key.pem",
            minimum_slots=4,
            queue="local",
        )

    :param minimum_slots: How many tasks the cluster has to be able to run at a time.
    :param timeout: Seconds until it has to be so.
    :param poll_interval: Seconds between two looks.
    :param check_execution_api: Whether workers have to reach Airflow's execution API.
    """

    ui_color = "#e2d5f0"

    def __init__(
        self,
        *,
        minimum_slots: int = 1,
        timeout: float = 600,
        poll_interval: float = 2,
        check_execution_api: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.minimum_slots = minimum_slots
        self.timeout = timeout
        self.poll_interval = poll_interval
        self.check_execution_api = check_execution_api

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Verify.

        :raises DaskClusterError: The cluster can't run tasks, or something is wrong with what is wanted.
        """
        self.refuse(self.problems())
        return self.verify(self.read_endpoint()).to_json()

    def verify(self, endpoint: Endpoint) -> Checked:
        """
        Find out whether a cluster can run tasks.

        :raises DaskClusterError: It can't, or not in time.
        """
        checked = dask_check.run(
            Check(
                endpoint=endpoint,
                options=DaskSettings.from_configuration(conf).worker_options,
                minimum_slots=self.minimum_slots,
                timeout=self.timeout,
                poll_interval=self.poll_interval,
                execution_api=self.check_execution_api,
            )
        )
        self.log.info(
            "A function went to all %d workers of %s and back in %.1f s",
            len(checked.workers),
            checked.address,
            checked.seconds,
        )
        return checked


class PublishDaskEndpointOperator(VerifyDaskEndpointOperator):
    """
    Verify a Dask cluster, then have Airflow's tasks run there: writes the connection that the executor watches.

    The executor moves over within seconds, without a restart; running tasks finish where they are. The task ends when
    it has. Returns what the verification does, and ``connection_id``.

    Tasks of Airflow have no database, and the API that they are given writes no connections. So this goes through
    Airflow's REST API, as the user of the connection ``airflow_api_conn_id``, who may edit connections; without such a
    connection to ``[api] base_url``, where nobody has to log in. A connection that was not written for the same cluster
    is refused.

    .. code-block:: python

        PublishDaskEndpointOperator(
            task_id="tasks_run_there",
            cluster_name="pipelines",
            address="{{ ti.xcom_pull('dask_address') }}",
            tls_secret="dask/pipeline-client-tls",
            eks_cluster_name="pipelines",
            queue="local",
        )

    :param cluster_name: What the cluster is called; by it the connection is known again.
    :param connection_id: The connection, as ``[dask] connection_id`` or one of ``[dask] lanes`` names it.
    :param airflow_api_conn_id: Connection to Airflow's REST API: the API server's address as host, login and password,
        or a token as password alone.
    :param wait_for_executor: Seconds that the executor may take to move over; 0 not to wait for it.
    """

    template_fields: Sequence[str] = (
        *VerifyDaskEndpointOperator.template_fields,
        "cluster_name",
        "connection_id",
        "airflow_api_conn_id",
    )

    def __init__(
        self,
        *,
        cluster_name: str,
        connection_id: str = "dask_default",
        airflow_api_conn_id: str = "airflow_api",
        wait_for_executor: float = 120,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cluster_name = cluster_name
        self.connection_id = connection_id
        self.airflow_api_conn_id = airflow_api_conn_id
        self.wait_for_executor = wait_for_executor

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Verify and publish.

        :raises DaskClusterError: The cluster can't run tasks, or the executor does not move there.
        :raises AirflowApiError: The connection can't be written, or is another's.
        """
        self.refuse([*self.problems(), *_name_problems(self.cluster_name)])
        endpoint = self.read_endpoint()
        mask_secret(endpoint.tls_key)
        target = find_api(self.airflow_api_conn_id)
        # Before the long wait, too: what is wrong with the way to write it is then known at once.
        with AirflowApi(target) as api:
            _refuse_foreign(api.connection(self.connection_id), self.connection_id, self.cluster_name)
        checked = self.verify(endpoint)
        body = {
            "connection_id": self.connection_id,
            "description": ownership_mark(self.cluster_name),
            **connection_fields(endpoint),
        }
        with AirflowApi(target) as api:
            _refuse_foreign(api.connection(self.connection_id), self.connection_id, self.cluster_name)
            api.write_connection(body)
        self.log.info("Connection %r leads to %s", self.connection_id, endpoint.address)
        self._read_back(endpoint)
        self._wait_for_executor(endpoint)
        return {**checked.to_json(), "connection_id": self.connection_id}

    def _read_back(self, endpoint: Endpoint) -> None:
        """Make sure that nothing goes before the connection that was written."""
        found = endpoint_of(BaseHook.get_connection(self.connection_id))
        if connection_fields(found) != connection_fields(endpoint):
            raise DaskClusterError(
                f"Connection {self.connection_id!r} was written, but Airflow reads another: a secrets backend or the "
                f"environment variable AIRFLOW_CONN_{self.connection_id.upper()} goes before it. Remove it there"
            )

    def _wait_for_executor(self, endpoint: Endpoint) -> None:
        if not self.wait_for_executor:
            return
        try:
            dask_check.wait_for_executor(
                endpoint, present=True, timeout=self.wait_for_executor, poll_interval=self.poll_interval
            )
        except DaskClusterError as error:
            raise DaskClusterError(
                f"Connection {self.connection_id!r} is written, but {error}. Does the Airflow scheduler run "
                "DaskExecutor, is [dask] cluster_address empty there, does [dask] connection_id or lanes name this "
                f"connection, and does the Airflow scheduler reach {endpoint.address}? Its log says"
            ) from None
        self.log.info("The executor is connected: new tasks run there")


class WithdrawDaskEndpointOperator(DaskEndpointOperator):
    """
    Take back what :class:`PublishDaskEndpointOperator` wrote: new tasks run at home again, on the embedded cluster.

    Then waits until what runs on the Dask cluster has ended, so that the cluster can be taken away. Harmless where
    nothing was published. Returns ``deleted``, the connection's id or None.

    With an address, and TLS material, it also waits if it was killed after it had deleted the connection.

    .. code-block:: python

        WithdrawDaskEndpointOperator(task_id="tasks_come_home", cluster_name="pipelines", queue="local")

    :param cluster_name: As it was published.
    :param connection_id: The connection.
    :param airflow_api_conn_id: Connection to Airflow's REST API, as for publishing.
    :param wait: Seconds that running tasks may take to end; 0 not to wait for them.
    :param poll_interval: Seconds between two looks.
    """

    template_fields: Sequence[str] = (
        *DaskEndpointOperator.template_fields,
        "cluster_name",
        "connection_id",
        "airflow_api_conn_id",
    )
    ui_color = "#f0d0c8"

    def __init__(
        self,
        *,
        cluster_name: str,
        connection_id: str = "dask_default",
        airflow_api_conn_id: str = "airflow_api",
        wait: float = 3600,
        poll_interval: float = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cluster_name = cluster_name
        self.connection_id = connection_id
        self.airflow_api_conn_id = airflow_api_conn_id
        self.wait = wait
        self.poll_interval = poll_interval

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Withdraw.

        :raises DaskClusterError: Tasks still run there when the time is over.
        :raises AirflowApiError: The connection can't be deleted, or is another's.
        """
        self.refuse([*(self.problems() if self.address else []), *_name_problems(self.cluster_name)])
        endpoint = self.read_endpoint() if self.address else self._published()
        with AirflowApi(find_api(self.airflow_api_conn_id)) as api:
            found = api.connection(self.connection_id)
            _refuse_foreign(found, self.connection_id, self.cluster_name)
            if found is None:
                self.log.info("There is no connection %r in Airflow's database", self.connection_id)
            else:
                api.delete_connection(self.connection_id)
                self.log.info("Connection %r is deleted: new tasks run at home", self.connection_id)
        self._wait_until_left(endpoint)
        return {"deleted": self.connection_id if found else None}

    def _published(self) -> Endpoint | None:
        try:
            return endpoint_of(BaseHook.get_connection(self.connection_id))
        except (AirflowNotFoundException, ValueError) as error:
            self.log.info("Connection %r leads nowhere: %s", self.connection_id, error)
            return None

    def _wait_until_left(self, endpoint: Endpoint | None) -> None:
        if endpoint is None or not self.wait:
            return
        if os.environ.get("DASK_SCHEDULER_ADDRESS") == endpoint.address:
            self.log.warning("This task runs on that very cluster, and so does not wait for its tasks to end")
            return
        try:
            dask_check.wait_for_executor(endpoint, present=False, timeout=self.wait, poll_interval=self.poll_interval)
        except DaskUnreachableError as error:
            self.log.warning("What runs there can't be waited for: %s", error)
            return
        except DaskClusterError as error:
            raise DaskClusterError(f"Connection {self.connection_id!r} is gone. {error}") from None
        self.log.info("Nothing of Airflow runs at %s any more", endpoint.address)


def _name_problems(cluster_name: str) -> list[str]:
    return [] if cluster_name and cluster_name.strip() else ["cluster_name is empty"]


def _refuse_foreign(found: dict[str, Any] | None, connection_id: str, cluster_name: str) -> None:
    if found is not None and found.get("description") != ownership_mark(cluster_name):
        raise AirflowApiError(
            f"Connection {connection_id!r} is there already and was not written for {cluster_name!r} (its description "
            f"is {found.get('description')!r}). Delete it, or choose another connection_id"
        )
