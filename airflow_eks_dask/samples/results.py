"""Where the sample pipeline puts its results: a table in PostgreSQL or SQLite."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Any, TypedDict

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException
from sqlalchemy import (
    BigInteger,
    Column,
    Date,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    delete,
    func,
    insert,
    select,
)
from sqlalchemy.pool import NullPool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXAMPLES = {
    "postgres": "--conn-uri postgresql://user@host/database",
    "sqlite": "--conn-type sqlite --conn-host /path/to/results.db",
}
"""How connections are made, by type."""

DAILY = Table(
    "sample_etl_daily",
    MetaData(),
    Column("run_id", String(250), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("zone", String(50), primary_key=True),
    Column("trips", Integer, nullable=False),
    Column("rush_hour_trips", Integer, nullable=False),
    Column("distance_m", BigInteger, nullable=False),
    Column("duration_s", BigInteger, nullable=False),
    Column("fare_cents", BigInteger, nullable=False),
    Column("top_speed_kmh", Float, nullable=False),
)


class Loaded(TypedDict):
    """What the table holds of a run."""

    rows: int
    trips: int


def results_hook(conn_id: str, kinds: Sequence[str]) -> Any:
    """
    Return the hook of the Airflow connection to the database for results.

    :param kinds: Types that it may have.
    :raises AirflowFailException: It is not defined, or of another type.
    """
    advice = (
        f"Define it under Admin > Connections, type Postgres, or by `airflow connections add {conn_id} "
        f"{EXAMPLES[kinds[-1]]}`; then clear the run."
    )
    try:
        connection: Connection = Connection.get(conn_id)
    except AirflowNotFoundException:
        raise AirflowFailException(f"No connection {conn_id!r}, where results should go. {advice}") from None
    if connection.conn_type not in kinds:
        raise AirflowFailException(
            f"Connection {conn_id!r} is of type {connection.conn_type!r}; results can go to "
            f"{' or '.join(map(repr, kinds))}. {advice}"
        )
    # Airflow's own has no type annotations.
    get_hook: Callable[[], Any] = connection.get_hook
    return get_hook()


def results_engine(conn_id: str) -> Engine:
    """
    Return an engine for the database behind an Airflow connection.

    :raises AirflowFailException: The connection is not defined, or of another type than PostgreSQL or SQLite.
    """
    hook = results_hook(conn_id, ("postgres", "sqlite"))
    engine: Engine = hook.get_sqlalchemy_engine(engine_kwargs={"poolclass": NullPool})
    return engine


def replace_rows(engine: Engine, run_id: str, daily: list[dict[str, Any]]) -> Loaded:
    """
    Put a run's sums into the table, in place of those it loaded before: all of them or none.

    :param daily: The sums, at least one; ``day`` is such as ``2025-01-31``, the other keys are columns of the table.
    """
    rows = [{**row, "run_id": run_id, "day": date.fromisoformat(row["day"])} for row in daily]
    of_this_run = DAILY.c.run_id == run_id
    with engine.begin() as connection:
        DAILY.create(connection, checkfirst=True)
        connection.execute(delete(DAILY).where(of_this_run))
        connection.execute(insert(DAILY), rows)
        count, trips = connection.execute(select(func.count(), func.sum(DAILY.c.trips)).where(of_this_run)).one()
    return {"rows": count, "trips": int(trips)}
