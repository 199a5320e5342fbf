"""Values of a chart: read, merged, and those that are secret found. Nothing here is written to disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped]

from airflow_eks_dask.helm.errors import HelmError
from airflow_eks_dask.manifests.documents import Loader

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MASK = "***"

_SHORTEST_SECRET = 5
"""Characters, as in Airflow's masking: a shorter one would mask half of what is said."""


def read_values(file: Path) -> dict[str, Any]:
    """
    Read a file of values.

    :raises HelmError: It is not there, no YAML, or no mapping.
    """
    try:
        content = yaml.load(file.read_text(), Loader)  # noqa: S506 (a safe loader)
    except (OSError, UnicodeDecodeError) as error:
        raise HelmError(f"values file {file} can't be read: {error}") from None
    except yaml.YAMLError as error:
        # The error's text quotes the file, which may hold what is secret.
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark else ""
        raise HelmError(f"values file {file} is no YAML{where}") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise HelmError(f"values file {file} has to hold a mapping, and holds a {type(content).__name__}")
    return content


def as_parts(values: Any) -> list[Any]:
    """Return mappings and paths of files as a list, also where only one of them was given."""
    return [values] if isinstance(values, (dict, str)) else list(values)


def merged(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """
    Merge values as Helm does: the later wins, mappings are merged, lists replaced.

    A None stays: it is how a chart's own default is taken away.
    """
    result: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            former = result.get(key)
            if isinstance(value, Mapping):
                result[key] = merged([former if isinstance(former, Mapping) else {}, value])
            else:
                result[key] = value
    return result


def texts(value: Any) -> Iterator[str]:
    """Yield all texts and numbers in a value, however deep."""
    if isinstance(value, Mapping):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from texts(each)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


class Masks:
    """
    Takes secrets out of what is said.

    :param secrets: Of more than one line, such as a key in PEM format, each line is one: output comes line by line.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        pieces = {piece.strip() for secret in secrets for piece in (secret, *secret.splitlines())}
        # The longest first: one may be part of another.
        self._pieces = sorted((each for each in pieces if len(each) >= _SHORTEST_SECRET), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return the text without the secrets."""
        for piece in self._pieces:
            text = text.replace(piece, MASK)
        return text
