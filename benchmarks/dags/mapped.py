"""One trivial task, mapped at run time over as many elements as the run asks for."""

from __future__ import annotations

from airflow.sdk import dag, get_current_context, task


@task
def numbers() -> list[int]:
    """Return what is mapped over."""
    return list(range(get_current_context()["params"]["tasks"]))


@task
def nothing(number: int) -> None:
    """Do nothing: whatever time it takes is Airflow's."""


@dag(schedule=None, catchup=False, params={"tasks": 500})
def mapped() -> None:
    """Run the elements side by side."""
    nothing.expand(number=numbers())


mapped()
