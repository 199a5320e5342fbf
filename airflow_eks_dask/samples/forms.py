"""What sample DAGs have in common: fields of their forms, and how often and how long their tasks are tried."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.configuration import AIRFLOW_HOME
from airflow.sdk import Param

# One more try, for passing troubles of the network; the timeout ends whatever hangs while it runs.
DEFAULT_ARGS: dict[str, Any] = {
    "retries": 1,
    "retry_delay": timedelta(seconds=5),
    "execution_timeout": timedelta(minutes=15),
}


def year() -> Param:
    """Return the field for the year of the trips."""
    return Param(
        2025, type="integer", minimum=2000, maximum=2100, title="Year", description="Year of the made-up trips."
    )


def seed() -> Param:
    """Return the field for the seed of the trips."""
    return Param(
        1,
        type="integer",
        minimum=0,
        maximum=2**32 - 1,
        title="Seed",
        description="The same seed gives the same trips.",
    )


def data_dir(dag_id: str) -> Param:
    """Return the field for the directory of a DAG's files."""
    return Param(
        str(Path(AIRFLOW_HOME) / dag_id),
        type="string",
        pattern=r"^(/|[a-z][a-z0-9+.-]*://).+",
        title="Data directory",
        description="Absolute path, or URL such as s3://bucket/prefix (tasks then need the package s3fs and "
        "AWS credentials). All workers must see the same directory: with more than one machine, use "
        "shared storage.",
    )


def connection(default: str, title: str, description: str) -> Param:
    """Return the field for the name of an Airflow connection."""
    return Param(default, type="string", pattern=r"^[\w.-]+$", title=title, description=description)
