"""Stands in for Airflow's supervisor on the Dask workers: does what the payload says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path


def warm_up() -> None:
    """Nothing to import."""


def describe() -> dict:
    """Take queues from where Airflow would, and logs from the directory that the worker was started in."""
    queues = os.environ.get("AIRFLOW__DASK__QUEUES", "")
    return {"queues": queues.split(",") if queues else [], "log_folder": str(Path.cwd() / "logs")}


def run(payload: bytes) -> tuple[int, ...]:
    """Do one thing, in this process or in children of it."""
    order = json.loads(payload)
    mark(order, "started")
    match order["do"]:
        case "nothing":
            pass
        case "raise":
            raise ValueError(order["words"])
        case "signal":
            os.kill(os.getpid(), signal.Signals[order["signal"]])
            time.sleep(60)
        case "sleep":
            # A child in a process group of its own, as Airflow's supervisor starts the task.
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], process_group=0)
            mark(order, "child", child.pid)
            if order.get("stubborn"):
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while not Path(order["until"]).exists():
                time.sleep(0.02)
        case "start a thread":
            threading.Thread(target=time.sleep, args=[60], daemon=True).start()
        case "close the output":
            sys.stdout.close()
        case "exit":
            os._exit(0)
        case "random":
            import numpy as np

            mark(order, "number", np.random.random())
        case "compute":
            import airflow_eks_dask

            with airflow_eks_dask.get_client() as client:
                mark(order, "result", client.submit(sum, [1, 2, 3]).result(timeout=60))
    mark(order, "ended")
    return ()


def mark(order: dict, what: str, value: object = None) -> None:
    """Append a line to the ledger of this key."""
    with Path(order["ledger"]).open("a") as ledger:
        ledger.write(json.dumps({"what": what, "pid": os.getpid(), "value": value}) + "\n")
