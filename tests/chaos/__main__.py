"""``python -m tests.chaos``: break everything once, and write down what came of it."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from random import SystemRandom
from typing import TYPE_CHECKING

from airflow_eks_dask.local.postgres import PostgresServer
from tests.chaos import report, trial
from tests.chaos.faults import FAULTS
from tests.chaos.sites import SITES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.chaos.trial import Form, Verdict


def main() -> int:
    """Return 0 if nothing was lost, duplicated or wrongly failed, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--long", action="store_true", help="200 tasks for each fault instead of 24")
    parser.add_argument("--executor", choices=list(SITES), action="append", help="default: dask; may be repeated")
    parser.add_argument("--fault", action="append", help="only this one; may be repeated")
    parser.add_argument("--seed", type=int, default=SystemRandom().randrange(10**6), help="repeats a former run")
    parser.add_argument("--output", type=Path, help="Markdown file whose table is replaced")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    form = trial.LONG if arguments.long else trial.SHORT
    print(f"seed {arguments.seed}")
    verdicts = [
        verdict
        for executor in arguments.executor or ["dask"]
        for verdict in trials(executor, form, arguments.seed, arguments.fault)
    ]
    if arguments.output:
        command = " ".join(["python -m tests.chaos", *sys.argv[1:]])
        report.write(arguments.output, verdicts, seed=arguments.seed, command=command)
    return int(any(verdict.problems for verdict in verdicts))


def trials(executor: str, form: Form, seed: int, wanted: list[str] | None) -> Iterator[Verdict]:
    """Start an Airflow and do the faults to it, one after the other."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        postgres = stack.enter_context(PostgresServer())
        site = stack.enter_context(SITES[executor](directory / f"chaos_{executor}", postgres))
        for fault in FAULTS[executor]:
            if fault.name in wanted if wanted else form.is_long or not fault.long_only:
                verdict = trial.run(fault, site, form, seed)
                print(report.row(verdict), *verdict.problems, sep="\n  ", flush=True)
                yield verdict


if __name__ == "__main__":
    sys.exit(main())
