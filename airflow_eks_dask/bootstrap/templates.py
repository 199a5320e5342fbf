"""How tasks get at what others have found out: templates, which are rendered when a task runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow_eks_dask.bootstrap.parts import Output, with_outputs

if TYPE_CHECKING:
    from airflow_eks_dask.bootstrap.parts import Part

FORM = "preflight.form"
"""The task that reads the form."""


def returned(task_id: str, *keys: str) -> str:
    """Return the template of what a task has returned, or of what is in it under these keys."""
    return f"{{{{ {_value(task_id, *keys)} }}}}"


def setting(name: str) -> str:
    """Return the template of a setting."""
    return returned(FORM, "settings", name)


def setting_or(name: str, otherwise: str) -> str:
    """Return the template of a setting, or of something else where it is empty."""
    return f"{{{{ {_value(FORM, 'settings', name)} or {otherwise!r} }}}}"


def wanted(part: Part, fields: dict[str, Any] | None = None) -> dict[str, Any]:
    """
    Return the fields of a part as templates.

    :param fields: Which; default: all.
    """
    chosen = part.wanted if fields is None else fields
    return {
        name: with_outputs(value, lambda output: returned(output.part, output.key))
        if has_output(value)
        else returned(FORM, "wanted", part.name, name)
        for name, value in chosen.items()
    }


def has_output(value: Any) -> bool:
    """Tell whether a value has anything that another part has yet to tell."""
    if isinstance(value, Output):
        return True
    if isinstance(value, dict):
        return any(map(has_output, value.values()))
    return isinstance(value, list) and any(map(has_output, value))


def _value(task_id: str, *keys: str) -> str:
    """Return the expression of what a task has returned, or of what is in it under these keys."""
    path = "".join(f"[{key!r}]" for key in keys)
    return f"ti.xcom_pull(task_ids={task_id!r}){path}"
