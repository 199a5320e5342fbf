"""Tasks that compare what their module holds with what it was read from, one that writes that anew; many at once."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import rewritten_helper
from airflow.sdk import Param, chain, dag, get_current_context, task

HERE = Path(__file__).parent
FILES = {name: HERE / name for name in ("rewritten.py", "rewritten_helper.py", "rewritten.json")}
NUMBER = 0
READ = [NUMBER, rewritten_helper.NUMBER, json.loads((HERE / "rewritten.json").read_text())["NUMBER"]]
READ_BY = threading.get_native_id()


def there() -> list[int]:
    """Return the number that each file has now."""
    return [int(re.findall(r'NUMBER"?\W+(\d+)', file.read_text())[0]) for file in FILES.values()]


def orphan_goes() -> bool:
    """Return whether a process whose parent has ended goes when it ends, while the task still runs."""
    told = subprocess.run(["sh", "-c", "sleep 0 > /dev/null & echo $!"], stdout=subprocess.PIPE, check=True)
    deadline = time.monotonic() + 60
    while (is_there := psutil.pid_exists(int(told.stdout))) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not is_there


@task
def compare(number: int) -> dict[str, Any]:
    """Return what was read and what is there, and have one file be another after that."""
    found: dict[str, Any] = {"read": READ, "there": there()}
    if number == 7:
        found["orphan_is_gone"] = orphan_goes()
    if number == 4:
        file = FILES[get_current_context()["params"]["file"]]
        text = re.sub(r'(NUMBER"?\W+)(\d+)', lambda match: match[1] + str(int(match[2]) + 1), file.read_text(), count=1)
        file.write_text(text)
    return found


@dag(schedule=None, catchup=False, params={"file": Param("rewritten.py", enum=list(FILES))})
def rewritten() -> None:
    """Run one after the other."""
    chain(*[compare.override(task_id=f"compare_{number}")(number) for number in range(8)])


@task
def processes() -> list[int]:
    """Return which process has read this file, and which one runs this."""
    return [READ_BY, threading.get_native_id()]


@dag(schedule=None, catchup=False)
def side_by_side() -> None:
    """Run more than there are slots."""
    for number in range(24):
        processes.override(task_id=f"processes_{number}")()


rewritten()
side_by_side()
