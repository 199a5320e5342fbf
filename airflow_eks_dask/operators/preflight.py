"""The operator that a bootstrap begins with."""

from __future__ import annotations

import inspect
from contextlib import suppress
from dataclasses import fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from botocore.exceptions import BotoCoreError, ClientError

from airflow_eks_dask.hooks.aws import AwsClients
from airflow_eks_dask.links.aws import AwsConsoleLink, clusters
from airflow_eks_dask.operators._table import table
from airflow_eks_dask.operators._text import TextOperator
from airflow_eks_dask.preflight import checks
from airflow_eks_dask.preflight.finding import COLUMNS, by_severity, errors_in_words
from airflow_eks_dask.preflight.wanted import Wanted
from airflow_eks_dask.resources import validation
from airflow_eks_dask.resources.base import ResourceError
from airflow_eks_dask.resources.wanted_state import needed_fields, read_wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

FINDINGS_KEY = "findings"
"""The XCom key under which the findings are also when the task fails."""


def _with_fields_of_wanted(signature: inspect.Signature) -> inspect.Signature:
    """Return a signature with the fields of Wanted instead of ``**kwargs`` alone: Airflow reads it for default_args."""
    own = list(signature.parameters.values())
    parameters = inspect.signature(Wanted).parameters.values()
    return signature.replace(parameters=[*own[:-1], *parameters, own[-1]])


class PreflightOperator(TextOperator):
    """
    Find out all that would stop a bootstrap, before anything is made. Changes nothing.

    Its further parameters are those of :class:`.Wanted`. Returns a list of findings, each with ``severity`` (``error``,
    ``warning``, ``note``), ``check``, ``what``, ``why`` and ``what_to_do``. Fails with all errors, not only the first.

    .. code-block:: python

        PreflightOperator(
            task_id="preflight",
            cluster_name="pipelines",
            cidr="10.20.0.0/16",
            nat_gateways="single",
            instance_types=["m7i.large"],
            max_nodes=4,
            database_identifier="pipelines",
            public_access_cidrs=["203.0.113.7/32"],
        )

    :param aws_conn_id: Airflow connection of type AWS; None for what boto3 finds by itself.
    :param region_name: Region; None for the connection's own.
    """

    template_fields: Sequence[str] = ("aws_conn_id", "region_name", "wanted")
    template_fields_renderers: ClassVar[dict[str, str]] = {"wanted": "json"}
    operator_extra_links = (AwsConsoleLink(),)
    ui_color = "#dce8f5"

    def __init__(
        self, *, aws_conn_id: str | None = "aws_default", region_name: str | None = None, **kwargs: Any
    ) -> None:
        names = [each.name for each in fields(Wanted)]
        wanted = {name: kwargs.pop(name) for name in names if name in kwargs}
        super().__init__(**kwargs)
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.wanted = wanted

    __init__.__signature__ = _with_fields_of_wanted(inspect.signature(__init__))  # type: ignore[attr-defined]

    @cached_property
    def aws(self) -> AwsClients:
        """Clients of AWS."""
        return AwsClients(self.aws_conn_id, self.region_name)

    def execute(self, context: Context) -> list[dict[str, str]]:
        """
        Make all checks.

        :return: What they found.
        :raises ResourceError: Something is wrong with what is wanted, or would stop the bootstrap.
        """
        read, unread = read_wanted(Wanted, self.wanted)
        problems = list(unread.values())
        if not needed_fields(Wanted) & set(unread):
            wanted = Wanted(**read)
            problems += wanted.problems()
        if self.region_name:
            problems += validation.region(self.region_name)
        if problems:
            raise ResourceError("What is wanted can't be:\n" + "\n".join(f"- {problem}" for problem in problems))
        # Without credentials or region there is no page to show; the checks say so.
        with suppress(BotoCoreError, ClientError, ValueError):
            AwsConsoleLink.leave(context, self, self.aws, clusters)
        found = checks.run(self.aws, wanted)
        findings = by_severity(finding.to_json(name) for name, finding in found)
        context["ti"].xcom_push(key=FINDINGS_KEY, value=findings)
        self._show(findings)
        return findings

    def _show(self, findings: list[dict[str, str]]) -> None:
        """
        Log all findings.

        :raises ResourceError: There are errors among them.
        """
        if not findings:
            self.log.info("Nothing stands in the way")
            return
        rows = [tuple(finding[name] for name in COLUMNS) for finding in findings]
        for line in table(("", "Check", "What", "Why", "What to do"), rows):
            self.log.info("%s", line)
        if errors := errors_in_words(findings):
            raise ResourceError("\n".join([f"{len(errors)} things would stop the bootstrap:", *errors]))
