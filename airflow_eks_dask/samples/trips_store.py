"""Trips in PostgreSQL: loaded object by object with COPY, each once, whatever is run again."""

from __future__ import annotations

import io
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, TypedDict

from airflow_eks_dask.samples.s3_objects import TRIP_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pyarrow as pa  # type: ignore[import-untyped]
    from airflow.providers.postgres.hooks.postgres import PostgresHook

SCHEMA = """
CREATE TABLE IF NOT EXISTS sample_s3_objects (
    source text PRIMARY KEY,
    etag text NOT NULL,
    trips integer NOT NULL,
    rejected integer NOT NULL,
    loaded_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS sample_s3_trips (
    source text NOT NULL REFERENCES sample_s3_objects ON DELETE CASCADE,
    trip_id bigint NOT NULL,
    pickup_at timestamp NOT NULL,
    zone text NOT NULL,
    distance_m bigint NOT NULL,
    duration_s bigint NOT NULL,
    fare_cents bigint NOT NULL,
    PRIMARY KEY (source, trip_id)
);
CREATE TABLE IF NOT EXISTS sample_s3_rejected (
    source text NOT NULL REFERENCES sample_s3_objects ON DELETE CASCADE,
    trip_id bigint,
    reason text NOT NULL
);
CREATE INDEX IF NOT EXISTS sample_s3_rejected_source ON sample_s3_rejected (source);
"""


class Stored(TypedDict):
    """What the tables hold of some objects: of all of them, and by zone."""

    objects: int
    trips: int
    rejected: int
    trips_by_zone: dict[str, int]


def create_tables(hook: PostgresHook) -> None:
    """Have the tables be there."""
    with _transaction(hook) as cursor:
        # CREATE IF NOT EXISTS of two runs at a time may fail: one after the other.
        _lock(cursor, "sample_s3")
        cursor.execute(SCHEMA)


def loaded_etags(hook: PostgresHook, sources: Iterable[str]) -> dict[str, str]:
    """Return the ETags of those objects that are loaded."""
    with _transaction(hook) as cursor:
        cursor.execute("SELECT source, etag FROM sample_s3_objects WHERE source = ANY(%s)", [list(sources)])
        return dict(cursor.fetchall())


def load(hook: PostgresHook, source: str, etag: str, good: pa.Table, bad: pa.Table) -> bool:
    """
    Load the trips of an object, in place of those of a former version of it: all of them or none.

    :param source: Where the object is.
    :param etag: Which version of it.
    :param good: The trips to load.
    :param bad: Those set aside, with the column ``reason``.
    :return: Whether anything was done: it is not if that version is loaded already.
    """
    with _transaction(hook) as cursor:
        # Of two runs with the same object, the second waits here and finds it loaded.
        _lock(cursor, source)
        cursor.execute("SELECT etag FROM sample_s3_objects WHERE source = %s", [source])
        if cursor.fetchone() == (etag,):
            return False
        cursor.execute("DELETE FROM sample_s3_objects WHERE source = %s", [source])
        cursor.execute(
            "INSERT INTO sample_s3_objects (source, etag, trips, rejected) VALUES (%s, %s, %s, %s)",
            [source, etag, good.num_rows, bad.num_rows],
        )
        _copy(cursor, "sample_s3_trips", source, good.select(list(TRIP_COLUMNS)))
        _copy(cursor, "sample_s3_rejected", source, bad.select(["trip_id", "reason"]))
    return True


def stored(hook: PostgresHook, sources: Iterable[str]) -> Stored:
    """Count what the tables hold of some objects."""
    names = list(sources)
    with _transaction(hook) as cursor:
        cursor.execute("SELECT count(*) FROM sample_s3_objects WHERE source = ANY(%s)", [names])
        (objects,) = cursor.fetchone()
        cursor.execute("SELECT count(*) FROM sample_s3_rejected WHERE source = ANY(%s)", [names])
        (rejected,) = cursor.fetchone()
        cursor.execute(
            "SELECT zone, count(*) FROM sample_s3_trips WHERE source = ANY(%s) GROUP BY zone ORDER BY 2 DESC, 1",
            [names],
        )
        by_zone = dict(cursor.fetchall())
    return Stored(objects=objects, trips=sum(by_zone.values()), rejected=rejected, trips_by_zone=by_zone)


@contextmanager
def _transaction(hook: PostgresHook) -> Iterator[Any]:
    """Give a cursor; what is done with it happens as a whole or not at all."""
    with closing(hook.get_conn()) as connection, connection, connection.cursor() as cursor:
        yield cursor


def _lock(cursor: Any, name: str) -> None:
    """Let nobody else hold the lock of this name until the transaction ends."""
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name])


def _copy(cursor: Any, table: str, source: str, rows: pa.Table) -> None:
    import pyarrow as pa
    from pyarrow import csv

    content = io.BytesIO()
    sources = pa.array([source] * rows.num_rows, pa.string())
    csv.write_csv(rows.add_column(0, "source", sources), content, csv.WriteOptions(include_header=False))
    content.seek(0)
    statement = f"COPY {table} (source, {', '.join(rows.column_names)}) FROM STDIN (FORMAT csv)"
    if hasattr(cursor, "copy_expert"):
        cursor.copy_expert(statement, content)
        return
    # The provider takes psycopg 3 where that is installed.
    with cursor.copy(statement) as copy:
        copy.write(content.getvalue())
