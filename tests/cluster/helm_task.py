"""A process that runs one operator as Airflow's task runner does; what to run is read from standard input."""

from __future__ import annotations

import json
import logging
import signal
import sys
from types import SimpleNamespace

from airflow.sdk import DAG

from airflow_eks_dask.operators import helm


def main() -> None:
    wanted = json.load(sys.stdin)
    secret = wanted.pop("secret")
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, force=True)
    with DAG("tests", schedule=None):
        task = getattr(helm, wanted.pop("operator"))(task_id="task", **wanted)
    signal.signal(signal.SIGTERM, lambda *_: task.on_kill())
    ti = SimpleNamespace(dag_id="tests", run_id="run", task_id="task", map_index=-1)
    context = {"ti": ti, "secret": secret}
    task.render_template_fields(context)
    print(json.dumps(task.execute(context)))


if __name__ == "__main__":
    main()
