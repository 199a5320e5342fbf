"""What is new about a release: why it would get another revision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.helm.difference import Rendered, difference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_eks_dask.helm.releases import Revision


@dataclass(frozen=True)
class Wanted:
    """
    What a release is to be.

    :param chart: Name and version of the chart, with a hyphen between.
    :param rendered: What it comes to; None: that is not known.
    """

    chart: str
    rendered: Rendered | None = None


@dataclass(frozen=True)
class Changes:
    """
    Why a release gets another revision.

    :param reasons: In words, without any value; none if nothing is new.
    :param manifests: The difference of the manifests, as lines. Secrets are hidden, but not what other objects hold.
    """

    reasons: tuple[str, ...] = ()
    manifests: tuple[str, ...] = ()


def changes(last: Revision | None, before: Rendered | None, wanted: Wanted) -> Changes:
    """
    Compare a release with what it is to be.

    :param last: Its last revision; None: there is no such release.
    :param before: What its last revision consists of.
    :param wanted: What it is to be.
    """
    reasons = []
    if last is None:
        reasons.append("it is not there yet")
    elif last.status != "deployed":
        reasons.append(f"its last revision, {last.number}, is {last.status}")
    elif last.chart != wanted.chart:
        reasons.append(f"chart {last.chart} becomes {wanted.chart}")
    former = before or Rendered()
    if wanted.rendered is None:
        return Changes(tuple(reasons))
    if before is not None and (paths := sorted(_different(former.values, wanted.rendered.values))):
        reasons.append(f"values differ: {', '.join(paths)}")
    names = former.objects.keys() | wanted.rendered.objects.keys()
    if objects := sorted(each for each in names if former.objects.get(each) != wanted.rendered.objects.get(each)):
        reasons.append(f"manifests differ: {', '.join(objects)}")
    return Changes(tuple(reasons), tuple(difference(former, wanted.rendered)))


def chart_name(label: str) -> str:
    """Return the name in a name and version with a hyphen between; either may have hyphens of its own."""
    name, hyphen, rest = label.partition("-")
    while hyphen and not rest[:1].isdigit():
        more, hyphen, rest = rest.partition("-")
        name += f"-{more}"
    return name


def _different(before: dict[str, Any], after: dict[str, Any], path: str = "") -> Iterator[str]:
    """Yield where values differ, not what they are."""
    for key in before.keys() | after.keys():
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _different(old, new, f"{path}{key}.")
        elif old != new or (key in before) != (key in after):
            yield f"{path}{key}"
