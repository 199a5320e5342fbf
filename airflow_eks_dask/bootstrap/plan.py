"""What would have to be done in AWS for a cluster to be as its settings say: nothing is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eks_dask.bootstrap.parts import all_parts, with_outputs
from airflow_eks_dask.hooks.pricing import Prices
from airflow_eks_dask.resources.base import UNKNOWN, Action
from airflow_eks_dask.resources.wanted_state import read_wanted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eks_dask.bootstrap.parts import Part
    from airflow_eks_dask.bootstrap.settings import Settings
    from airflow_eks_dask.hooks.aws import AwsClients
    from airflow_eks_dask.resources.base import Resource

    Outputs = dict[str, dict[str, Any]]


def plans(settings: Settings, aws: AwsClients) -> Iterator[dict[str, Any]]:
    """
    Yield what would be done about each part that is wanted, one after the other.

    That is ``kind``, ``name``, ``action``, ``reasons`` and ``monthly_cost`` (US dollars; None is unknown), as operators
    tell it after a dry run. What can't be is a refusal.
    """
    prices = Prices(aws)
    outputs: Outputs = {}
    for part in all_parts(settings):
        if part.is_wanted:
            resource, plan = examine(part, aws, outputs)
            cost = (
                0.0 if resource and resource.existing else prices.monthly(resource.cost_items()) if resource else None
            )
            yield plan | {"monthly_cost": cost}


def examine(part: Part, aws: AwsClients, outputs: Outputs) -> tuple[Resource | None, dict[str, Any]]:
    """
    Compare a part with what is there.

    :param outputs: What parts before it have told, by name; what this one tells comes in.
    :return: Its resource (None: it can't be what is wanted), and what would be done.
    """
    outputs[part.name] = {}
    resource, problems = _resource(part, outputs)
    if resource is None:
        return None, _refusal(part, problems)
    plan = resource.examine(aws)
    outputs[part.name] = resource.outputs(aws)
    return resource, plan.summary()


def _resource(part: Part, outputs: Outputs) -> tuple[Resource | None, list[str]]:
    """Return the resource of a part; None, and why, if it can't be what is wanted."""
    resource_class = part.ensure.resource_class
    # What nobody knows yet stands as unknown.
    known = with_outputs(part.wanted, lambda output: outputs.get(output.part, {}).get(output.key, UNKNOWN))
    read, unread = read_wanted(resource_class, known)
    if unread:
        return None, list(unread.values())
    resource = resource_class.from_json(read)
    problems = resource.problems()
    return (None if problems else resource), problems


def _refusal(part: Part, problems: list[str]) -> dict[str, Any]:
    return {
        "kind": part.ensure.resource_class.kind,
        "name": part.name,
        "action": Action.REFUSE.value,
        "reasons": problems,
    }
