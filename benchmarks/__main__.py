"""The command line: ``python -m benchmarks executors`` and ``python -m benchmarks dispatch``."""

from __future__ import annotations

import argparse
import logging
import platform
import signal
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from httpx import HTTPError

from airflow_eks_dask.local.client import AirflowApiError, AirflowWaitError
from airflow_eks_dask.local.ports import NoFreePortError
from airflow_eks_dask.local.postgres import PostgresServer
from airflow_eks_dask.local.processes import LocalProcessError
from benchmarks import dispatch, heartbeat, machine, measure, plot, report, systems, workloads

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from benchmarks.results import Idle, Sample

DOCS = systems.REPOSITORY / "docs"
DOCUMENT = "benchmarks.md"


def main(arguments: Sequence[str] | None = None) -> None:
    """
    Run a benchmark.

    :param arguments: Of the command line.
    :raises SystemExit: 1 if something failed, 2 if the arguments make no sense, 130 or 143 if it was ended by a signal.
    """
    options = parser().parse_args(arguments)
    # A line for each request would drown the progress.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    options.output.mkdir(parents=True, exist_ok=True)
    options.written = f"python -m benchmarks {' '.join(sys.argv[1:] if arguments is None else arguments)}"
    try:
        with _ended_by_signals():
            options.run(options)
    except (LocalProcessError, NoFreePortError, AirflowWaitError, AirflowApiError, HTTPError, OSError) as error:
        raise SystemExit(str(error) or type(error).__name__) from error


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    commands = top.add_subparsers(required=True, metavar="COMMAND")
    one = commands.add_parser("executors", help="compare DaskExecutor, CeleryExecutor and LocalExecutor")
    one.set_defaults(run=compare_executors)
    one.add_argument("--runs", type=_positive, default=2, help="how often each is started and measured (default: 2)")
    one.add_argument(
        "--executors",
        nargs="+",
        choices=list(systems.EXECUTORS),
        default=list(systems.EXECUTORS),
        help="which ones (default: all)",
    )
    sizes = ", ".join(f"{name}={tasks}" for name, tasks in workloads.SIZES.items())
    one.add_argument(
        "--rows",
        nargs="+",
        type=_size,
        metavar="ROW[=TASKS]",
        default=list(workloads.SIZES.items()),
        help=f"which DAGs, and with how many tasks (default: {sizes})",
    )
    one.add_argument("--slots", type=_positive, default=4, help="tasks that run at the same time (default: 4)")
    two = commands.add_parser("dispatch", help="time the dispatch path alone, and a heartbeat of DaskExecutor")
    two.set_defaults(run=time_dispatch)
    two.add_argument("--workloads", nargs="+", type=_positive, default=list(dispatch.WORKLOADS), metavar="NUMBER")
    two.add_argument("--workers", nargs="+", type=_positive, default=list(dispatch.WORKERS), metavar="NUMBER")
    two.add_argument("--in-flight", type=_positive, default=heartbeat.IN_FLIGHT, metavar="NUMBER")
    for command in (one, two):
        command.add_argument(
            "--output",
            type=Path,
            default=DOCS,
            metavar="DIRECTORY",
            help=f"where {DOCUMENT}, plots and JSON go (default: docs)",
        )
    return top


def compare_executors(options: argparse.Namespace) -> None:
    """Run all rows with all executors, in turn, and report."""
    if not measure.supported():
        raise SystemExit(f"Memory and processor time are read as Linux tells them; this is {platform.system()}.")
    about, rows = machine.describe(), workloads.rows(dict(options.rows))
    samples: list[Sample] = []
    idle: list[Idle] = []
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as directory, PostgresServer() as postgres:
        for run in range(options.runs):
            for executor in in_turn(options.executors, run):
                home = Path(directory) / f"{executor.lower()}_{run}"
                _say(f"run {run + 1} of {options.runs}: {executor} starts")
                with systems.running(executor, home, postgres, slots=options.slots, rows=rows) as system:
                    measure.warm_up(system)
                    idle.append(measure.idle_memory(system, run))
                    for row in rows:
                        samples.append(measure.run_row(system, row, run))
                        _say(f"  {row.name}: {row.tasks} tasks in {samples[-1].seconds:.1f} s")
    order = {executor: place for place, executor in enumerate(options.executors)}
    samples.sort(key=lambda sample: (order[sample.executor], sample.run))
    idle.sort(key=lambda each: (order[each.executor], each.run))
    date = f"{datetime.now(timezone.utc):%Y-%m-%d}"
    report.save_json(options.output / "benchmarks.json", about, options.written, date, samples=samples, idle=idle)
    plot.plot_executors(samples, options.output / "benchmarks.svg")
    text = report.executors_report(samples, idle, systems.DASK)
    _publish(options.output, "executors", f"{report.heading(about, options.written, date)}\n\n{text}")


def time_dispatch(options: argparse.Namespace) -> None:
    """Time the dispatch path and the heartbeat, and report."""
    about = machine.describe()
    beat = heartbeat.measure(options.in_flight)
    times = dispatch.measure(options.workloads, options.workers)
    date = f"{datetime.now(timezone.utc):%Y-%m-%d}"
    report.save_json(options.output / "dispatch.json", about, options.written, date, dispatch=times, heartbeat=[beat])
    plot.plot_dispatch(times, options.output / "dispatch.svg")
    text = report.dispatch_report(times, beat)
    _publish(options.output, "dispatch", f"{report.heading(about, options.written, date)}\n\n{text}")


def in_turn(executors: Sequence[str], run: int) -> list[str]:
    """Return the executors in the order of a run: each time another one begins."""
    first = run % len(executors)
    return [*executors[first:], *executors[:first]]


def _publish(directory: Path, name: str, text: str) -> None:
    sys.stdout.write(f"{text}\n")
    file = directory / DOCUMENT
    empty = "".join(f"<!-- {part}: begin -->\n<!-- {part}: end -->\n" for part in ("executors", "dispatch"))
    document = file.read_text(encoding="utf-8") if file.exists() else empty
    file.write_text(report.put_between_markers(document, name, text), encoding="utf-8")
    _say(f"written to {file}")


def _say(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be at least 1")
    return value


def _size(text: str) -> tuple[str, int]:
    try:
        return workloads.parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGINT and SIGTERM end what was started; a shell makes its background processes ignore the former."""

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    main()
