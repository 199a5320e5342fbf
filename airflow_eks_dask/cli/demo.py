"""``airflow eks-dask demo``: a sample pipeline on an Airflow that comes and goes with the command."""

from __future__ import annotations

import importlib.util
import json
import logging
import signal
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from sqlalchemy import create_engine, func, inspect, select, table
from sqlalchemy.pool import NullPool

from airflow_eks_dask.cli._errors import CommandError, reported
from airflow_eks_dask.local.airflow import LocalAirflow
from airflow_eks_dask.local.client import AirflowApiError, AirflowClient, AirflowWaitError, TaskInstance
from airflow_eks_dask.local.ports import NoFreePortError
from airflow_eks_dask.local.postgres import PostgresServer
from airflow_eks_dask.local.processes import LocalProcessError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator, Sequence
    from types import FrameType

    from rich.status import Status

EXECUTOR = "airflow_eks_dask.DaskExecutor"
BUNDLE = {"name": "eks_dask", "classpath": "airflow_eks_dask.bundle.EksDaskDagBundle", "kwargs": {}}
# What most tasks of the samples import.
PRELOAD = "pandas, pyarrow.parquet, dask.dataframe"
RESULTS = "results"
PLAIN_INTERVAL = 5.0
# Of the extra "demo"; PostgreSQL itself may come from elsewhere.
NEEDED = ("asyncpg", "dask.dataframe", "matplotlib", "pandas", "pyarrow")


def demo(args: Namespace) -> None:
    """
    Run the command.

    :param args: ``dag``, ``directory``, ``keep``, ``port``, ``timeout``, as defined in ``definition``.
    :raises SystemExit: 1 if the demo failed, 128 plus the signal's number if it was ended by a signal.
    """
    console = Console(highlight=False, soft_wrap=True)
    # A line for each request would drown the progress.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    with reported("demo"), _ended_by_signals():
        if missing := missing_modules():
            raise CommandError(
                f"it needs {', '.join(missing)}, which is not installed: pip install 'airflow-eks-dask[demo]'"
            )
        try:
            _run(args, console)
        except (LocalProcessError, NoFreePortError, AirflowWaitError, AirflowApiError) as error:
            raise CommandError(str(error)) from None


def missing_modules(needed: Sequence[str] = NEEDED) -> list[str]:
    """Return those of some modules that are not installed."""

    def installed(name: str) -> bool:
        try:
            return importlib.util.find_spec(name) is not None
        except ModuleNotFoundError:
            # Its parent is missing as well.
            return False

    return [name for name in needed if not installed(name)]


def state_line(tasks: Sequence[TaskInstance]) -> str:
    """Say in one line how many tasks of a run are done, and how many are in which other state."""
    counts = Counter(task.state for task in tasks)
    done = counts.pop("success", 0)
    others = [f"{count} {'waiting' if state == 'none' else state}" for state, count in sorted(counts.items())]
    return ", ".join([f"{done} of {len(tasks)} tasks done", *others])


class Progress:
    """
    Tells what goes on: in one living line on a terminal, else in a line for changes, every few seconds at most.

    :param console: Where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._started = time.monotonic()
        self._printed = ("", -PLAIN_INTERVAL)
        self._status: Status | None = None

    @contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Show that something is under way, and how long it took in the end."""
        started = time.monotonic()
        if self._console.is_terminal:
            with self._console.status(text) as self._status:
                yield
            self._status = None
        else:
            self._console.print(f"{text} ...", markup=False)
            yield
        self._console.print(f"{text}: done in {time.monotonic() - started:.1f} s", markup=False)

    def update(self, tasks: Sequence[TaskInstance]) -> None:
        """Show the states of the tasks of a run."""
        line, elapsed = state_line(tasks), time.monotonic() - self._started
        if self._status is not None:
            self._status.update(f"{elapsed:.0f} s  {line}")
            return
        printed, when = self._printed
        if line != printed and elapsed - when >= PLAIN_INTERVAL:
            self._console.print(f"{elapsed:.0f} s  {line}", markup=False)
            self._printed = (line, elapsed)


