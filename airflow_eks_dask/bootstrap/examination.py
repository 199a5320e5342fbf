"""What is wrong with a cluster, from AWS to a round trip through its workers, and what to do about it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from airflow_eks_dask.bootstrap.parts import all_parts
from airflow_eks_dask.bootstrap.plan import examine
from airflow_eks_dask.hooks.aws import AwsClients
from airflow_eks_dask.hooks.kubernetes import KubernetesCluster
from airflow_eks_dask.preflight.finding import Finding, error, warning
from airflow_eks_dask.resources.base import Action, ResourceError
from airflow_eks_dask.resources.cluster_versions import offered_versions
from airflow_eks_dask.resources.eks import find_cluster

if TYPE_CHECKING:
    from airflow_eks_dask.bootstrap.plan import Outputs
    from airflow_eks_dask.bootstrap.settings import Settings

log = logging.getLogger(__name__)

AGAIN = "Trigger eks_dask_bootstrap with the same form: it makes what is missing and leaves the rest"

Examiner = Callable[["Settings", AwsClients], Iterator[Finding]]


def in_aws(settings: Settings, aws: AwsClients) -> Iterator[Finding]:
    """Compare each part in AWS with what it was built as."""
    outputs: Outputs = {}
    for part in all_parts(settings):
        if not part.is_wanted:
            continue
        kind = part.ensure.resource_class.kind
        try:
            _, plan = examine(part, aws, outputs)
        except (BotoCoreError, ClientError, ResourceError) as failure:
            yield warning(f"{kind} {part.name} could not be looked at", str(failure), "Run it again, or look by hand")
            continue
        yield from _deviations(plan)
    yield from _support(settings, aws)


def _deviations(plan: dict[str, Any]) -> Iterator[Finding]:
    what, why = f"{plan['kind']} {plan['name']}", "; ".join(plan["reasons"])
    if plan["action"] == Action.CREATE.value:
        yield error(f"{what} is missing", why, AGAIN)
    elif plan["action"] == Action.CHANGE.value:
        yield warning(f"{what} is not as it was built", why, f"{AGAIN}, or with a form that says what it has become")
    elif plan["action"] == Action.REFUSE.value:
        yield error(f"{what} can't be as it was built", why, "Mend it by hand, or build the cluster with another form")


def _support(settings: Settings, aws: AwsClients) -> Iterator[Finding]:
    try:
        cluster = find_cluster(aws, settings.cluster_name)
        offered = {each.version: each for each in offered_versions(aws)}
    except (BotoCoreError, ClientError) as failure:
        log.info("How long the version of Kubernetes is supported was not found out: %s", failure)
        return
    if cluster is None:
        return
    version = offered.get(cluster["version"])
    if version is None or not version.is_standard:
        newer = ", ".join(each.version for each in offered.values() if each.is_standard)
        yield warning(
            f"Kubernetes {cluster['version']} has no standard support any more",
            "it costs several times as much, or AWS upgrades it by itself",
            f"Trigger eks_dask_bootstrap with one of {newer} as version",
        )


def in_kubernetes(settings: Settings, aws: AwsClients) -> Iterator[Finding]:
    """Look at nodes, the release, its pods and its certificates."""
    # Imports the clients of Kubernetes, which takes seconds.
    from airflow_eks_dask.bootstrap.examination_kubernetes import examine_cluster
    from airflow_eks_dask.hooks.eks import KubernetesError

    cluster = KubernetesCluster(
        eks_cluster_name=settings.cluster_name, aws_conn_id=settings.aws_conn_id, region_name=settings.region_name
    )
    try:
        yield from examine_cluster(settings, cluster)
    except (KubernetesError, BotoCoreError, ClientError) as failure:
        yield error(
            "The Kubernetes API does not answer as it should",
            str(failure),
            "See whether the cluster is there, whether its endpoint is open to this machine, and who may use it",
        )


def through_workers(settings: Settings, aws: AwsClients) -> Iterator[Finding]:
    """Compare versions with scheduler and workers, and send a function through each worker and back."""
    from airflow.configuration import conf
    from airflow.sdk import BaseHook
    from airflow.sdk.exceptions import AirflowNotFoundException

    from airflow_eks_dask.executors.settings import DaskSettings
    from airflow_eks_dask.hooks import dask_check
    from airflow_eks_dask.hooks.dask import endpoint_of

    publish = "Clear the task hand_over.publish of the last run of eks_dask_bootstrap, or trigger it again"
    try:
        endpoint = endpoint_of(BaseHook.get_connection(settings.connection_id))
    except (AirflowNotFoundException, ValueError) as failure:
        yield error(f"Airflow's connection {settings.connection_id} leads to no cluster", str(failure), publish)
        return
    options = DaskSettings.from_configuration(conf).worker_options
    try:
        checked = dask_check.run(dask_check.Check(endpoint=endpoint, options=options, timeout=ROUND_TRIP_TIMEOUT))
    except dask_check.DaskClusterError as failure:
        yield error(
            f"The Dask cluster at {endpoint.address} can't run tasks",
            str(failure),
            "See what in_kubernetes says of its pods; with other versions, push a new image and trigger "
            "eks_dask_bootstrap with its tag",
        )
        return
    log.info("A function went to %d workers and back in %.1f s", len(checked.workers), checked.seconds)
    # With groups of their own, how many there should be is said elsewhere.
    if not settings.helm_values and checked.slots < settings.workers * settings.slots:
        yield warning(
            f"{checked.slots} of {settings.workers * settings.slots} slots are there",
            f"{len(checked.workers)} of {settings.workers} workers answer",
            "See what in_kubernetes says of their pods",
        )


ROUND_TRIP_TIMEOUT = 120.0
"""Seconds that the cluster may take to answer."""

EXAMINERS: dict[str, Examiner] = {
    "in_aws": in_aws,
    "in_kubernetes": in_kubernetes,
    "through_workers": through_workers,
}
"""By what they look at."""


def findings_of(name: str, settings: Settings, aws: AwsClients) -> list[dict[str, str]]:
    """
    Return what an examiner finds, as :meth:`.Finding.to_json` does.

    :param name: One of :data:`EXAMINERS`.
    """
    return [each.to_json(name) for each in EXAMINERS[name](settings, aws)]
