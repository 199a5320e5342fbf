"""Reading a log: the parts of it, and nothing but it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from airflow_eks_dask.worker import log_file


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "secret").write_text("secret")
    folder = tmp_path / "logs"
    (folder / "dag").mkdir(parents=True)
    (folder / "dag" / "task.log").write_bytes(b"0123456789")
    return folder


@pytest.mark.parametrize(
    ("offset", "limit", "data"),
    [(0, 100, b"0123456789"), (3, 4, b"3456"), (10, 5, b""), (99, 5, b""), (0, 0, b"")],
)
def test_reads_a_part(folder, offset, limit, data):
    assert log_file.read(folder, "dag/task.log", offset, limit) == {"data": data, "size": 10, "offset": offset}


def test_an_answer_has_an_upper_bound(folder, monkeypatch):
    monkeypatch.setattr(log_file, "LOG_LIMIT", 4)
    assert log_file.read(folder, "dag/task.log", 0, 10**12)["data"] == b"0123"


@pytest.mark.parametrize(
    "path", ["", ".", "..", "../secret", "dag/../../secret", "/etc/passwd", "dag//task.log", "a\0b"]
)
def test_a_path_that_is_not_plain_is_refused(folder, path):
    with pytest.raises(ValueError, match="plain relative path"):
        log_file.read(folder, path, 0, 10)


@pytest.mark.parametrize("path", ["link", "folder/secret", "dag/link"])
def test_symbolic_links_are_not_followed(folder, path):
    (folder / "link").symlink_to("../secret")
    (folder / "folder").symlink_to("..")
    (folder / "dag" / "link").symlink_to("task.log")
    with pytest.raises(OSError, match=r"symbolic links|Not a directory"):
        log_file.read(folder, path, 0, 10)


def test_a_folder_or_a_pipe_is_no_log_and_stops_nobody(folder):
    os.mkfifo(folder / "pipe")
    for path in ("dag", "pipe"):
        with pytest.raises(ValueError, match="not a regular file"):
            log_file.read(folder, path, 0, 10)


@pytest.mark.parametrize(("offset", "limit"), [(-1, 1), (0, -1)])
def test_numbers_below_zero_are_refused(folder, offset, limit):
    with pytest.raises(ValueError, match="0 or more"):
        log_file.read(folder, "dag/task.log", offset, limit)


def test_reading_leaves_no_file_open(folder):
    before = len(list(Path("/proc/self/fd").iterdir()))
    log_file.read(folder, "dag/task.log", 0, 10)
    for path in ("missing/deep", "dag/missing"):
        with pytest.raises(FileNotFoundError):
            log_file.read(folder, path, 0, 10)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_log_folder_that_is_itself_a_link_is_fine(folder, tmp_path):
    (tmp_path / "linked").symlink_to(folder)
    assert log_file.read(tmp_path / "linked", "dag/task.log", 0, 2)["data"] == b"01"
