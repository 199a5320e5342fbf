"""Logs brought home from workers."""

from __future__ import annotations

import asyncio

import pytest

from airflow_eks_dask.executors.log_keeper import LogKeeper
from airflow_eks_dask.worker.protocol import LOG_LIMIT

pytestmark = pytest.mark.any_airflow

PATH = "dag/task/attempt=1.log"


class Worker:
    """Answers as the handler ``airflow_log`` does."""

    def __init__(self, data: bytes, path: str | None = PATH) -> None:
        self.data, self.path, self.calls = data, path, 0

    async def call(self, handler: str, *, key: str, offset: int, limit: int) -> dict:
        assert handler == "airflow_log"
        assert limit <= LOG_LIMIT
        self.calls += 1
        if key != "k":
            return {"error": f"{key} is not known"}
        part = self.data[offset : offset + limit]
        return {"data": part, "size": len(self.data), "offset": offset, "log_path": self.path}


def bring_home(folder, worker, key="k", limit=10 * LOG_LIMIT):
    async def run():
        await LogKeeper(folder, limit).bring_home(key, worker.call)

    asyncio.run(run())


def test_a_log_comes_home_whole(tmp_path):
    data = b"a line\n" * LOG_LIMIT  # several messages
    bring_home(tmp_path, Worker(data))
    assert (tmp_path / PATH).read_bytes() == data
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [tmp_path / PATH]


def test_of_a_long_one_the_end_is_kept_in_whole_lines(tmp_path):
    lines = [b"line %04d" % number for number in range(100)]
    bring_home(tmp_path, Worker(b"\n".join(lines)), limit=95)
    first, *rest = (tmp_path / PATH).read_bytes().split(b"\n")
    assert b"bytes before this were not kept" in first
    assert rest == lines[-len(rest) :]
    assert len(rest) == 9
    missing = int(first.split()[1])
    assert missing + len(b"\n".join(rest)) == len(b"\n".join(lines))


def test_one_in_a_shared_folder_is_left_alone(tmp_path):
    (tmp_path / PATH).parent.mkdir(parents=True)
    (tmp_path / PATH).write_bytes(b"the same file")
    before = (tmp_path / PATH).stat()
    worker = Worker(b"the same file")
    bring_home(tmp_path, worker)
    after = (tmp_path / PATH).stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)
    assert worker.calls == 1


@pytest.mark.parametrize("path", ["../outside.log", "/tmp/outside.log", "a/../../outside.log"])
def test_a_path_that_leads_out_of_the_folder_is_refused(tmp_path, caplog, path):
    folder = tmp_path / "logs"
    folder.mkdir()
    bring_home(folder, Worker(b"data", path))
    assert "leads out of" in caplog.text
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


def test_one_that_cannot_be_had_is_told(tmp_path, caplog):
    bring_home(tmp_path, Worker(b""), key="other")
    assert "other is not known" in caplog.text


def test_a_workload_without_a_log(tmp_path):
    bring_home(tmp_path, Worker(b"", path=None))
    assert list(tmp_path.iterdir()) == []
