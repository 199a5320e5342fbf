"""Whether an operator waits in the triggerer."""

from __future__ import annotations

from airflow.configuration import conf


def is_deferrable(chosen: bool | None) -> bool:
    """
    Return whether to wait in the triggerer.

    :param chosen: What the DAG says; None: ``[operators] default_deferrable`` says it.
    """
    return conf.getboolean("operators", "default_deferrable", fallback=False) if chosen is None else chosen
