"""First: read the form, and find out all that would stop the rest."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import TaskGroup
from airflow.sdk.exceptions import AirflowFailException

from airflow_eks_dask.bootstrap import remembered
from airflow_eks_dask.bootstrap.parts import all_parts
from airflow_eks_dask.bootstrap.settings import Settings
from airflow_eks_dask.bootstrap.templates import has_output, returned, setting
from airflow_eks_dask.bootstrap.values import chart_values
from airflow_eks_dask.hooks.airflow_api import AirflowApi, AirflowApiError, find_api
from airflow_eks_dask.hooks.aws import AwsClients
from airflow_eks_dask.hooks.dask import ownership_mark
from airflow_eks_dask.links.aws import AwsConsoleLink, clusters
from airflow_eks_dask.operators._denial import failing_for_good_if_denied
from airflow_eks_dask.operators._text import TextOperator
from airflow_eks_dask.operators.preflight import PreflightOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context


CHECKED = (
    "cluster_name",
    "kubernetes_version",
    "cidr",
    "vpc_id",
    "zones",
    "nat_gateways",
    "public_access_cidrs",
    "instance_types",
    "spot",
    "max_nodes",
    "database_identifier",
    "bucket_name",
    "image",
)
"""The fields of :class:`.Wanted` that the form knows."""


class FormOperator(TextOperator):
    """
    Finds out what a form means for the account of the credentials.

    Returns ``settings``; ``known_as``, what the cluster is called; ``wanted``, the fields of all parts by name;
    ``preflight``, what is to be checked; and ``values`` of the chart.

    :param aws_conn_id: Airflow connection of type AWS.
    :param region_name: Region; empty for the connection's own.
    """

    template_fields: Sequence[str] = ("aws_conn_id", "region_name")
    operator_extra_links = (AwsConsoleLink(),)
    ui_color = "#dce8f5"

    def __init__(self, *, aws_conn_id: str, region_name: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name

    @cached_property
    def aws(self) -> AwsClients:
        """Clients of AWS."""
        return AwsClients(self.aws_conn_id, self.region_name or None)

    @failing_for_good_if_denied()
    def execute(self, context: Context) -> dict[str, Any]:
        """
        Read.

        :raises AirflowFailException: Something is wrong with it, all of it is told; or AWS has denied a call.
        """
        settings = self.read(context["params"])
        AwsConsoleLink.leave(context, self, self.aws, clusters)
        return {
            "settings": settings.to_json(),
            "known_as": settings.known_as,
            "wanted": wanted_of(settings),
            "preflight": preflight_of(settings),
            "values": chart_values(settings),
            **self.more(context["params"], settings),
        }

    def more(self, params: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
        """Return what a form says that is no setting of the cluster."""
        return {}

    def read(self, params: Mapping[str, Any]) -> Settings:
        """
        Return what a form means.

        :raises AirflowFailException: Something is wrong with it.
        """
        settings = Settings.read(params, self.aws)
        problems = [*settings.problems(), *moved(settings)]
        obstacles = [*settings.way_problems(), *connection_problems(settings)]
        # A plan is of use before all else is in place.
        if not settings.plan_only:
            problems += obstacles
        if problems:
            raise AirflowFailException("The form can't be as it is:\n" + "\n".join(f"- {each}" for each in problems))
        for each in obstacles:
            self.log.warning("Before anything is made: %s", each)
        return settings


class RecallOperator(FormOperator):
    """Finds out what a cluster was built with; for what is done with it later."""

    def read(self, params: Mapping[str, Any]) -> Settings:
        """
        Return what is remembered.

        :raises AirflowFailException: It is not known.
        """
        try:
            return remembered.recall(params["cluster_name"], self.aws)
        except ValueError as error:
            raise AirflowFailException(str(error)) from None


def wanted_of(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the fields of all parts, by name, but for those that other parts have yet to tell."""
    return {
        part.name: {name: value for name, value in part.wanted.items() if not has_output(value)}
        for part in all_parts(settings)
    }


def preflight_of(settings: Settings) -> dict[str, Any]:
    """Return what :class:`.PreflightOperator` is to check."""
    checked = {
        **settings.to_json(),
        "cidr": "" if settings.vpc_id else settings.cidr,
        "spot": settings.capacity_type == "SPOT",
        "database_identifier": settings.database_identifier if settings.database == "new" else "",
        "bucket_name": settings.bucket_name if settings.bucket else "",
        # It need not be there for a plan.
        "image": "" if settings.plan_only else settings.image,
    }
    return {name: checked[name] for name in CHECKED}


def moved(settings: Settings) -> list[str]:
    """Return what can't be changed once a cluster is built: what is there would be left behind, and go on to run."""
    built = remembered.find(settings.cluster_name, settings.region_name)
    return [
        f"{name} = {getattr(settings, name)!r}: the cluster was built with {getattr(built, name)!r}. Leave it, or take "
        "the cluster down first"
        for name in ("namespace", "connection_id")
        if built is not None and getattr(built, name) != getattr(settings, name)
    ]


def connection_of(settings: Settings) -> dict[str, Any] | None:
    """
    Return the connection that leads tasks to the cluster; None if there is none.

    :raises AirflowApiError: Airflow's REST API refused, or was not reached.
    :raises ValueError: It is not known where it is.
    """
    with AirflowApi(find_api(settings.airflow_api_conn_id)) as api:
        return api.connection(settings.connection_id)


def connection_problems(settings: Settings) -> list[str]:
    """Return what keeps the connection of the cluster from being written in the end."""
    try:
        found = connection_of(settings)
    except (AirflowApiError, ValueError) as error:
        return [f"airflow_api_conn_id: {error}"]
    if found is None or found.get("description") == ownership_mark(settings.known_as):
        return []
    where = f"the connection {settings.connection_id!r} is there already, and was not written for {settings.known_as}"
    return [f"connection_id: {where}. Choose another one of [dask] lanes, or delete it"]


def preflight_group() -> TaskGroup:
    """Make the tasks of the group."""
    with TaskGroup("preflight", tooltip="Read the form; find out all that would stop the rest") as group:
        form = FormOperator(
            task_id="form",
            aws_conn_id="{{ params.aws_conn_id }}",
            region_name="{{ params.region_name }}",
            doc_md="Reads the form and fills in what was left empty.",
        )
        check = PreflightOperator(
            task_id="check",
            aws_conn_id=setting("aws_conn_id"),
            region_name=setting("region_name"),
            **{name: returned(form.task_id, "preflight", name) for name in CHECKED},
        )
        form >> check
    return group
