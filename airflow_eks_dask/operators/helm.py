"""
Operators for Helm releases, with Helm 4.

None is deferrable: Helm is a process that acts and waits in one, and rolls back when waiting has failed. To wait in the
triggerer one would have to end it half-way, and do without what it does then. So its words are in the task's log while
it runs, and ending the task ends it.

Helm is found by ``[dask] helm_binary``, then on PATH, then where ``airflow eks-dask install-helm`` has put it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from airflow_eks_dask.helm.changes import Wanted, changes, chart_name
from airflow_eks_dask.helm.chart import Chart
from airflow_eks_dask.helm.errors import HelmError
from airflow_eks_dask.helm.releases import TASK_LABEL, OnPending, Remedy, last_good, remedy
from airflow_eks_dask.helm.values import Masks, as_parts, merged, read_values, texts
from airflow_eks_dask.operators._helm import ABSENT, HelmOperator, SettlingOperator
from airflow_eks_dask.operators._table import table
from airflow_eks_dask.operators._text import is_true

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from airflow_eks_dask.helm.changes import Changes
    from airflow_eks_dask.helm.releases import Revision
    from airflow_eks_dask.hooks.helm import Helm


class EnsureHelmReleaseOperator(SettlingOperator):
    """
    Have a release of a chart with these values: installed, upgraded, or left as it is.

    A new revision is made only where there is something new: a chart of another version, other values, or other
    manifests than those of the revision that is deployed. A chart that makes up something at random is new each time.
    What was changed in the cluster by hand is put right with ``reapply=True``.

    Values go to Helm by standard input. Put what is secret into ``secret_values``: its templates are rendered when the
    task runs and never kept, and what comes of them is masked in the log. Helm itself keeps all values in its own
    Secret, in the release's namespace.

    Returns ``release``, ``namespace``, ``revision``, ``status``, ``chart``, ``app_version`` and ``changed``.

    .. code-block:: python

        EnsureHelmReleaseOperator(
            task_id="pipelines",
            eks_cluster_name="pipelines",
            release="pipelines",
            namespace="airflow",
            create_namespace=True,
            chart="/opt/airflow/charts/pipeline",
            values=["/opt/airflow/values/pipelines.yaml", {"scheduler": {"replicas": 1}}],
            secret_values={"database": {"password": "{{ conn.airflow_db.password }}"}},
            helm_timeout=600,
        )

    :param chart: Path of a directory or archive on the machine that runs the task, an address ``oci://registry/name``,
        or the chart's name in ``repository``.
    :param repository: Address of a repository, ``https://...``. For private ones and registries, Helm's own files on
        the machine that runs the task count.
    :param version: Version of the chart, or a range such as ``~1.2``. None: the newest.
    :param values: Mappings, and paths of YAML files on the machine that runs the task; the later wins.
    :param secret_values: A mapping that is merged last.
    :param wait: Whether to wait until all that the release consists of is ready.
    :param wait_for_jobs: Whether to wait until its Jobs are complete, too.
    :param rollback_on_failure: Whether a failed upgrade is rolled back, and a failed first install uninstalled.
    :param create_namespace: Whether to make the namespace, if it is not there.
    :param reapply: Whether to make a new revision even if there is nothing new.
    :param dry_run: Whether to say only what would be done, with the difference of the manifests.
    """

    template_fields: Sequence[str] = (
        *SettlingOperator.template_fields,
        *("chart", "repository", "version", "values", "reapply", "is_dry_run"),
    )
    template_fields_renderers: ClassVar[dict[str, str]] = {"values": "json"}

    def __init__(
        self,
        *,
        chart: str | Path,
        repository: str | None = None,
        version: str | None = None,
        values: Mapping[str, Any] | str | Sequence[Mapping[str, Any] | str] = (),
        secret_values: Mapping[str, Any] | None = None,
        wait: bool = True,
        wait_for_jobs: bool = False,
        rollback_on_failure: bool = True,
        create_namespace: bool = False,
        reapply: bool | str = False,
        dry_run: bool | str = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.chart = str(chart)
        self.repository = repository
        self.version = version
        self.values = values
        # No template field: those are kept, and shown in the UI.
        self._secret_values = secret_values or {}
        self.wait = wait
        self.wait_for_jobs = wait_for_jobs
        self.rollback_on_failure = rollback_on_failure
        self.create_namespace = create_namespace
        self.reapply = reapply
        self.is_dry_run = dry_run

    def _problems(self) -> list[str]:
        found = super()._problems() + self._chart.problems()
        for each in self._parts:
            try:
                if not isinstance(each, dict):
                    read_values(Path(each))
            except HelmError as error:
                found.append(str(error))
        if not isinstance(self._secret_values, dict):
            found.append("secret_values is no mapping")
        return found

    def _secrets(self, context: Context) -> dict[str, Any]:
        return dict(self.render_template(self._secret_values, context))

    def _act(self, context: Context, helm: Helm, secrets: dict[str, Any]) -> dict[str, Any]:
        parts = [each if isinstance(each, dict) else read_values(Path(each)) for each in self._parts]
        values = merged([*parts, secrets])
        if is_true(self.is_dry_run):
            return self._rehearse(helm, values, Masks(texts(secrets)))
        history = self._settled(context, helm)
        new = self._changes(helm, history, values)
        if not new.reasons and not is_true(self.reapply):
            self.log.info("Release %s: nothing is new, revision %d stays", self.release, history[-1].number)
            return self._told(history, changed=False)
        self.log.info("Release %s: %s", self.release, "; ".join(new.reasons) or "to be applied again")
        helm.upgrade(
            self.release,
            self._chart,
            values,
            wait=self.wait,
            wait_for_jobs=self.wait_for_jobs,
            rollback_on_failure=self.rollback_on_failure,
            create_namespace=self.create_namespace,
            labels={TASK_LABEL: self._mark(context)},
        )
        return self._told(helm.history(self.release), changed=True)

    def _rehearse(self, helm: Helm, values: dict[str, Any], masks: Masks) -> dict[str, Any]:
        history = helm.history(self.release)
        what = remedy(history, OnPending(self.on_pending))
        if what is not Remedy.NONE:
            # Helm compares nothing with a release that is not at rest.
            reasons: tuple[str, ...] = (f"it is {history[-1].status}: first, {what.value}",)
            manifests: tuple[str, ...] = ()
        else:
            new = self._changes(helm, history, values)
            reasons, manifests = new.reasons, new.manifests
        self.log.info("Dry run: release %s: %s", self.release, "; ".join(reasons) or "nothing is new")
        for line in manifests:
            self.log.info("%s", masks(line))
        return self._told(history, changed=bool(reasons)) | {"reasons": list(reasons)}

    def _changes(self, helm: Helm, history: list[Revision], values: dict[str, Any]) -> Changes:
        """Return what is new, if it was to be upgraded now."""
        last = history[-1] if history and history[-1].status != "uninstalled" else None
        label = helm.chart_label(self._chart)
        if last and chart_name(last.chart) != chart_name(label):
            raise HelmError(
                f"release {self.release} in namespace {self.namespace} is of another chart, {last.chart}, and not of "
                f"{label}: it is left alone. Choose another name, or uninstall it"
            )
        before = helm.rendered(self.release) if last else None
        return changes(last, before, Wanted(label, helm.render(self.release, self._chart, values)))

    def _told(self, history: list[Revision], *, changed: bool) -> dict[str, Any]:
        last = history[-1].to_json() if history else {"status": ABSENT}
        told = ("revision", "status", "chart", "app_version")
        return {
            "release": self.release,
            "namespace": self.namespace,
            **{key: last.get(key) for key in told},
            "changed": changed,
        }

    @property
    def _chart(self) -> Chart:
        return Chart(self.chart, self.repository, self.version)

    @property
    def _parts(self) -> list[Any]:
        return as_parts(self.values)


class UninstallHelmReleaseOperator(HelmOperator):
    """
    Uninstall a release: all that it consists of. If there is none, or only part of it is left, that is fine.

    What its chart keeps on purpose stays, and so do claims for volumes that a StatefulSet made. Returns ``release``,
    ``namespace`` and ``changed``.

    .. code-block:: python

        UninstallHelmReleaseOperator(
            task_id="no_pipelines", eks_cluster_name="pipelines", release="pipelines", namespace="airflow"
        )

    :param wait: Whether to wait until all of it is gone.
    :param keep_history: Whether Helm remembers the release, so that it can be rolled back to.
    """

    ui_color = "#f0d0c8"

    def __init__(self, *, wait: bool = True, keep_history: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.wait = wait
        self.keep_history = keep_history

    def _act(self, context: Context, helm: Helm, secrets: dict[str, Any]) -> dict[str, Any]:
        history = helm.history(self.release)
        there = bool(history) and not (self.keep_history and history[-1].status == "uninstalled")
        if there:
            helm.uninstall(self.release, wait=self.wait, keep_history=self.keep_history)
        else:
            self.log.info("There is no release %s in namespace %s", self.release, self.namespace)
        return {"release": self.release, "namespace": self.namespace, "changed": there}


class RollbackHelmReleaseOperator(SettlingOperator):
    """
    Have a release be what an earlier revision of it was. Run again, it finds nothing to do.

    Returns ``release``, ``namespace``, ``revision``, ``status`` and ``changed``.

    .. code-block:: python

        RollbackHelmReleaseOperator(
            task_id="as_it_was", eks_cluster_name="pipelines", release="pipelines", namespace="airflow", revision=3
        )

    :param revision: Which. None: the last that was deployed in full, if the present one is not.
    :param wait: Whether to wait until all that it consists of is ready.
    """

    template_fields: Sequence[str] = (*SettlingOperator.template_fields, "revision")

    def __init__(self, *, revision: int | str | None = None, wait: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.revision = revision
        self.wait = wait

    def _problems(self) -> list[str]:
        found = super()._problems()
        if self.revision is not None and (not str(self.revision).isdecimal() or int(self.revision) < 1):
            found.append(f"revision {self.revision!r} is no number from 1 on")
        return found

    def _act(self, context: Context, helm: Helm, secrets: dict[str, Any]) -> dict[str, Any]:
        history = self._settled(context, helm)
        if not history:
            raise HelmError(f"there is no release {self.release} in namespace {self.namespace}")
        target = self._target(history)
        last = history[-1]
        if last.status == "deployed" and (
            target == last.number or helm.rendered(self.release, target) == helm.rendered(self.release)
        ):
            self.log.info("Release %s is what revision %d was: revision %d stays", self.release, target, last.number)
            return self._told(last, changed=False)
        helm.rollback(self.release, target, wait=self.wait)
        return self._told(helm.history(self.release)[-1], changed=True)

    def _target(self, history: list[Revision]) -> int:
        numbers = [each.number for each in history]
        if self.revision is None:
            good = last_good(history)
            if good is None:
                raise HelmError(f"no revision of release {self.release} was ever deployed in full: {numbers}")
            return good.number
        if int(self.revision) not in numbers:
            raise HelmError(f"Helm remembers no revision {self.revision} of release {self.release}: {numbers}")
        return int(self.revision)

    def _told(self, last: Revision, *, changed: bool) -> dict[str, Any]:
        return {
            "release": self.release,
            "namespace": self.namespace,
            "revision": last.number,
            "status": last.status,
            "changed": changed,
        }


class TestHelmReleaseOperator(HelmOperator):
    """
    Run the tests of a release's chart, and show what they said. Fails if one does.

    .. code-block:: python

        TestHelmReleaseOperator(
            task_id="pipelines_work", eks_cluster_name="pipelines", release="pipelines", namespace="airflow"
        )

    :param logs: Whether to show the logs of the tests' pods.
    """

    # Its name begins as those do that pytest collects.
    __test__ = False

    def __init__(self, *, logs: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.logs = logs

    def _act(self, context: Context, helm: Helm, secrets: dict[str, Any]) -> None:
        helm.test(self.release, logs=self.logs)


class HelmReleaseStatusOperator(HelmOperator):
    """
    Tell what has become of a release.

    Returns ``status``, ``revision``, ``updated``, ``chart``, ``app_version`` and ``description``; where there is no
    such release, ``status`` is ``absent`` and there is nothing else.

    .. code-block:: python

        HelmReleaseStatusOperator(
            task_id="how_is_it", eks_cluster_name="pipelines", release="pipelines", namespace="airflow"
        )
    """

    def _act(self, context: Context, helm: Helm, secrets: dict[str, Any]) -> dict[str, Any]:
        history = helm.history(self.release)
        status = history[-1].to_json() if history else {"status": ABSENT}
        self.log.info("Release %s in namespace %s is %s", self.release, self.namespace, status["status"])
        return status


class HelmReleaseHistoryOperator(HelmOperator):
    """
    List the revisions of a release that Helm remembers, the newest last; none if there is no such release.

    Each has ``revision``, ``status``, ``updated``, ``chart``, ``app_version`` and ``description``.

    .. code-block:: python

        HelmReleaseHistoryOperator(
            task_id="what_it_was", eks_cluster_name="pipelines", release="pipelines", namespace="airflow"
        )
    """

    def _act(self, context: Context, helm: Helm, secrets: dict[str, Any]) -> list[dict[str, Any]]:
        history = [each.to_json() for each in helm.history(self.release)]
        columns = ("revision", "updated", "status", "chart", "app_version", "description")
        for line in table(columns, [[str(each[column]) for column in columns] for each in history]):
            self.log.info("%s", line)
        return history
