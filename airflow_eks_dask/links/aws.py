"""The way from a task to the AWS console."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from airflow.providers.amazon.aws.links.base_aws import BASE_AWS_CONSOLE_LINK, BaseAwsLink

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow.models import BaseOperator
    from airflow.sdk import Context

    from airflow_eks_dask.hooks.aws import AwsClients


class AwsConsoleLink(BaseAwsLink):
    """Shows the resource that a task looks after."""

    name = "AWS console"
    key = "aws_console"
    format_str = BASE_AWS_CONSOLE_LINK + "/{path}"

    @classmethod
    def leave(cls, context: Context, operator: BaseOperator, aws: AwsClients, path: Callable[[str], str]) -> None:
        """
        Leave for the UI where the link leads.

        :param aws: Whose region and partition the console is to show.
        :param path: Makes the path in the console from the region.
        """
        cls.persist(
            context=context,
            operator=operator,
            region_name=aws.region,
            aws_partition=aws.partition,
            path=path(aws.region),
        )


def clusters(region: str) -> str:
    """Return the path of the list of EKS clusters."""
    return f"eks/clusters?region={region}"


def tagged(region: str, key: str, value: str) -> str:
    """Return the path of a search, in the tag editor, for all that has a tag."""
    query = (
        f"regions:!('{region}'),resourceTypes:!('AWS::AllSupported'),"
        f"tagFilters:!((key:'{key}',values:!('{value}'))),type:TAG_EDITOR_1_0"
    )
    return f"resource-groups/tag-editor/find-resources?region={region}#query={quote(query, safe=':!,/')}"
