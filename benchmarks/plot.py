"""Plots as SVG, readable on light and on dark pages."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from benchmarks.results import EXECUTOR_CPU, METRICS, median_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from benchmarks.dispatch import DispatchTime
    from benchmarks.results import Sample

# Mid-tones: each has enough contrast to white and to black.
COLOURS = ("#2f81c7", "#c9722c", "#7d7d7d", "#4f9a54")
INK = "#7d7d7d"
STYLE: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlesize": 10,
    "font.size": 9,
    "grid.alpha": 0.3,
    "grid.color": INK,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "svg.fonttype": "none",
    # Identifiers that do not change from one run to the next.
    "svg.hashsalt": "benchmarks",
    "xtick.color": INK,
    "ytick.color": INK,
}


def plot_executors(samples: Sequence[Sample], file: Path) -> None:
    """Draw throughput and processor time of each executor in each row."""
    figure, (left, right) = _figure(2)
    _bars(left, samples, lambda group: median_of(group, METRICS[0]), "tasks per second")
    _bars(right, samples, _executor_cpu, "processor seconds per task (executor)")
    handles, labels = left.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    _save(figure, file)


def plot_dispatch(times: Sequence[DispatchTime], file: Path) -> None:
    """Draw the time of one workload over their number, a line for each number of workers."""
    figure, (axes,) = _figure(1)
    for colour, workers in zip(COLOURS, sorted({time.workers for time in times}), strict=False):
        line = sorted((time.workloads, time.microseconds_each) for time in times if time.workers == workers)
        label = f"{workers:,} workers" if workers > 1 else "1 worker"
        axes.plot(*zip(*line, strict=True), marker="o", markersize=4, color=colour, label=label)
    axes.set_xscale("log")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("workloads")
    axes.set_title("dispatch: microseconds per workload")
    axes.grid(axis="y")
    figure.legend(loc="outside lower center", ncols=4)
    _save(figure, file)


def _figure(columns: int) -> tuple[Any, Any]:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update(STYLE)
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(ncols=columns, figsize=(8, 3.2), layout="constrained", squeeze=False)
    return figure, axes[0]


def _bars(axes: Any, samples: Sequence[Sample], value: Callable[[list[Sample]], float], title: str) -> None:
    rows = list(dict.fromkeys(sample.row for sample in samples))
    executors = list(dict.fromkeys(sample.executor for sample in samples))
    width = 0.8 / len(executors)
    for number, (executor, colour) in enumerate(zip(executors, COLOURS, strict=False)):
        groups = [[s for s in samples if (s.executor, s.row) == (executor, row)] for row in rows]
        heights = [value(group) if group else 0.0 for group in groups]
        places = [position + (number - (len(executors) - 1) / 2) * width for position in range(len(rows))]
        axes.bar(places, heights, width * 0.9, color=colour, label=executor)
    axes.set_xticks(range(len(rows)), rows)
    axes.set_title(title)
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def _executor_cpu(group: list[Sample]) -> float:
    return statistics.median(sample.cpu[EXECUTOR_CPU] for sample in group)


def _save(figure: Any, file: Path) -> None:
    from matplotlib import pyplot

    figure.savefig(file, transparent=True, metadata={"Date": None})
    pyplot.close(figure)
