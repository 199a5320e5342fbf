"""What a task asks of its worker: ``executor_config={"dask": {...}}``."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from airflow_eks_dask.worker.protocol import SLOTS_RESOURCE


class Requirements(BaseModel):
    """
    The part of ``executor_config`` that is for this executor.

    :param resources: Amounts of Dask resources, by name, that the task holds while it runs: workers offer them with
        ``dask worker --resources "GPU=2"``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    resources: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = {}


def read(executor_config: dict[str, Any] | None) -> Requirements:
    """
    Read a task's ``executor_config``; parts for other executors are passed over.

    :raises ValueError: With everything that is wrong.
    """
    try:
        requirements = Requirements.model_validate((executor_config or {}).get("dask") or {})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc'])) or 'it'}: {problem['msg']}" for problem in error.errors()
        )
        raise ValueError(f"executor_config['dask'] is wrong: {problems}") from None
    if SLOTS_RESOURCE in requirements.resources:
        raise ValueError(f"executor_config['dask'] is wrong: resources.{SLOTS_RESOURCE}: every task holds one slot")
    return requirements
