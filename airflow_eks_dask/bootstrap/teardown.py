"""The DAG that takes a cluster down: tasks come home first, and all goes in the order that AWS needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, BaseOperator, TaskGroup, TriggerRule, chain, task
from airflow.sdk.exceptions import AirflowFailException

from airflow_eks_dask.bootstrap import notes, remembered
from airflow_eks_dask.bootstrap.admins import all_admins
from airflow_eks_dask.bootstrap.aws import example_settings, is_wanted
from airflow_eks_dask.bootstrap.dag import DEFAULTS
from airflow_eks_dask.bootstrap.form import teardown_form
from airflow_eks_dask.bootstrap.kubernetes import CHART_TIMEOUT, in_cluster, namespace
from airflow_eks_dask.bootstrap.parts import FOR_NODES, ON_NODES, addon_part, static_parts
from airflow_eks_dask.bootstrap.planning import settings_of
from airflow_eks_dask.bootstrap.preflight import RecallOperator, connection_of
from airflow_eks_dask.bootstrap.runs import TEARDOWN
from airflow_eks_dask.bootstrap.settings import RELEASE
from airflow_eks_dask.bootstrap.templates import FORM, returned, setting, wanted
from airflow_eks_dask.hooks.aws import AwsClients
from airflow_eks_dask.hooks.dask import ownership_mark
from airflow_eks_dask.operators.access import DeleteAccessEntryOperator
from airflow_eks_dask.operators.cluster_services import DeleteClusterServiceOperator, DeleteEksAdminOperator
from airflow_eks_dask.operators.dask_endpoint import WithdrawDaskEndpointOperator
from airflow_eks_dask.operators.helm import UninstallHelmReleaseOperator
from airflow_eks_dask.operators.leftovers import LeftoversOperator
from airflow_eks_dask.operators.load_balancers import DeleteLoadBalancersOperator
from airflow_eks_dask.resources.database import find_database
from airflow_eks_dask.resources.eks import find_cluster
from airflow_eks_dask.resources.leftovers import DATA

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow_eks_dask.bootstrap.settings import Settings

GROUPS = {
    "home": "Tasks run at home again, and those on the cluster end",
    "in_cluster": "What runs in Kubernetes goes, and with it its load balancers",
    "nodes": "Nodes, add-ons and access go",
    "cluster": "The control plane goes",
    "data": "Database and bucket are kept, or go",
    "network": "Network and roles go",
    "end": "What is left",
}
"""What each task group is about, by its name."""

OF_A_DATABASE = ("ec2:*", "cloudformation:stack", "rds:*", "secretsmanager:secret")
"""The kinds of things that a database needs which is kept: a network, above all."""

LATER: dict[str, Any] = {"trigger_rule": TriggerRule.NONE_FAILED}
"""For tasks after those that may be skipped."""


class TeardownFormOperator(RecallOperator):
    """Finds out what is to go, and what is kept."""

    def read(self, params: Mapping[str, Any]) -> Settings:
        """
        Return what is remembered of the cluster whose name was typed twice.

        :raises AirflowFailException: The names differ, or the cluster is not known.
        """
        if params["cluster_name"] != params["cluster_name_again"]:
            typed = f"{params['cluster_name']!r} and {params['cluster_name_again']!r}"
            raise AirflowFailException(f"The names {typed} differ: nothing is removed")
        return super().read(params)

    def more(self, params: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
        """
        Return what is kept.

        That is ``keeps`` (whether to keep database and bucket), ``final_snapshot``, ``network_goes`` and ``keep`` (the
        kinds of things that are kept on purpose).
        """
        keeps_database = params["database"] == "keep"
        stays = keeps_database and find_database(self.aws, settings.cluster_name) is not None
        kinds = [kind for kind in DATA if kind != "s3:bucket" or params["keep_bucket"]]
        return {
            "keeps": {"database": keeps_database, "bucket": params["keep_bucket"]},
            "final_snapshot": params["database"] != "delete",
            # A database that stays is in it.
            "network_goes": not stays,
            "keep": [*kinds, *(OF_A_DATABASE if stays else ())],
        }


@task.short_circuit(task_id="is_published", ignore_downstream_trigger_rules=False)
def is_published(**context: Any) -> bool:
    """Tell whether tasks were moved to this cluster; a connection of others is left alone."""
    settings = settings_of(context)  # type: ignore[arg-type]
    found = connection_of(settings)
    return found is not None and found.get("description") == ownership_mark(settings.known_as)


@task.short_circuit(task_id="is_there", ignore_downstream_trigger_rules=False)
def is_there(**context: Any) -> bool:
    """Tell whether there is a cluster to remove things from."""
    settings = settings_of(context)  # type: ignore[arg-type]
    found = find_cluster(AwsClients(settings.aws_conn_id, settings.region_name), settings.cluster_name)
    return found is not None and found["status"] in ("ACTIVE", "UPDATING")


@task(task_id="forget")
def forget(**context: Any) -> None:
    """Forget the cluster, of which nothing is left but what is kept."""
    settings = settings_of(context)  # type: ignore[arg-type]
    remembered.forget(settings)
    kept = context["ti"].xcom_pull(task_ids="end.leftovers")["kept"]
    notes.write(context, settings.airflow_api_conn_id, notes.of_teardown(settings, kept))  # type: ignore[arg-type]


def teardown_dag(doc: str | None, **defaults: Any) -> DAG:
    """
    Return the DAG that takes a cluster down.

    :param doc: Markdown that explains it.
    :param defaults: Parameters of all tasks, over those of the DAG that builds one.
    """
    with DAG(
        TEARDOWN,
        schedule=None,
        catchup=False,
        tags=["eks", "dask"],
        doc_md=doc,
        params=teardown_form(),
        default_args={**DEFAULTS, **defaults},
        render_template_as_native_obj=True,
    ) as dag:
        with TaskGroup("preflight", tooltip="What is to go"):
            form = TeardownFormOperator(
                task_id="form", aws_conn_id="{{ params.aws_conn_id }}", region_name="{{ params.region_name }}"
            )
        groups = {name: TaskGroup(name, tooltip=tooltip) for name, tooltip in GROUPS.items()}
        _home(groups["home"])
        _in_cluster(groups)
        _in_aws(form, groups)
        # Tasks on the cluster may need the data until they have ended.
        form >> groups["home"] >> groups["data"]
    return dag


def _home(group: TaskGroup) -> None:
    with group:
        is_published() >> WithdrawDaskEndpointOperator(
            task_id="withdraw",
            cluster_name=returned(FORM, "known_as"),
            connection_id=setting("connection_id"),
            airflow_api_conn_id=setting("airflow_api_conn_id"),
        )


def _in_cluster(groups: dict[str, TaskGroup]) -> None:
    with groups["in_cluster"]:
        # Of all that comes after others that may be skipped, the first alone has to know.
        gate = is_there.override(**LATER)()
        groups["home"] >> gate
        gone = [
            UninstallHelmReleaseOperator(
                task_id="release", release=RELEASE, namespace=namespace(), helm_timeout=CHART_TIMEOUT, **in_cluster()
            ),
            DeleteClusterServiceOperator(task_id="headlamp", service="headlamp", **in_cluster()),
            DeleteClusterServiceOperator(task_id="prometheus", service="prometheus", **in_cluster()),
            DeleteEksAdminOperator(task_id="eks_admin", **in_cluster()),
        ]
        gate >> gone >> DeleteLoadBalancersOperator(task_id="load_balancers", vpc_id=setting("vpc_id"), **LATER)


def _in_aws(form: BaseOperator, groups: dict[str, TaskGroup]) -> None:
    tasks = _deletions(groups)
    with groups["nodes"]:
        admins = all_admins.override(**LATER)()
        mapped = DeleteAccessEntryOperator.partial(task_id="admins", cluster_name=setting("cluster_name")).expand(
            principal_arn=admins
        )
    balancers = groups["in_cluster"]
    on_nodes, for_nodes = ([tasks[addon_part(name)] for name in names] for names in (ON_NODES, FOR_NODES))
    balancers >> [*on_nodes, tasks["access.oidc_provider"], tasks["access.worker_role"], admins]
    [*on_nodes, tasks["access.oidc_provider"], tasks["access.worker_role"], mapped] >> tasks["nodes.nodes"]
    chain(tasks["nodes.nodes"], for_nodes, tasks["cluster.cluster"])
    with groups["network"]:
        remains = DeleteLoadBalancersOperator(task_id="interfaces", vpc_id=setting("vpc_id"))
        goes = is_wanted.override(task_id="network_goes")(returned(FORM, "network_goes"))
    tasks["cluster.cluster"] >> [remains, *(each for name, each in tasks.items() if name.startswith("roles."))]
    chain(tasks["database.instance"], [tasks["database.subnets"], tasks["database.security_group"]], goes)
    [remains, goes] >> tasks["network.network"]
    with groups["end"]:
        left = LeftoversOperator(
            task_id="leftovers",
            cluster_name=setting("cluster_name"),
            keep=cast("list[str]", returned(FORM, "keep")),
        )
        # Whatever has come of the rest; but it has to be known what was to go.
        ended = EmptyOperator(task_id="all_ended", trigger_rule=TriggerRule.ALL_DONE)
        ended >> left >> forget()
    [groups["network"], groups["data"]] >> ended
    form >> left


def _deletions(groups: dict[str, TaskGroup]) -> dict[str, BaseOperator]:
    """Make the tasks that delete parts in AWS; return them by the names of the parts."""
    places = {"access": "nodes", "addons": "nodes", "database": "data", "bucket": "data", "roles": "network"}
    kept = {"database.subnets", "database.security_group", "database.instance", "bucket.bucket"}
    tasks: dict[str, BaseOperator] = {}
    for part in static_parts(example_settings()):
        if part.name == "database.existing":
            continue
        group, _, name = part.name.partition(".")
        more: dict[str, Any] = {"keep": returned(FORM, "keeps", group)} if part.name in kept else {}
        if part.name == "database.instance":
            more["final_snapshot"] = returned(FORM, "final_snapshot")
        task_id = f"{name}_role" if group == "roles" else name
        tasks[part.name] = part.delete(
            task_id=task_id, task_group=groups[places.get(group, group)], **wanted(part, part.identity), **more, **LATER
        )
    return tasks
