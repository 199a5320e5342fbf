"""One run at a time for a cluster: two that build or remove the same one would undo each other's work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException

from airflow_eks_dask.bootstrap.form import DEFAULT_CLUSTER_NAME
from airflow_eks_dask.hooks.airflow_api import AirflowApi, AirflowApiError, find_api

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow.sdk import Context

BOOTSTRAP = "eks_dask_bootstrap"
TEARDOWN = "eks_dask_teardown"


def refuse_second(context: Context) -> None:
    """
    Fail a task whose run is not the first that works on its cluster. Every task calls it before it does anything.

    The first is the one that was queued first: so a run that failed, and whose tasks are cleared while another one is
    at work, has to wait, too. A run that changes nothing is never in the way.

    :raises AirflowFailException: Another run works on the cluster, or that can't be found out.
    """
    params = context["params"]
    if params.get("plan_only"):
        return
    try:
        with AirflowApi(find_api(params["airflow_api_conn_id"])) as api:
            active = [run for dag_id in (BOOTSTRAP, TEARDOWN) for run in api.active_runs(dag_id)]
    except (AirflowApiError, ValueError) as error:
        raise AirflowFailException(
            f"Whether another run works on the cluster {params['cluster_name']} could not be found out: {error}"
        ) from None
    ours = context["dag_run"]
    if other := first_other(active, ours.dag_id, ours.run_id, params):
        raise AirflowFailException(
            f"Run {other['dag_run_id']} of {other['dag_id']} works on the cluster {params['cluster_name']}. Wait until "
            "it has ended, or end it, then clear this task; or choose another name"
        )


def first_other(
    active: Iterable[Mapping[str, Any]], dag_id: str, run_id: str, params: Mapping[str, Any]
) -> Mapping[str, Any] | None:
    """
    Return the run that works on a cluster, if it is another than ours.

    :param active: Runs that are queued or running, as the REST API tells them.
    :param dag_id: Of our run.
    :param run_id: Of our run.
    :param params: Of our run.
    """
    rivals = [run for run in active if _is_same_cluster(run.get("conf") or {}, params)]
    first = min(rivals, key=lambda run: (run["queued_at"] or "", run["dag_id"], run["dag_run_id"]), default=None)
    return None if first is None or (first["dag_id"], first["dag_run_id"]) == (dag_id, run_id) else first


def _is_same_cluster(conf: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    """Tell whether another run is about the same cluster; what it wasn't given is what the form has for all."""
    if conf.get("plan_only"):
        return False
    regions = {conf.get("region_name") or "", params.get("region_name") or ""}
    # Without a region it is the connection's, which may be the one that the other names.
    return conf.get("cluster_name", DEFAULT_CLUSTER_NAME) == params["cluster_name"] and (
        len(regions) == 1 or "" in regions
    )
