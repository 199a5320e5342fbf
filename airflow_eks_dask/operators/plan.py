"""One table of what a whole DAG would do."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_eks_dask.links.aws import AwsConsoleLink, clusters
from airflow_eks_dask.operators._table import table
from airflow_eks_dask.operators.resource import PLAN_KEY
from airflow_eks_dask.resources.base import Action, ResourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from airflow.sdk import Context


class PlanSummaryOperator(BaseOperator):
    """
    Show the plans of all tasks before it in one table, with what they cost in a month.

    Returns ``plans`` (each with ``kind``, ``name``, ``action``, ``reasons`` and, after a dry run, ``monthly_cost`` in
    US dollars or null), ``totals`` (how many by action), ``monthly_cost`` (the sum of what is known) and
    ``monthly_cost_is_complete``. Fails with all reasons if any plan is a refusal.

    .. code-block:: python

        role = EnsureIamRoleOperator(
            task_id="cluster_role",
            cluster_name="pipelines",
            role_name="pipelines-cluster",
            trusted_service="eks.amazonaws.com",
            dry_run="{{ params.dry_run }}",
        )
        role >> PlanSummaryOperator(task_id="plan")

    :param task_ids: The tasks whose plans to show, in this order. Default: all that come before it.
    """

    template_fields: Sequence[str] = ("task_ids",)
    operator_extra_links = (AwsConsoleLink(),)

    def __init__(self, *, task_ids: list[str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.task_ids = task_ids

    def execute(self, context: Context) -> dict[str, Any]:
        """
        Show all plans.

        :raises ResourceError: One or more of them are refusals.
        """
        task_ids = self.task_ids or self._tasks_before()
        self._link(context, task_ids)
        pulled = context["ti"].xcom_pull(task_ids=task_ids, key=PLAN_KEY)
        return show_plans([plan for plan in pulled if plan is not None], self.log.info)

    def _link(self, context: Context, task_ids: list[str]) -> None:
        """Lead to where the tasks work: this one asks nothing of AWS itself."""
        links = context["ti"].xcom_pull(task_ids=task_ids, key=AwsConsoleLink.key)
        if link := next(filter(None, links), None):
            value = {**link, "path": clusters(link["region_name"])}
            context["ti"].xcom_push(key=AwsConsoleLink.key, value=value)

    def _tasks_before(self) -> list[str]:
        before = self.get_flat_relative_ids(upstream=True)
        return [task_id for task_id in self.dag.task_ids if task_id in before]


def summarize(plans: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return ``plans``, ``totals``, ``monthly_cost`` and ``monthly_cost_is_complete``."""
    totals = Counter(plan["action"] for plan in plans)
    costs = _costs(plans)
    return {
        "plans": list(plans),
        "totals": {action.value: totals[action.value] for action in Action},
        "monthly_cost": round(sum(cost for cost in costs if cost is not None), 2),
        "monthly_cost_is_complete": bool(costs) and None not in costs,
    }


def show_plans(plans: Sequence[dict[str, Any]], log: Callable[..., Any]) -> dict[str, Any]:
    """
    Log plans as a table; return their summary.

    :param log: Takes lines, such as ``self.log.info``.

    :raises ResourceError: One or more of them are refusals.
    """
    summary = summarize(plans)
    for line in table(("Resource", "Name", "Action", "Why", "USD a month"), map(_row, plans)):
        log("%s", line)
    log("%s. %s", totals_in_words(summary["totals"]), cost_in_words(summary))
    if refusals := [plan for plan in plans if plan["action"] == Action.REFUSE.value]:
        raise ResourceError("\n".join(["This can't be done:", *(f"- {'; '.join(r['reasons'])}" for r in refusals)]))
    return summary


def _costs(plans: Sequence[dict[str, Any]]) -> list[float | None]:
    return [plan["monthly_cost"] for plan in plans if "monthly_cost" in plan]


def _row(plan: dict[str, Any]) -> tuple[str, ...]:
    cost = amount(plan["monthly_cost"]) if "monthly_cost" in plan else "-"
    return plan["kind"], plan["name"], plan["action"], "\n".join(plan["reasons"]), cost


def amount(cost: float | None) -> str:
    """Return an amount of US dollars as text."""
    return "unknown" if cost is None else f"{cost:,.2f}"


def totals_in_words(totals: dict[str, int]) -> str:
    """Say how many there are to do what."""
    return ", ".join(f"{count} to {action}" for action, count in totals.items() if count) or "Nothing was planned"


def cost_in_words(summary: Mapping[str, Any]) -> str:
    """
    Say what all of it costs; what is paid by use comes on top.

    :param summary: Of the plans.
    """
    cost, is_complete = summary["monthly_cost"], summary["monthly_cost_is_complete"]
    # What is free is not all that it costs.
    if not cost and not is_complete:
        return "What it costs is unknown"
    least = "" if is_complete else "at least "
    return f"It costs {least}{amount(cost)} USD a month, without what is paid by use, discounts and taxes"
