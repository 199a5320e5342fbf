"""Kubeconfig files: one more cluster in them, and all else as it was."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped]

from airflow_eks_dask.cli._errors import CommandError
from airflow_eks_dask.hooks.kubernetes import read_kubeconfig

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Access:
    """
    How people get at a cluster.

    :param context: What they call it.
    :param name: What the entries for the cluster and its user are called; nothing else bears that name.
    :param server: The address of the Kubernetes API.
    :param authority_data: The certificate of its authority: PEM, in base64.
    :param plugin: The program that ``kubectl`` asks for a token, as ``users[].user.exec`` has it.
    """

    context: str
    name: str
    server: str
    authority_data: str
    plugin: Mapping[str, Any]


def default_file() -> Path:
    """Return the file that ``kubectl`` reads: the first that ``KUBECONFIG`` names, else ``~/.kube/config``."""
    named = [path for path in os.environ.get("KUBECONFIG", "").split(os.pathsep) if path]
    return Path(named[0] if named else "~/.kube/config").expanduser()


def read(file: Path) -> dict[str, Any]:
    """
    Read a kubeconfig.

    :raises CommandError: It is none.
    """
    try:
        return read_kubeconfig(file)
    except ValueError as error:
        raise CommandError(f"the file is left as it is, choose another with --file: {error}") from None


def with_access(content: Mapping[str, Any], access: Access) -> dict[str, Any]:
    """
    Return what a kubeconfig holds with one cluster more, in which ``kubectl`` then works.

    :raises CommandError: The context is that of another cluster.
    """
    contexts = content.get("contexts") or []
    context = next((each.get("context") or {} for each in contexts if each["name"] == access.context), {})
    if context.get("cluster", access.name) != access.name:
        raise CommandError(
            f"the context {access.context!r} is there already, for the cluster {context['cluster']!r}: choose another "
            "name with --alias"
        )
    cluster = {"server": access.server, "certificate-authority-data": access.authority_data}
    entries: dict[str, dict[str, Any]] = {
        "clusters": {"name": access.name, "cluster": cluster},
        # People may have chosen a namespace.
        "contexts": {"name": access.context, "context": {**context, "cluster": access.name, "user": access.name}},
        "users": {"name": access.name, "user": {"exec": dict(access.plugin)}},
    }
    merged = {"apiVersion": "v1", "kind": "Config", **content, "current-context": access.context}
    return merged | {name: _with(content.get(name) or [], entry) for name, entry in entries.items()}


def write(file: Path, content: Mapping[str, Any]) -> Path | None:
    """
    Write a kubeconfig, for its owner alone; nobody ever reads half of it.

    :return: Where the former one is kept; None if there was none.
    :raises OSError: It could not be written.
    """
    file = file.resolve()  # a link stays one
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    backup = None
    if file.exists():
        backup = file.with_name(f"{file.name}.bak")
        _replace(backup, file.read_bytes())
    _replace(file, yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True).encode())
    return backup


def _with(entries: list[dict[str, Any]], entry: dict[str, Any]) -> list[dict[str, Any]]:
    if any(each["name"] == entry["name"] for each in entries):
        return [entry if each["name"] == entry["name"] else each for each in entries]
    return [*entries, entry]


def _replace(file: Path, content: bytes) -> None:
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")  # with mode 0600
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
