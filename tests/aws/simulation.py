"""The simulated AWS as tests see it: start it, watch it, break it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config

from airflow_eks_dask.local.ports import ReservedPort
from tests.aws.calls import Call

if TYPE_CHECKING:
    from collections.abc import Iterator

REGION = "eu-central-1"
START_TIMEOUT = 120.0
ROOT = Path(__file__).parents[2]


class Simulation:
    """
    A process that answers as AWS does.

    :param url: Where it answers.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    @classmethod
    @contextmanager
    def started(cls, kubeconfig: Path | None = None) -> Iterator[Simulation]:
        """
        Start the process, and end it with the block.

        :param kubeconfig: Of a cluster that is there; all clusters of EKS are that one. None: nobody answers there.
        """
        port = ReservedPort()
        options = [f"--port={port.number}", *([f"--kubeconfig={kubeconfig}"] if kubeconfig else [])]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.aws.server", *options],
            # It ends when this is closed: with this process, however that ends.
            stdin=subprocess.PIPE,
            cwd=ROOT,
            env={
                **os.environ,
                "MOTO_IAM_LOAD_MANAGED_POLICIES": "true",
                "PYTHONPATH": str(ROOT),
            },
        )
        try:
            simulation = cls(f"http://127.0.0.1:{port.number}")
            simulation._await_start(process)
            yield simulation
        finally:
            process.terminate()
            process.wait(10)
            port.close()

    def _await_start(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while True:
            try:
                self._control("calls")
            except OSError:
                if process.poll() is not None:
                    raise RuntimeError(f"the simulated AWS ended with {process.returncode} as it started") from None
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
            else:
                return

    def _control(self, action: str, **data: Any) -> Any:
        request = urllib.request.Request(
            f"{self.url}/_simulation/{action}",
            data=json.dumps(data).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def reset(self) -> None:
        """Make it an empty account again, without faults."""
        self._control("reset")

    def calls(self) -> list[Call]:
        """Return all calls since the start, :meth:`reset` or :meth:`forget_calls`."""
        return [Call(*each) for each in self._control("calls")]

    def writes(self) -> list[str]:
        """Return those calls that change something, such as ``eks:CreateCluster``."""
        return [str(call) for call in self.calls() if call.is_write]

    def forget_calls(self) -> None:
        """Count calls from here on."""
        self._control("forget")

    def fail(self, kind: str, *, nth: int = 1, operation: str | None = None, times: int = 1) -> None:
        """Let calls fail; the parameters are those of :class:`.Fault`."""
        self._control("fail", kind=kind, nth=nth, operation=operation, times=times)

    def heal(self) -> None:
        """Let nothing fail any more."""
        self._control("heal")

    def set_durations(self, **seconds: float) -> None:
        """
        Set how long things take.

        :param seconds: By kind: ``cluster``, ``nodegroup``, ``addon``, ``database``, ``stack``. 0 at first.
        """
        self._control("durations", **seconds)

    def pass_time(self, seconds: float) -> None:
        """Let time pass at once, for what takes time."""
        self._control("pass", seconds=seconds)

    def spoil(self, kind: str, reason: str) -> None:
        """
        Let the next thing of a kind that is created or changed fail, after its time.

        :param kind: As in :meth:`set_durations`.
        :param reason: What AWS is to say about it.
        """
        self._control("spoil", kind=kind, reason=reason)

    def save(self, name: str = "") -> None:
        """Remember what is in the account."""
        self._control("save", name=name)

    def restore(self, name: str = "") -> None:
        """Make the account as it was when it was saved under this name."""
        self._control("restore", name=name)

    @property
    def connection(self) -> dict[str, str]:
        """The same connection as Airflow's REST API takes it."""
        return {
            "connection_id": "aws_default",
            "conn_type": "aws",
            "login": "test",
            "password": "test",
            "extra": json.dumps({"region_name": REGION, "endpoint_url": self.url}),
        }

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables with which Airflow's connection ``aws_default``, and boto3, lead here."""
        connection = {
            "conn_type": "aws",
            "login": "test",
            "password": "test",
            "extra": {"region_name": REGION, "endpoint_url": self.url},
        }
        return {
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(connection),
            "AWS_ENDPOINT_URL": self.url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def boto(self, service: str, *, attempts: int = 5) -> Any:
        """
        Return a client of a service, to act behind the back of what is tested.

        :param attempts: How often it makes a call that fails.
        """
        return boto3.client(
            service,
            region_name=REGION,
            config=Config(retries={"mode": "standard", "total_max_attempts": attempts}),
            endpoint_url=self.url,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )
