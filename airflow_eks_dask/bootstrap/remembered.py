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


def recall(cluster_name: str, aws: AwsClients) -> Settings:
    """
    Return what a cluster was built with.

    :param aws: Whose region it is in.
    :raises ValueError: Nothing is known of such a cluster.
    """
    key = variable_key(cluster_name, aws.region)
    data = Variable.get(key, default=None, deserialize_json=True)
    if data is None:
        raise ValueError(
            f"Nothing is known of a cluster {cluster_name} in {aws.region}: there is no variable {key}, which its "
            "bootstrap writes. Is name, region and AWS connection right?"
        )
    return Settings.from_json(data)


def forget(settings: Settings) -> None:
    """Forget a cluster."""
    Variable.delete(variable_key(settings.cluster_name, settings.region_name))
