"""The page "From kind to EKS": its commands are run as they stand there, and tasks run in pods."""

from __future__ import annotations

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cluster.conftest import BESIDE, kubectl

pytestmark = [pytest.mark.any_airflow, pytest.mark.timeout(1200)]

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "kind-to-eks.md").read_text()
IN_A_TERMINAL = "# In a terminal of its own\n"

# What the cluster for tests has instead of kind, and of Docker beside it.
INSTEAD = """
docker() {
  case "$1" in
    build) (cd "$ROOT" && "$KUBE" "$@") ;;
    network) echo "$KUBE_HOST_IP" ;;
  esac
}
kind() { if [ "$1" = load ]; then "$KUBE" load "$3"; fi; }
cloud-provider-kind() { :; }
"""


def script():
    """The commands of the page, those for terminals of their own in the background; each is shown before it is run."""
    blocks = re.findall(r"```bash\n(.*?)```", PAGE, re.S)
    assert len(blocks) > 10
    parts = ["set -euo pipefail", INSTEAD, "set -v"]
    for number, block in enumerate(blocks):
        commands = block.removeprefix(IN_A_TERMINAL)
        parts.append(commands if commands == block else f"(\n{commands}) > try/terminal-{number}.log 2>&1 &")
    return "\n".join(parts)


@pytest.fixture
def place(kubernetes, tmp_path):
    """A folder that has of the checkout what the commands name."""
    if not BESIDE.exists() or "KUBE_HOST_IP" not in os.environ:
        pytest.skip("in the place of kind's own commands it takes those of the cluster beside the repository")
    (tmp_path / "airflow_eks_dask").symlink_to(ROOT / "airflow_eks_dask")
    (tmp_path / "try").mkdir()
    yield tmp_path
    kubectl("delete", "namespace", "pipelines", "--ignore-not-found", "--timeout=240s")


@pytest.fixture
def run(place):
    """Run a script as people at a terminal would; whatever it leaves running is ended."""
    started = []

    def run(text):
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
            "ROOT": str(ROOT),
            "KUBE": str(BESIDE),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        log = place / "script.log"
        with log.open("w") as output:
            shell = subprocess.Popen(
                ["bash", "-c", text],
                cwd=place,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        started.append(shell)
        return shell.wait(timeout=1100), log.read_text()

    yield run
    for shell in started:
        for each in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, each)
                wait_for_group(shell.pid)


def wait_for_group(group, seconds=30):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        os.killpg(group, 0)
        time.sleep(0.1)


def test_the_commands_of_the_page(place, run):
    code, said = run(script())
    terminals = "".join(f"\n== {file.name}\n{file.read_text()[-3000:]}" for file in place.glob("try/terminal-*.log"))
    assert code == 0, f"{said[-6000:]}{terminals}"
    assert "refuses clients without TLS or without a certificate" in said
    with sqlite3.connect(place / "try" / "airflow-home" / "airflow.db") as database:
        tasks = database.execute(
            "select state, hostname from task_instance where dag_id = 'sample_parallel'"
        ).fetchall()
    assert len(tasks) == 10
    assert {state for state, _ in tasks} == {"success"}
    hosts = {host for _, host in tasks}
    assert all(host.startswith("pipeline-worker-default-") for host in hosts), hosts
