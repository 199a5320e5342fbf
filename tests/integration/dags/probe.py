"""Tasks that tell what they see, fail, die, wait and compute: what the tests need of a DAG."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from airflow.sdk import Param, dag, get_current_context, task


@task
def look_around() -> dict:
    """Tell what this task process can see of its surroundings."""
    import psutil
    from airflow.configuration import conf

    me = psutil.Process()
    family = [me, *me.parents()]
    supervisor = me.parent()
    return {
        "pool_enabled": conf.getboolean("database", "sql_alchemy_pool_enabled"),
        "peers": [c.raddr.port for p in (me, supervisor) for c in p.net_connections("tcp") if c.raddr],
        "pids": [p.pid for p in family],
        "session_is_own": os.getsid(0) == supervisor.pid,
        "dask_scheduler": os.environ.get("DASK_SCHEDULER_ADDRESS"),
        "process_context": os.environ.get("_AIRFLOW_PROCESS_CONTEXT"),
    }


@task
def fail() -> None:
    """Raise."""
    raise ValueError("this task was made to fail")


@task
def kill_itself() -> None:
    """End by SIGKILL."""
    os.kill(os.getpid(), signal.SIGKILL)


@task(retries=1, retry_delay=timedelta(seconds=1))
def fail_once() -> int:
    """Fail the first time."""
    attempt = get_current_context()["ti"].try_number
    if attempt == 1:
        raise RuntimeError("the first try fails")
    return attempt


@task
def wait() -> None:
    """Write this process's id into a file of the directory in the params, and wait for a file ``go`` there."""
    directory = Path(get_current_context()["params"]["directory"])
    (directory / "pid").write_text(str(os.getpid()))
    while not (directory / "go").exists():
        time.sleep(0.05)


@task(queue="large")
def large() -> str:
    """Tell where this runs."""
    return os.environ["DASK_SCHEDULER_ADDRESS"]


@task(queue="local")
def local() -> str:
    """Tell where this runs."""
    return os.environ["DASK_SCHEDULER_ADDRESS"]


@task(executor_config={"dask": {"resources": {"GPU": -1}}})
def wrong_resources() -> None:
    """Never run."""


@task(queue="large")
def talk() -> None:
    """Say something, and wait for a file ``go`` in the directory in the params."""
    print("this is said while the task runs", flush=True)
    directory = Path(get_current_context()["params"]["directory"])
    while not (directory / "go").exists():
        time.sleep(0.05)
    print("this is said at the end", flush=True)


@task
def compute() -> int:
    """Compute on the cluster that runs this task."""
    import airflow_eks_dask

    with airflow_eks_dask.get_client() as client:
        return client.submit(sum, range(10)).result(timeout=60)


@task
def leave_traces() -> dict:
    """Leave traces in this process; return whose process it is, and what there was before."""
    import numpy as np

    me = get_current_context()["ti"].task_id
    before = os.environ.get("LEFT_BY")
    os.environ["LEFT_BY"] = me
    print(f"said by {me}")
    return {"pid": os.getpid(), "supervisor": os.getppid(), "before": before, "random": np.random.random()}


@dag(schedule=None)
def probe_traces() -> None:
    """Run more tasks that leave traces than there are slots."""
    for number in range(12):
        leave_traces.override(task_id=f"task_{number}_")()


probe_traces()


def define(operator: Callable[[], object]) -> None:
    """Define a DAG of one task, named after it."""

    @dag(
        dag_id=f"probe_{operator.function.__name__}",
        schedule=None,
        params={"directory": Param("", type="string")},
    )
    def probe() -> None:
        operator()

    probe()


for each in (look_around, fail, kill_itself, fail_once, wait, large, local, wrong_resources, talk, compute):
    define(each)
