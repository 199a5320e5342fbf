"""What all operators for Helm releases have in common."""

from __future__ import annotations

import re
from abc import abstractmethod
from threading import Event
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.log import mask_secret

from airflow_eks_dask.helm.errors import HelmError, HelmStoppedError
from airflow_eks_dask.helm.releases import TASK_LABEL, OnPending, Remedy, age, last_good, remedy, task_mark
from airflow_eks_dask.helm.values import Masks, texts
from airflow_eks_dask.hooks.helm import Helm
from airflow_eks_dask.operators._kubernetes import KubernetesOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from airflow_eks_dask.helm.releases import Revision

ABSENT = "absent"
"""The status of a release that is not there, a word that Helm does not use."""

_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_LONGEST_RELEASE = 53
_LONGEST_NAMESPACE = 63
_POLL_INTERVAL = 5.0


class HelmOperator(KubernetesOperator):
    """
    Does one thing to one release.

    :param release: Its name.
    :param namespace: Where it is.
    :param helm_timeout: Seconds that Helm may wait for each thing it waits for: hooks, readiness, rollback. Give the
        task an ``execution_timeout`` that is longer than all of them.
    """

    template_fields: Sequence[str] = (*KubernetesOperator.template_fields, "release", "namespace")
    ui_color = "#d8dcf2"

    def __init__(self, *, release: str, namespace: str, helm_timeout: float = 300, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.release = release
        self.namespace = namespace
        self.helm_timeout = helm_timeout
        self._helm: Helm | None = None
        self._killed = Event()

    def execute(self, context: Context) -> Any:
        """
        Do it.

        :raises HelmError: Something is wrong with what is asked for, or Helm has failed.
        """
        if problems := self._problems():
            raise HelmError(f"release {self.release}: " + "; ".join(problems))
        secrets = self._secrets(context)
        for secret in texts(secrets):
            mask_secret(secret)
        with Helm(
            self.cluster, self.namespace, log=self.log, masks=Masks(texts(secrets)), timeout=self.helm_timeout
        ) as helm:
            self._helm = helm
            return self._act(context, helm, secrets)

    def on_kill(self) -> None:
        """End Helm with the task."""
        self._killed.set()
        if self._helm:
            self._helm.stop()

    @abstractmethod
    def _act(self, context: Context, helm: Helm, secrets: dict[str, Any]) -> Any: ...

    def _secrets(self, context: Context) -> dict[str, Any]:
        return {}

    def _problems(self) -> list[str]:
        found = list(self.cluster.problems())
        for what, name, longest in (
            ("release", self.release, _LONGEST_RELEASE),
            ("namespace", self.namespace, _LONGEST_NAMESPACE),
        ):
            if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > longest:
                found.append(
                    f"{what} {name!r} is no name: lower-case letters, digits and hyphens, {longest} characters at most"
                )
        if not self.helm_timeout > 0:
            found.append(f"helm_timeout {self.helm_timeout!r} is not more than 0 seconds")
        return found


class SettlingOperator(HelmOperator):
    """
    Has a release come to rest first, if an operation on it was cut short.

    Helm leaves such a release ``pending-...`` and refuses to touch it again. It can't tell whether another Helm is
    still at it. What an earlier try of this very task has left is resolved at once, as that Helm has ended with its
    task; anything else after ``pending_patience``.

    :param on_pending: ``rollback_or_uninstall``: go back to the last revision that was deployed in full, and remove a
        first install. ``rollback``: the same, but a first install is an error. ``fail``: it is an error.
    :param pending_patience: Seconds, since it was begun, for which somebody else's operation may go on.
    """

    template_fields: Sequence[str] = (*HelmOperator.template_fields, "on_pending")
    choices: ClassVar[tuple[str, ...]] = tuple(each.value for each in OnPending)

    def __init__(
        self, *, on_pending: str = OnPending.ROLLBACK_OR_UNINSTALL.value, pending_patience: float = 600, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.on_pending = on_pending
        self.pending_patience = pending_patience

    def _problems(self) -> list[str]:
        found = super()._problems()
        if self.on_pending not in self.choices:
            found.append(f"on_pending {self.on_pending!r} is none of {', '.join(self.choices)}")
        if not self.pending_patience >= 0:
            found.append(f"pending_patience {self.pending_patience!r} is below 0 seconds")
        return found

    def _settled(self, context: Context, helm: Helm) -> list[Revision]:
        """Return the history of the release, once it has come to rest."""
        history = self._wait_for_others(context, helm)
        what = remedy(history, OnPending(self.on_pending))
        if what is Remedy.NONE:
            return history
        last, good = history[-1], last_good(history)
        since = f"since {last.updated:%Y-%m-%d %H:%M:%S} UTC"
        state = f"release {self.release} is {last.status} {since} (revision {last.number})"
        if what is Remedy.REFUSE:
            raise HelmError(
                f"{state}: an operation on it was cut short, and on_pending={self.on_pending!r} leaves it at that. "
                "Roll it back, uninstall it, or choose another on_pending"
            )
        if what is Remedy.ROLLBACK and good:
            self.log.warning("%s: an operation was cut short; rolling back to revision %d", state, good.number)
            helm.rollback(self.release, good.number)
        else:
            self.log.warning("%s: an operation was cut short, and none before it was completed; uninstalling", state)
            helm.uninstall(self.release)
        return helm.history(self.release)

    def _wait_for_others(self, context: Context, helm: Helm) -> list[Revision]:
        history = helm.history(self.release)
        while history and history[-1].is_pending:
            last = history[-1]
            rest = self.pending_patience - age(last)
            if rest <= 0 or self._is_own(context, helm, last):
                break
            self.log.info(
                "Release %s is %s: another Helm may be at it. It has %.0f s more", self.release, last.status, rest
            )
            if self._killed.wait(min(rest, _POLL_INTERVAL)):
                raise HelmStoppedError("the task was ended")
            history = helm.history(self.release)
        return history

    def _is_own(self, context: Context, helm: Helm, revision: Revision) -> bool:
        return helm.labels(self.release, revision.number).get(TASK_LABEL) == self._mark(context)

    @staticmethod
    def _mark(context: Context) -> str:
        ti = context["ti"]
        return task_mark(ti.dag_id, ti.run_id, ti.task_id, ti.map_index)
