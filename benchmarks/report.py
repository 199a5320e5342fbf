"""Tables, in Markdown that is also read well as plain text, and the place they have in the documentation."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import asdict
from typing import TYPE_CHECKING

from benchmarks.results import AIRFLOW_CPU, EXECUTOR_CPU, METRICS, POSTGRES_CPU, Metric, advantage, median_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.dispatch import DispatchTime
    from benchmarks.heartbeat import HeartbeatTime
    from benchmarks.results import Idle, Sample

EQUAL = 0.05
"""Ratios that differ from 1 by less than this share say nothing: runs differ by as much."""

LATENCY_NOTE = (
    "The times from queued to start are comparable where no more tasks are ready than there are slots, as in `chain`: "
    "elsewhere they hold the wait for a slot of those executors that keep a queue of their own."
)

CPU = (EXECUTOR_CPU, *AIRFLOW_CPU, POSTGRES_CPU)


def number(value: float) -> str:
    """Return a figure with three digits that count; a dash for one that is not a number."""
    if math.isnan(value):
        return "-"
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{digits}f}"


def table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """
    Return a Markdown table; columns of figures stand to the right.

    :param heads: Column titles.
    :param lines: As many cells each.
    """
    widths = [max(len(line[column]) for line in (heads, *lines)) for column in range(len(heads))]
    right = [bool(lines) and all(_is_figure(line[column]) for line in lines) for column in range(len(heads))]

    def row(cells: Sequence[str]) -> str:
        aligned = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(cells, widths, right, strict=True)
        ]
        return f"| {' | '.join(aligned)} |"

    rule = [f"{'-' * (width - 1)}:" if to_right else "-" * width for width, to_right in zip(widths, right, strict=True)]
    return "\n".join([row(heads), f"| {' | '.join(rule)} |", *map(row, lines)])


def executors_report(samples: Sequence[Sample], idle: Sequence[Idle], ours: str) -> str:
    """
    Return all tables of the comparison.

    :param ours: The executor that the others are compared with.
    """
    parts = ["Medians over the runs:", values_table(samples)]
    if any(sample.executor == ours for sample in samples):
        parts += [f"How many times better {ours} is (below 1 it is behind):", ratios_table(samples, ours)]
        parts += [LATENCY_NOTE, behind(samples, ours)]
    parts += ["Processor seconds per task, by component:", cpu_table(samples)]
    parts += ["Memory of the idle executor:", idle_table(idle)]
    return "\n\n".join(part for part in parts if part)


def values_table(samples: Sequence[Sample]) -> str:
    """Return the medians of all metrics, and the least and the greatest throughput."""
    rate = METRICS[0]
    lines = []
    for row, executor, group in _groups(samples):
        rates = [rate.of(sample) for sample in group]
        spread = f"{number(min(rates))} to {number(max(rates))}"
        lines.append([row, executor, *(number(median_of(group, metric)) for metric in METRICS), spread])
    return table(["row", "executor", *(metric.title for metric in METRICS), f"{rate.title}, all runs"], lines)


def ratios_table(samples: Sequence[Sample], ours: str) -> str:
    """Return how many times better one executor is than each of the others."""
    lines = [
        [row, f"against {executor}", *(number(ratio) for _, ratio in ratios)]
        for row, executor, ratios in _ratios(samples, ours)
    ]
    return table(["row", "", *(metric.title.rpartition(",")[0] or metric.title for metric in METRICS)], lines)


def behind(samples: Sequence[Sample], ours: str) -> str:
    """Say where an executor is worse than another one."""
    found = [
        f"- {row}, {metric.title.rpartition(',')[0] or metric.title}: {number(ratio)} of {executor}"
        for row, executor, ratios in _ratios(samples, ours)
        for metric, ratio in ratios
        if ratio < 1 - EQUAL
    ]
    if not found:
        return f"{ours} is nowhere behind by more than {EQUAL:.0%}."
    return "\n".join([f"Where {ours} is behind by more than {EQUAL:.0%}:", "", *found])


def cpu_table(samples: Sequence[Sample]) -> str:
    """Return the processor time per task of each component."""
    lines = [
        [row, executor, *(number(statistics.median(sample.cpu[component] for sample in group)) for component in CPU)]
        for row, executor, group in _groups(samples)
    ]
    return table(["row", "executor", *CPU], lines)


def idle_table(idle: Sequence[Idle]) -> str:
    """Return the memory of each executor, in all and for each slot."""
    lines = []
    for executor in dict.fromkeys(each.executor for each in idle):
        group = [each for each in idle if each.executor == executor]
        total = statistics.median(each.pss for each in group) / 2**20
        slots = group[0].slots
        lines.append([executor, str(group[0].processes), str(slots), number(total), number(total / slots)])
    return table(["executor", "processes", "slots", "MiB (PSS)", "MiB per slot"], lines)


def dispatch_report(times: Sequence[DispatchTime], heartbeat: HeartbeatTime) -> str:
    """Return the table of the dispatch path, how it grows, and the cost of a heartbeat."""
    workers = sorted({time.workers for time in times})
    totals = sorted({time.workloads for time in times})
    each = {(time.workloads, time.workers): time.microseconds_each for time in times}
    lines = [
        [f"{total:,}", *(number(each[total, count]) if (total, count) in each else "-" for count in workers)]
        for total in totals
    ]
    smallest, largest = each[totals[0], workers[0]], each[totals[-1], workers[-1]]
    growth = (
        f"From {totals[0]:,} workloads on {workers[0]:,} to {totals[-1]:,} on {workers[-1]:,} workers, the time of one "
        f"workload grows {number(largest / smallest)}-fold."
    )
    beat = (
        f"With {heartbeat.in_flight:,} workloads in flight a heartbeat of DaskExecutor takes "
        f"{number(heartbeat.median_ms)} ms (median; 95th percentile {number(heartbeat.p95_ms)} ms). Handing over all "
        f"of them took {number(heartbeat.submit_seconds)} s."
    )
    heads = ["workloads", *(f"{count:,} workers" if count > 1 else "1 worker" for count in workers)]
    title = "Microseconds per workload, from the executor to a worker and back:"
    return "\n\n".join([title, table(heads, lines), growth, beat])


def heading(about: Mapping[str, str], command: str, date: str) -> str:
    """
    Return when, where and how figures were taken.

    :param about: Of the machine.
    :param command: The command that took them.
    :param date: The day.
    """
    where = "; ".join(f"{name} {value}" for name, value in about.items())
    return f"Taken on {date} with `{command}`.\n\n{where}."


def put_between_markers(document: str, name: str, text: str) -> str:
    """
    Return a document with the part between ``<!-- name: begin -->`` and ``<!-- name: end -->`` replaced.

    :raises ValueError: The document does not have both, once, in this order.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    before, found_begin, rest = document.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found_begin or not found_end or begin in rest or end in after:
        raise ValueError(f"the document must hold {begin} and {end}, once each and in this order")
    return f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}"


