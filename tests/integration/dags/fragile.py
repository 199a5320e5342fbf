"""A DAG whose file a test breaks after it was parsed."""

from airflow.sdk import dag, task


@task
def fine() -> None:
    """Do nothing."""


@dag(schedule=None)
def fragile():
    """Run one task."""
    fine()


fragile()
