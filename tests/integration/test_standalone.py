"""``airflow standalone`` keeps the executor while it is local, as it would any local executor."""

from __future__ import annotations

import os
import subprocess
import sys

# One process for both: it takes seconds to import Airflow.
ASK = """
import os
from airflow.cli.commands.standalone_command import StandaloneCommand
for address in ("", "tcp://127.0.0.1:8786"):
    os.environ["AIRFLOW__DASK__CLUSTER_ADDRESS"] = address
    print(f"executor for {address!r}:", StandaloneCommand().calculate_env()["AIRFLOW__CORE__EXECUTOR"])
"""


def test_standalone(tmp_path):
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__EXECUTOR": "airflow_eks_dask.DaskExecutor",
    }
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=environment, check=True, capture_output=True, text=True, timeout=240
    )
    assert "executor for '': airflow_eks_dask.DaskExecutor" in done.stdout
    assert "executor for 'tcp://127.0.0.1:8786': LocalExecutor" in done.stdout