def _run(args: Namespace, console: Console) -> None:
    home = _new_home(args.directory)
    progress = Progress(console)
    console.print(f"Everything the demo writes is in {home}", markup=False)
    with ExitStack() as stack:
        with progress.step("Starting PostgreSQL"):
            postgres = stack.enter_context(PostgresServer())
            for database in ("airflow", RESULTS):
                postgres.create_database(database)
        airflow = LocalAirflow(
            home,
            postgres.sqlalchemy_url("airflow"),
            executor=EXECUTOR,
            dag_bundles=[BUNDLE],
            settings={"dask": {"preload_modules": PRELOAD}},
            environment={"AIRFLOW_CONN_SAMPLE_RESULTS": postgres.dsn(RESULTS)},
            port=args.port,
        )
        with progress.step("Starting Airflow"):
            stack.enter_context(airflow)
        console.print(f"Airflow's UI: {airflow.base_url}", markup=False)
        with airflow.client() as client:
            with progress.step(f"Running {args.dag}"):
                client.wait_for_dag(args.dag)
                run_id = client.trigger(args.dag)
                client.wait_for_run(
                    args.dag, run_id, timeout=args.timeout, on_progress=progress.update, poll_interval=1
                )
            _show_results(console, client, args.dag, run_id, postgres)
        if args.keep:
            _keep(console, airflow, postgres)
        console.print("Ending everything that was started", markup=False)
    console.print(f"Logs and results stay in {home}. To remove them: rm -r {home}", markup=False)


def _new_home(directory: Path | None) -> Path:
    """Make a directory for this run: two demos at a time do not meet, and earlier results stay."""
    try:
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix="airflow-eks-dask-demo-", dir=directory))
    except OSError as error:
        raise CommandError(f"no directory can be made in {error.filename}: {error.strerror}") from None


def _show_results(console: Console, client: AirflowClient, dag_id: str, run_id: str, postgres: PostgresServer) -> None:
    console.print(f"Run {run_id} succeeded. Its last task returned:", markup=False, style="green")
    value = client.return_value(dag_id, run_id, last_task(client.task_instances(dag_id, run_id)))
    console.print(json.dumps(value, indent=2), markup=False)
    for name, rows in _tables(postgres.sqlalchemy_url(RESULTS)):
        console.print(f"Table {name} in PostgreSQL's database {RESULTS!r} has {rows} rows", markup=False)


def last_task(tasks: Sequence[TaskInstance]) -> TaskInstance:
    """Return the task instance that ended last."""
    return max(tasks, key=lambda task: task.data["end_date"] or "")


def _tables(url: str) -> list[tuple[str, int]]:
    """Return the tables of a database, each with its number of rows."""
    engine = create_engine(url, poolclass=NullPool, connect_args={"connect_timeout": 5})
    names = inspect(engine).get_table_names()
    with engine.connect() as connection:
        return [
            (name, connection.execute(select(func.count()).select_from(table(name))).scalar_one()) for name in names
        ]


def _keep(console: Console, airflow: LocalAirflow, postgres: PostgresServer) -> None:
    """Wait for Ctrl-C, or for a component to end."""
    password_file = airflow.home / "pgpass"
    password_file.touch(mode=0o600)
    password_file.write_text(postgres.pgpass())
    console.print(
        f"Airflow stays up at {airflow.base_url} until Ctrl-C. The results' database meanwhile:\n"
        f"PGPASSFILE={password_file} psql -h 127.0.0.1 -p {postgres.port} -U airflow {RESULTS}",
        markup=False,
    )
    tick = threading.Event()
    try:
        while True:
            airflow.check()
            tick.wait(1)
    except KeyboardInterrupt:
        console.print("Ctrl-C", markup=False)


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Turn the signals that end a program into exceptions, so that it ends what it started."""

    def end(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    previous = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    # A shell that starts it in the background has it ignored.
    previous[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
