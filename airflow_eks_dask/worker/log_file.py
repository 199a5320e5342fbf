"""Reading the log of a workload, and nothing else, on its worker."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any

from airflow_eks_dask.worker.protocol import LOG_LIMIT

if TYPE_CHECKING:
    from pathlib import Path


def read(folder: Path, path: str, offset: int, limit: int) -> dict[str, Any]:
    """
    Read part of a file below a folder.

    Every step of the path is opened in the one before it, and symbolic links are not followed: whatever the path
    says, and whoever changes the folder meanwhile, no file beyond it is read.

    :param folder: The worker's log folder.
    :param path: Relative to it.
    :param offset: Where to start, in bytes.
    :param limit: Bytes at most; :data:`.protocol.LOG_LIMIT` is the upper bound.
    :return: The bytes as ``data``, the file's ``size`` and the ``offset``.
    :raises ValueError: The path leads elsewhere, or the numbers are none.
    :raises OSError: The file can't be read; usually, it is not there yet.
    """
    if offset < 0 or limit < 0:
        raise ValueError(f"offset {offset} and limit {limit} must be 0 or more")
    parts = path.split("/")
    if not path or "\0" in path or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"log path {path!r} must be a plain relative path below the worker's log folder")
    descriptor = _open(folder, parts)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError(f"log path {path!r} is not a regular file")
        data = os.pread(descriptor, min(limit, LOG_LIMIT), offset)
    finally:
        os.close(descriptor)
    return {"data": data, "size": status.st_size, "offset": offset}


def _open(folder: Path, parts: list[str]) -> int:
    current = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for index, part in enumerate(parts):
        last = index == len(parts) - 1
        # Without O_NONBLOCK, opening a named pipe would wait for its writer.
        kind = os.O_NONBLOCK if last else os.O_DIRECTORY
        try:
            inner = os.open(part, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | kind, dir_fd=current)
        finally:
            os.close(current)
        current = inner
    return current
