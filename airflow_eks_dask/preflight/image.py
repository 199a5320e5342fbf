"""Whether the image that pods are to run is there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from airflow_eks_dask.hooks.aws import error_code
from airflow_eks_dask.preflight.finding import Finding, error, note

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eks_dask.hooks.aws import AwsClients
    from airflow_eks_dask.preflight.wanted import Wanted

_ECR = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?/(?P<repository>[^:]+):(?P<tag>[^:]+)"
)
_NOT_THERE = ("RepositoryNotFoundException", "ImageNotFoundException")


def image(aws: AwsClients, wanted: Wanted) -> Iterator[Finding]:
    """Whether the image is in the registry of AWS; other registries are not asked."""
    if not wanted.image:
        return
    place = _ECR.fullmatch(wanted.image)
    if place is None:
        yield note(
            f"Whether there is an image {wanted.image} is not known",
            "it is in no registry of AWS",
            "Make sure that nodes can pull it",
        )
        return
    try:
        aws.client("ecr", place["region"]).describe_images(
            registryId=place["account"], repositoryName=place["repository"], imageIds=[{"imageTag": place["tag"]}]
        )
    except ClientError as refusal:
        if error_code(refusal) not in _NOT_THERE:
            raise
        yield error(
            f"There is no image {wanted.image}",
            str(refusal),
            "Build it with docker/Dockerfile of this project and your DAGs, and push it there; or name another one",
        )
