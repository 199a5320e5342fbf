"""``airflow standalone`` keeps the executor while it is local, as it would any local executor."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ASK = """
from airflow.cli.commands.standalone_command import StandaloneCommand
print("executor:", StandaloneCommand().calculate_env()["AIRFLOW__CORE__EXECUTOR"])
"""


@pytest.mark.parametrize(
    ("address", "kept"),
    [("", "airflow_eks_dask.DaskExecutor"), ("tcp://127.0.0.1:8786", "LocalExecutor")],
)
def test_standalone(tmp_path, address, kept):
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__EXECUTOR": "airflow_eks_dask.DaskExecutor",
        "AIRFLOW__DASK__CLUSTER_ADDRESS": address,
    }
    done = subprocess.run(
        [sys.executable, "-c", ASK], env=environment, check=True, capture_output=True, text=True, timeout=120
    )
    assert f"executor: {kept}" in done.stdout