def save_json(file: Path, about: Mapping[str, str], command: str, date: str, **results: Sequence[object]) -> None:
    """
    Write results as JSON.

    :param file: Written over if it is there.
    :param results: Dataclasses, by the name of their list.
    """
    content = {"date": date, "command": command, "machine": dict(about)}
    lists = {name: [asdict(result) for result in listed] for name, listed in results.items()}  # type: ignore[call-overload]
    file.write_text(json.dumps({**content, **lists}, indent=1) + "\n", encoding="utf-8")


def _groups(samples: Sequence[Sample]) -> list[tuple[str, str, list[Sample]]]:
    """Return the samples by row and executor, in the order in which rows and executors first come."""
    rows = dict.fromkeys(sample.row for sample in samples)
    executors = dict.fromkeys(sample.executor for sample in samples)
    grouped = [
        (row, executor, [sample for sample in samples if (sample.row, sample.executor) == (row, executor)])
        for row in rows
        for executor in executors
    ]
    return [group for group in grouped if group[2]]


def _ratios(samples: Sequence[Sample], ours: str) -> list[tuple[str, str, list[tuple[Metric, float]]]]:
    groups = {(row, executor): group for row, executor, group in _groups(samples)}
    found = []
    for (row, executor), group in groups.items():
        if executor == ours or (row, ours) not in groups:
            continue
        pairs = [(metric, median_of(groups[row, ours], metric), median_of(group, metric)) for metric in METRICS]
        ratios = [(metric, advantage(a, b, more_is_better=metric.more_is_better)) for metric, a, b in pairs]
        found.append((row, executor, ratios))
    return found


def _is_figure(cell: str) -> bool:
    return cell == "-" or cell.replace(",", "").replace(".", "").removeprefix("-").isdigit()
