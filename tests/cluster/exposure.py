"""What people and programs get to see of an installation, and what they must not."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING
from uuid import uuid4

import jwt

from tests.cluster.installation import NAME, helm_says

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cluster.installation import Installation
    from tests.cluster.pipelines import Pipelines

TOKEN = re.compile(r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,}")

# Run in a pod: all processes there, and what this one may do.
LOOK = """
import errno, json, os, pathlib
def status(process):
    lines = (line.split(":", 1) for line in (process / "status").read_text().splitlines())
    return {name: value.split() for name, value in lines}
processes = {}
for process in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        processes[process.name] = {**status(process), "command": (process / "cmdline").read_text().split("\\0")}
    except (FileNotFoundError, ProcessLookupError):
        pass
def error_of(path):
    try:
        pathlib.Path(path).write_text("x")
    except OSError as error:
        return errno.errorcode[error.errno]
print(json.dumps({
    "processes": processes,
    "writing": {path: error_of(path) for path in ("/probe", "/opt/airflow/probe", "/etc/probe", "/tmp/probe")},
    "token": os.path.exists("/var/run/secrets/kubernetes.io/serviceaccount"),
}))
"""


def look_inside(installation: Installation, pod: str) -> dict:
    """Return the processes of a pod's first container, where files may be written, and whether it has a token."""
    return json.loads(installation.python(pod, LOOK))


def secrets(pipelines: Pipelines, *directories: Path) -> dict[str, str]:
    """
    Return what nobody may see, by what it is.

    :param directories: Whose files of keys count.
    """
    settings = pipelines.airflow.settings
    files = [file for directory in directories for file in directory.glob("*-key.pem")]
    return {
        # One line is enough to know a key by.
        **{str(file): file.read_text().splitlines()[1] for file in files},
        "password of the database": pipelines.postgres.pgpass().strip().rpartition(":")[2],
        "jwt_secret": settings["api_auth"]["jwt_secret"],
        "fernet_key": settings["core"]["fernet_key"],
        "secret_key": settings["api"]["secret_key"],
    }


def task_token(pipelines: Pipelines, secret: str = "", **claims: object) -> str:
    """
    Return a token as tasks have it.

    :param secret: That it is signed with; empty: Airflow's own.
    :param claims: Instead of the usual ones.
    """
    now = int(time.time())
    usual = {"sub": str(uuid4()), "aud": "urn:airflow.apache.org:task", "nbf": now, "iat": now, "exp": now + 300}
    secret = secret or pipelines.airflow.settings["api_auth"]["jwt_secret"]
    return jwt.encode(usual | claims, secret, algorithm="HS512")


def shown(installation: Installation) -> dict[str, str]:
    """Return what is shown of an installation to whoever may look at all but Secrets themselves."""
    kinds = "pods,deployments,replicasets,services,configmaps,serviceaccounts"
    # Before 1.24, Kubernetes itself makes a Secret for each account, whose token `kubectl describe` shows.
    ours = ("--field-selector", "type!=kubernetes.io/service-account-token")
    texts = {
        "kubectl describe": installation.kubectl("describe", kinds),
        "kubectl describe secrets": installation.kubectl(
            "describe", *installation.kubectl("get", "secrets", *ours, "--output", "name").split()
        ),
        "events": installation.kubectl("get", "events", "--output", "json"),
        # Of budgets for disruptions, old servers and new programs have no version in common to describe them in.
        "pods": installation.kubectl("get", "pods,deployments,configmaps,poddisruptionbudgets", "--output", "yaml"),
        **{f"helm get {what}": helm_says(installation, "get", what, NAME) for what in ("manifest", "notes", "hooks")},
        "helm get values": helm_says(installation, "get", "values", NAME, "--all"),
    }
    for pod in sorted(pod["metadata"]["name"] for pod in installation.pods()):
        texts[f"log of {pod}"] = installation.kubectl("logs", pod, "--all-containers", "--tail=-1")
    return texts


def found(texts: dict[str, str], unspeakable: dict[str, str]) -> list[str]:
    """Say which secrets are in which texts."""
    return [
        f"{what} in {where}" for where, text in texts.items() for what, secret in unspeakable.items() if secret in text
    ] + [f"a token in {where}" for where, text in texts.items() if TOKEN.search(text)]
