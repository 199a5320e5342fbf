"""Helm 4, for the releases in one namespace of a cluster."""

from __future__ import annotations

import json
import os
import re
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Any

import yaml  # type: ignore[import-untyped]

from airflow_eks_dask.helm.binary import find_helm
from airflow_eks_dask.helm.difference import Rendered
from airflow_eks_dask.helm.errors import HelmError
from airflow_eks_dask.helm.process import Ended, Process
from airflow_eks_dask.helm.releases import Revision
from airflow_eks_dask.helm.unready import unready_pods
from airflow_eks_dask.helm.values import Masks

if TYPE_CHECKING:
    import logging
    from pathlib import Path
    from types import TracebackType

    from airflow_eks_dask.helm.chart import Chart
    from airflow_eks_dask.hooks.kubernetes import KubernetesCluster

_STEPS = 4
"""Of one call of Helm, each of which may take Helm's own timeout: hooks before, wait, hooks after, rollback."""

_SLACK = 60.0
"""Seconds that Helm may take besides, for charts and calls of the Kubernetes API."""


class Helm:
    """
    Helm, with the way into one cluster; a context manager.

    Values go to Helm by standard input, from a file that has no name: none is in its arguments, in its environment or
    left on disk. Each call is a process group that ends with the task, however that ends.

    :param cluster: Which Kubernetes cluster.
    :param namespace: Where releases are.
    :param log: Where Helm's words go, line by line, while it runs.
    :param masks: What is taken out of them.
    :param timeout: Seconds that Helm may wait for each thing it waits for.
    """

    def __init__(
        self,
        cluster: KubernetesCluster,
        namespace: str,
        *,
        log: logging.Logger | Any,
        masks: Masks | None = None,
        timeout: float = 300,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._log = log
        self._masks = masks or Masks()
        self._timeout = timeout
        self._process = Process()
        self._kubeconfig: Path | None = None
        self._held_up: list[str] = []
        self._stack = ExitStack()

    def __enter__(self) -> Helm:
        self._kubeconfig = self._stack.enter_context(self._cluster.kubeconfig_file())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    @cached_property
    def binary(self) -> Path:
        """The program."""
        return find_helm()

    def stop(self) -> None:
        """End Helm, if it runs, and have it run no more. For signal handlers and other threads."""
        self._process.stop()

    def history(self, release: str) -> list[Revision]:
        """Return the revisions of a release that Helm remembers, the newest last; none if there is no such release."""
        data = self._read(["history", release, "--max", "256"])
        return sorted(map(Revision.from_json, data or []), key=lambda each: each.number)

    def labels(self, release: str, revision: int) -> dict[str, str]:
        """Return the labels on Helm's record of a revision."""
        data = self._read(["get", "metadata", release, "--revision", str(revision)])
        return dict((data or {}).get("labels") or {})

    def chart_label(self, chart: Chart) -> str:
        """
        Return name and version of a chart with a hyphen between, as a history shows them.

        :raises HelmError: It can't be had.
        """
        arguments = ["show", "chart", *chart.arguments()]
        ended = self._run(arguments, timeout=self._limit)
        if ended.code:
            raise self._failed(arguments, ended)
        metadata = yaml.load(ended.output, yaml.BaseLoader)  # noqa: S506 (makes texts only)
        return f"{metadata['name']}-{metadata['version']}"

    def rendered(self, release: str, revision: int | None = None) -> Rendered | None:
        """Return what a revision consists of (None: the newest); None if there is no such release."""
        which = [] if revision is None else ["--revision", str(revision)]
        data = self._read(["status", release, *which])
        return Rendered.from_json(data) if data else None

    def render(self, release: str, chart: Chart, values: dict[str, Any]) -> Rendered:
        """Return what installing or upgrading would come to, as the cluster's API sees it; nothing is changed."""
        arguments = [*_upgrade(release, chart), "--dry-run=server"]
        data = self._read(arguments, stdin=_document(values), limit=self._limit)
        if data is None:
            raise HelmError(f"helm upgrade {release}: the dry run found no release")
        return Rendered.from_json(data)

    def upgrade(
        self,
        release: str,
        chart: Chart,
        values: dict[str, Any],
        *,
        wait: bool = True,
        wait_for_jobs: bool = False,
        rollback_on_failure: bool = True,
        create_namespace: bool = False,
        labels: dict[str, str] | None = None,
    ) -> None:
        """
        Install a release, or upgrade it.

        :param release: Its name.
        :param chart: The chart.
        :param values: All values, merged.
        :param wait: Whether to wait until what it consists of is ready.
        :param wait_for_jobs: Whether to wait until its Jobs are complete, too.
        :param rollback_on_failure: Whether a failure takes it back to the revision before; uninstalls it, if there is
            none.
        :param create_namespace: Whether to make the namespace, if it is not there.
        :param labels: For Helm's record of the revision.
        """
        marks = [f"{key}={value}" for key, value in (labels or {}).items()]
        self._do(
            [
                *_upgrade(release, chart),
                *self._waiting(wait, wait_for_jobs),
                *(["--rollback-on-failure"] if rollback_on_failure else []),
                *(["--create-namespace"] if create_namespace else []),
                *(["--labels", ",".join(marks)] if marks else []),
            ],
            stdin=_document(values),
        )

    def rollback(self, release: str, revision: int, *, wait: bool = True, wait_for_jobs: bool = False) -> None:
        """Make a new revision that is what an earlier one was."""
        self._do(["rollback", release, str(revision), *self._waiting(wait, wait_for_jobs)])

    def uninstall(self, release: str, *, wait: bool = True, keep_history: bool = False) -> None:
        """Remove all that a release consists of; if there is no such release, nothing happens."""
        history = ["--keep-history"] if keep_history else []
        cascade = ["--cascade", "foreground"] if wait else []
        self._do(["uninstall", release, "--ignore-not-found", *self._waiting(wait), *cascade, *history])

    def test(self, release: str, *, logs: bool = True) -> None:
        """Run a release's tests, and tell what their pods said."""
        self._do(["test", release, "--timeout", self._duration, *(["--logs"] if logs else [])])

    @property
    def _limit(self) -> float:
        return _STEPS * self._timeout + _SLACK

    @property
    def _duration(self) -> str:
        return f"{self._timeout:g}s"

    def _waiting(self, wait: bool, wait_for_jobs: bool = False) -> list[str]:
        jobs = ["--wait-for-jobs"] if wait and wait_for_jobs else []
        return [*(["--wait=watcher"] if wait else []), *jobs, "--timeout", self._duration]

    def _do(self, arguments: list[str], stdin: bytes = b"") -> None:
        """Run Helm and pass on all it says."""
        self._held_up = []
        ended = self._run(
            arguments,
            stdin=stdin,
            timeout=self._limit,
            on_output=self._say,
            on_error=self._say,
            on_silence=lambda seconds: self._tell_progress(arguments, seconds),
        )
        if ended.code:
            raise self._failed(arguments, ended)

    def _tell_progress(self, arguments: list[str], seconds: float) -> None:
        action, release, *_ = arguments
        held_up: list[str] = []
        try:
            held_up = unready_pods(self._cluster, self._namespace, release)
        except Exception as error:  # noqa: BLE001 (whatever it is, Helm goes on)
            self._log.info("It is not known what holds Helm up: %s", error)
        self._log.info("helm %s %s has been running for %.0f s", action, release, seconds)
        for each in held_up:
            self._log.info("%s", self._masks(each))
        # A rollback takes them away.
        self._held_up = held_up or self._held_up

    def _read(self, arguments: list[str], stdin: bytes = b"", limit: float = 120) -> Any:
        """Run Helm and return what it writes as JSON, which is not logged; None if there is no such release."""
        ended = self._run([*arguments, "--output", "json"], stdin=stdin, timeout=limit)
        if ended.code and "release: not found" in ended.errors:
            return None
        if ended.code:
            raise self._failed(arguments, ended)
        # What was pulled from a registry is told before.
        begin = re.search(r"^[\[{]|^null", ended.output, re.MULTILINE)
        try:
            return json.loads(ended.output[begin.start() :] if begin else "")
        except ValueError:
            raise HelmError(f"helm {arguments[0]}: its answer is no JSON: is {self.binary} Helm?") from None

    def _run(self, arguments: list[str], **options: Any) -> Ended:
        where = ["--kubeconfig", str(self._kubeconfig), "--namespace", self._namespace]
        return self._process.run([str(self.binary), *arguments, *where], environment=_environment(), **options)

    def _say(self, line: str) -> None:
        self._log.info("%s", self._masks(line))

    def _failed(self, arguments: list[str], ended: Ended) -> HelmError:
        said = self._masks(ended.errors.strip()).splitlines()[-20:]
        seen = [f"Seen while it ran: {self._masks('; '.join(self._held_up))}"] if self._held_up else []
        what = f"helm {' '.join(arguments[:2])} in namespace {self._namespace}"
        return HelmError(f"{what}: " + "\n".join([*said, *seen]))


def _upgrade(release: str, chart: Chart) -> list[str]:
    # Without any value, Helm would take those of the revision before.
    return ["upgrade", release, *chart.arguments(), "--install", "--reset-values", "--values", "-"]


def _document(values: dict[str, Any]) -> bytes:
    # JSON is YAML, and leaves no room for what YAML would guess.
    try:
        return json.dumps(values).encode()
    except TypeError as error:
        raise HelmError(f"values hold what Helm can't be given: {error}") from None


def _environment() -> dict[str, str]:
    """Return the environment without what would lead Helm elsewhere, or have it say too much."""
    misleading = ("HELM_KUBE", "HELM_NAMESPACE", "HELM_DEBUG", "KUBECONFIG")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(misleading)}
    return kept | {"HELM_COLOR": "never"}
