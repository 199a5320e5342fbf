"""A DAG that misses its deadline at once, and what is called then."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

from airflow.sdk import dag, task
from airflow.sdk.definitions.callback import SyncCallback
from airflow.sdk.definitions.deadline import DeadlineAlert, DeadlineReference

CALLED = Path(__file__).parent / "called.json"


def note(**kwargs: object) -> None:
    """Leave word that this was called, and where."""
    CALLED.write_text(json.dumps({"address": os.environ.get("DASK_SCHEDULER_ADDRESS"), "word": kwargs["word"]}))


@task
def wait() -> None:
    """Wait until the callback was called."""
    import time

    while not CALLED.exists():
        time.sleep(0.1)


@dag(
    schedule=None,
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(seconds=1),
        callback=SyncCallback("deadline.note", kwargs={"word": "too late"}),
    ),
)
def deadline() -> None:
    """Run one task."""
    wait()


deadline()
