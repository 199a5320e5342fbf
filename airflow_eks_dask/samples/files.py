"""Files of a DAG run, on a disk or in an object store, that appear whole or not at all."""

from __future__ import annotations

import hashlib
import io
import json
import re
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from uuid import uuid4

from upath import UPath

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa  # type: ignore[import-untyped]


def run_folder(data_dir: str, run_id: str) -> str:
    """
    Return the folder of a DAG run: its own, whatever characters the run's id has.

    :param data_dir: A path, or a URL that fsspec knows.
    """
    readable = re.sub(r"[^A-Za-z0-9_-]", "_", run_id)[:100]
    # The digest keeps apart run ids that differ only in the characters replaced.
    digest = hashlib.sha256(run_id.encode()).hexdigest()[:8]
    return str(UPath(data_dir.removeprefix("file://")) / f"{readable}-{digest}")


def write(path: str, save: Callable[[IO[bytes]], object]) -> str:
    """
    Write a file in place of an older one, with the folders above it; return its path.

    :param path: A path, or a URL that fsspec knows.
    :param save: Writes the content to the binary file it is given.
    """
    content = io.BytesIO()
    save(content)
    target = UPath(path)
    if not isinstance(target, Path):
        # An object store shows an object once it is complete.
        target.write_bytes(content.getvalue())
        return path
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{uuid4().hex}")
    try:
        part.write_bytes(content.getvalue())
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return path


def write_json(path: str, value: Any) -> str:
    """Write a value as JSON, whole or not at all; return the path."""
    return write(path, lambda file: file.write(json.dumps(value).encode()))


def read_json(path: str) -> Any:
    """Read a value from a JSON file."""
    return json.loads(UPath(path).read_bytes())


def write_parquet(path: str, table: pa.Table) -> str:
    """Write a table as Parquet, whole or not at all; return the path."""
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    return write(path, lambda file: pq.write_table(table, file))


def read_parquet(path: str) -> pa.Table:
    """Read a table from a Parquet file."""
    import pyarrow.parquet as pq

    with UPath(path).open("rb") as file:
        return pq.read_table(file)
