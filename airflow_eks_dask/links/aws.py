"""The way from a task to the AWS console."""

from __future__ import annotations

from airflow.providers.amazon.aws.links.base_aws import BASE_AWS_CONSOLE_LINK, BaseAwsLink


class AwsConsoleLink(BaseAwsLink):
    """Shows the resource that a task looks after."""

    name = "AWS console"
    key = "aws_console"
    format_str = BASE_AWS_CONSOLE_LINK + "/{path}"
