"""The operator that ends a teardown: it says what is left."""

from __future__ import annotations

import time
from datetime import timedelta
from fnmatch import fnmatchcase
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

from airflow_eks_dask.hooks.aws import AwsClients
from airflow_eks_dask.links.aws import AwsConsoleLink, tagged
from airflow_eks_dask.operators._deferral import is_deferrable
from airflow_eks_dask.operators._table import table
from airflow_eks_dask.operators._text import TextOperator
from airflow_eks_dask.resources import leftovers, validation
from airflow_eks_dask.resources.base import ResourceError
from airflow_eks_dask.resources.ownership import TAG

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context


class LeftoversOperator(TextOperator):
    """
    List all that is left of a cluster and of what was made for it. Changes nothing.

    Returns ``left`` and ``kept`` (on purpose), lists of ``arn``, ``kind`` and ``why``: ``left`` is empty if all went
    well. What is paid for and forgotten is found here, whoever made it: it is looked for by our tag and by those of
    Kubernetes.

    .. code-block:: python

        LeftoversOperator(
            task_id="leftovers",
            cluster_name="pipelines",
            trigger_rule="all_done",
        )

    :param cluster_name: The cluster.
    :param keep: Kinds of things that are kept on purpose, such as ``rds:db``, or patterns such as ``ec2:*``. Default:
        those that hold data, :data:`.leftovers.DATA`.
    :param fail: Whether to fail if something is left; otherwise it is a warning in the log.
    :param patience: Seconds for which to look again while something is left: AWS names things that are gone for some
        minutes.
    :param aws_conn_id: Airflow connection of type AWS; None for what boto3 finds by itself.
    :param region_name: Region; None for the connection's own.
    :param deferrable: Whether to wait in the triggerer, without a slot. Default: ``[operators] default_deferrable``.
    :param poll_interval: Seconds between two looks.
    """

    template_fields: Sequence[str] = ("cluster_name", "keep", "aws_conn_id", "region_name")
    operator_extra_links = (AwsConsoleLink(),)
    ui_color = "#f0d0c8"

    def __init__(
        self,
        *,
        cluster_name: str,
        keep: list[str] | None = None,
        fail: bool = True,
        patience: float = 300,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        deferrable: bool | None = None,
        poll_interval: float = 30,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.cluster_name = cluster_name
        self.keep = list(leftovers.DATA) if keep is None else keep
        self.fail = fail
        self.patience = patience
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.deferrable = is_deferrable(deferrable)
        self.poll_interval = poll_interval

    @cached_property
    def aws(self) -> AwsClients:
        """Clients of AWS."""
        return AwsClients(self.aws_conn_id, self.region_name)

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Look until nothing is left, or patience ends.

        :return: What is left, and what is kept.
        :raises ResourceError: The name can't be one; or something is left, and that is to fail.
        """
        if problems := validation.cluster_name(self.cluster_name):
            raise ResourceError("; ".join(problems))
        AwsConsoleLink.leave(context, self, self.aws, lambda region: tagged(region, TAG, self.cluster_name))
        return self._look(time.time() + self.patience)

    def resume(self, context: Context, event: Any, deadline: float) -> dict[str, Any]:
        """Look again after a wait in the triggerer."""
        return self._look(deadline)

    def _look(self, deadline: float) -> dict[str, Any]:
        while True:
            found = leftovers.find(self.aws, self.cluster_name)
            kept = [each for each in found if self._is_kept(each)]
            left = [each for each in found if not self._is_kept(each)]
            if not left or time.time() >= deadline:
                return self._report(left, kept)
            self.log.info("Still there, by what AWS tells, which may be late: %s", "; ".join(each.arn for each in left))
            if self.deferrable:
                self.defer(
                    trigger=TimeDeltaTrigger(timedelta(seconds=self.poll_interval)),
                    method_name="resume",
                    kwargs={"deadline": deadline},
                )
            time.sleep(self.poll_interval)

    def _is_kept(self, leftover: leftovers.Leftover) -> bool:
        return any(fnmatchcase(leftover.kind, pattern) for pattern in self.keep)

    def _report(self, left: list[leftovers.Leftover], kept: list[leftovers.Leftover]) -> dict[str, Any]:
        rows = [(each.kind, each.arn, "left", each.why) for each in left]
        rows += [(each.kind, each.arn, "kept on purpose", each.why) for each in kept]
        for line in table(("Kind", "ARN", "", "Why it is the cluster's"), rows) if rows else ():
            self.log.info("%s", line)
        if not left:
            self.log.info("Nothing is left of %s; %d kept on purpose", self.cluster_name, len(kept))
        elif self.fail:
            raise ResourceError(
                f"{len(left)} left of {self.cluster_name}; run the tasks again that delete them, or delete them by "
                "hand:\n" + "\n".join(f"- {each.in_words()}" for each in left)
            )
        else:
            self.log.warning("%d left of %s", len(left), self.cluster_name)
        return {"left": [vars(each) for each in left], "kept": [vars(each) for each in kept]}
