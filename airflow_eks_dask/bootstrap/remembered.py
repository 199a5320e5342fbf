"""What is remembered of a cluster in an Airflow variable: the settings that it was built with. No secrets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import Variable

from airflow_eks_dask.bootstrap.settings import Settings

if TYPE_CHECKING:
    from airflow_eks_dask.hooks.aws import AwsClients


def variable_key(cluster_name: str, region_name: str) -> str:
    """Return the key of the variable."""
    return f"eks_dask_{region_name}_{cluster_name}"


def remember(settings: Settings) -> None:
    """Remember what a cluster is built with."""
    key = variable_key(settings.cluster_name, settings.region_name)
    description = f"Settings of the cluster {settings.cluster_name} in {settings.region_name}"
    Variable.set(key, settings.to_json(), description, serialize_json=True)


def find(cluster_name: str, region_name: str) -> Settings | None:
    """Return what a cluster was built with; None if nothing is known of it."""
    data = Variable.get(variable_key(cluster_name, region_name), default=None, deserialize_json=True)
    return None if data is None else Settings.from_json(data)


def recall(cluster_name: str, aws: AwsClients) -> Settings:
    """
    Return what a cluster was built with.

    :param aws: Whose region it is in.
    :raises ValueError: Nothing is known of such a cluster.
    """
    found = find(cluster_name, aws.region)
    if found is None:
        raise ValueError(
            f"Nothing is known of a cluster {cluster_name} in {aws.region}: there is no variable "
            f"{variable_key(cluster_name, aws.region)}, which its bootstrap writes. Is name, region and AWS connection "
            "right?"
        )
    return found


def forget(settings: Settings) -> None:
    """Forget a cluster."""
    Variable.delete(variable_key(settings.cluster_name, settings.region_name))
