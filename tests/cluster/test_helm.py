"""Helm's operators against a real API server, with a chart that needs no image."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import psutil
import pytest
from airflow.sdk import DAG

from airflow_eks_dask.helm import process
from airflow_eks_dask.helm.errors import HelmError, HelmStoppedError
from airflow_eks_dask.hooks.kubernetes import KubernetesCluster
from airflow_eks_dask.operators import helm as operators
from tests.cluster import chart_servers
from tests.cluster.conftest import new_namespace
from tests.conftest import eventually

CHARTS = Path(__file__).with_name("charts")
APP = str(CHARTS / "app")
OTHER = str(CHARTS / "other")
SECRET = "correct-horse-battery-staple"
TI = SimpleNamespace(dag_id="tests", run_id="run", task_id="task", map_index=-1)

pytestmark = pytest.mark.any_airflow


@pytest.fixture(scope="module")
def namespace(former_namespaces):
    """One for all tests."""
    with new_namespace(former_namespaces) as name:
        yield name


@pytest.fixture
def release():
    """A name that no other test has."""
    return f"app-{uuid4().hex[:6]}"


@pytest.fixture
def helm(kubernetes, namespace, release):
    """What a user at a terminal would see."""

    def helm(*arguments):
        options = ["--kubeconfig", str(kubernetes), "--namespace", namespace]
        done = subprocess.run(["helm", *arguments, *options], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    yield helm
    helm("uninstall", release, "--ignore-not-found")


@pytest.fixture
def kubectl(kubernetes, namespace):
    def kubectl(*arguments, check=True):
        options = ["--kubeconfig", str(kubernetes), "--namespace", namespace]
        done = subprocess.run(["kubectl", *options, *arguments], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout

    return kubectl


@pytest.fixture
def task(kubernetes, namespace, release):
    """Make a task; its parameters beside the usual ones are given."""

    def task(name, **parameters):
        with DAG("tests", schedule=None):
            usual = {"kubeconfig": str(kubernetes), "release": release, "namespace": namespace, "helm_timeout": 60}
            return getattr(operators, f"{name}Operator")(task_id="task", **(usual | parameters))

    return task


@pytest.fixture
def run(task):
    """Run an operator."""

    def run(name, ti=TI, **parameters):
        one = task(name, **parameters)
        context = {"ti": ti, "secret": SECRET, "colour": "green"}
        one.render_template_fields(context)
        return one.execute(context)

    return run


class Log:
    """What tasks have logged, which goes to standard output."""

    def __init__(self, capsys):
        self._capsys = capsys
        self._text = ""

    @property
    def text(self):
        self._text += self._capsys.readouterr().out
        return self._text

    def clear(self):
        self._capsys.readouterr()
        self._text = ""


@pytest.fixture
def log(capsys):
    return Log(capsys)


@pytest.fixture
def ensure(run):
    def ensure(**parameters):
        return run("EnsureHelmRelease", **({"chart": APP} | parameters))

    return ensure


@contextmanager
def elsewhere(kubernetes, namespace, release, **parameters):
    """Run the operator in a process of its own, which is gone afterwards."""
    usual = {"operator": "EnsureHelmReleaseOperator", "kubeconfig": str(kubernetes), "release": release}
    wanted = usual | {"namespace": namespace, "chart": APP, "helm_timeout": 60, "secret": SECRET} | parameters
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.cluster.helm_task"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdin is not None
        process.stdin.write(json.dumps(wanted))
        process.stdin.close()
        # Closed already: communicate would close it again.
        process.stdin = None
        yield process
    finally:
        process.kill()
        process.wait()


def history(helm, release):
    try:
        return json.loads(helm("history", release, "--output", "json"))
    except AssertionError as error:
        if "release: not found" in str(error):
            return []
        raise


def statuses(helm, release):
    return [each["status"] for each in history(helm, release)]


def helms_of(process):
    found = []
    for child in psutil.Process(process.pid).children(recursive=True):
        try:
            if child.name() == "helm":
                found.append(child)
        except psutil.NoSuchProcess:
            continue
    return found


def wait_until_helm_waits(helm, release, process, status):
    eventually(lambda: statuses(helm, release)[-1:] == [status], timeout=60, what=f"a release that is {status}")
    return eventually(lambda: helms_of(process), what="Helm")


# Install, upgrade, nothing new


def test_install_then_nothing_new_then_upgrade(ensure, helm, kubectl, release, namespace):
    first = ensure(values={"colour": "red"})
    assert first == {
        "release": release,
        "namespace": namespace,
        "revision": 1,
        "status": "deployed",
        "chart": "app-1.0.0",
        "app_version": "7",
        "changed": True,
    }
    assert kubectl("get", "configmap", release, "-o", "jsonpath={.data.colour}") == "red"
    again = ensure(values={"colour": "red"})
    assert again == first | {"changed": False}
    second = ensure(values={"colour": "green"})
    assert (second["revision"], second["changed"]) == (2, True)
    assert kubectl("get", "configmap", release, "-o", "jsonpath={.data.colour}") == "green"
    assert statuses(helm, release) == ["superseded", "deployed"]


def test_values_are_merged_from_files_and_mappings_and_templates(ensure, helm, release, tmp_path):
    file = tmp_path / "values.yaml"
    file.write_text("colour: red\nglobal: {day: 2026-11-25, a: 1}\n")
    ensure(values=[str(file), {"colour": "{{ colour }}", "global": {"a": None, "b": [1]}}])
    assert json.loads(helm("get", "values", release, "--output", "json")) == {
        "colour": "green",
        "global": {"day": "2026-11-25", "a": None, "b": [1]},
    }
    assert ensure(values=[str(file), {"colour": "{{ colour }}", "global": {"a": None, "b": [1]}}])["changed"] is False


def test_values_that_are_given_no_more_are_taken_back(ensure, kubectl, release):
    ensure(values={"colour": "red"})
    assert ensure()["revision"] == 2
    assert kubectl("get", "configmap", release, "-o", "jsonpath={.data.colour}") == "blue"


def test_a_chart_that_makes_up_something_is_new_each_time(ensure):
    assert ensure(values={"random": True})["revision"] == 1
    assert ensure(values={"random": True})["revision"] == 2


def test_reapply_puts_right_what_was_changed_by_hand(ensure, kubectl, release):
    ensure(values={"colour": "red"})
    kubectl("delete", "configmap", release)
    assert ensure(values={"colour": "red"})["changed"] is False
    assert ensure(values={"colour": "red"}, reapply=True)["revision"] == 2
    assert kubectl("get", "configmap", release, "-o", "jsonpath={.data.colour}") == "red"


def test_what_helm_says_is_in_the_log(ensure, log, release):
    ensure(values={"colour": "red"})
    assert f"{release} is red." in log.text


def test_a_namespace_is_made_if_asked(ensure, kubectl, run, namespace):
    new = f"{namespace}-new"
    with pytest.raises(HelmError, match=f'namespaces "{new}" not found'):
        ensure(namespace=new)
    try:
        assert ensure(namespace=new, create_namespace=True)["status"] == "deployed"
        run("UninstallHelmRelease", namespace=new)
    finally:
        kubectl("delete", "namespace", new, "--ignore-not-found", "--wait=false")


def test_a_chart_in_an_archive(ensure, tmp_path):
    subprocess.run(["helm", "package", APP, "--destination", tmp_path], check=True, capture_output=True)
    assert ensure(chart=str(tmp_path / "app-1.0.0.tgz"))["chart"] == "app-1.0.0"


def test_a_chart_in_a_repository(ensure, tmp_path):
    with chart_servers.repository(tmp_path, APP) as address:
        assert ensure(chart="app", repository=address)["chart"] == "app-1.0.0"
        assert ensure(chart="app", repository=address, version="~1.0")["changed"] is False
        with pytest.raises(HelmError, match=r"helm show chart .*2\.0\.0"):
            ensure(chart="app", repository=address, version="2.0.0")


def test_a_chart_in_a_registry(ensure, tmp_path, monkeypatch):
    with chart_servers.registry(APP, "1.0.0", tmp_path) as address:
        with pytest.raises(HelmError, match="certificate"):
            ensure(chart=address, version="1.0.0")
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
        assert ensure(chart=address, version="1.0.0")["chart"] == "app-1.0.0"
        assert ensure(chart=address)["changed"] is False


def test_a_newer_chart_is_an_upgrade(ensure, tmp_path, log):
    ensure()
    newer = shutil.copytree(APP, tmp_path / "app")
    metadata = newer / "Chart.yaml"
    metadata.write_text(metadata.read_text().replace("1.0.0", "1.1.0"))
    assert ensure(chart=str(newer))["chart"] == "app-1.1.0"
    assert "chart app-1.0.0 becomes app-1.1.0" in log.text


# Bad input


def test_wrong_values_are_refused_in_words(ensure, helm, release):
    with pytest.raises(HelmError, match=r"(?s)colour.*got number, want string"):
        ensure(values={"colour": 1})
    assert history(helm, release) == []


def test_a_release_of_another_chart_is_left_alone(ensure, helm, release):
    ensure(chart=OTHER)
    with pytest.raises(HelmError, match=r"of another chart, other-1\.0\.0, and not of app-1\.0\.0"):
        ensure()
    assert statuses(helm, release) == ["deployed"]


def test_all_that_is_wrong_is_told_at_once(ensure, tmp_path):
    with pytest.raises(HelmError) as raised:
        ensure(
            release="Not_A_Name",
            chart=str(tmp_path),
            values=[str(tmp_path / "none.yaml")],
            on_pending="shrug",
            helm_timeout=0,
        )
    for part in ("Not_A_Name", "holds no chart", "none.yaml", "shrug", "helm_timeout"):
        assert part in str(raised.value)


def test_a_repository_that_is_not_there(ensure):
    with pytest.raises(HelmError, match=r"(?s)helm show chart.*127\.0\.0\.1:9"):
        ensure(chart="app", repository="http://127.0.0.1:9/charts")


# Dry run


def test_a_dry_run_shows_the_difference_and_does_nothing(ensure, helm, kubectl, release, log):
    planned = ensure(values={"colour": "red"}, dry_run=True)
    assert (planned["changed"], planned["status"]) == (True, "absent")
    assert history(helm, release) == []
    ensure(values={"colour": "red"})
    log.clear()
    planned = ensure(values={"colour": "green"}, dry_run=True)
    assert planned["reasons"] == ["values differ: colour", f"manifests differ: ConfigMap/{release}"]
    assert "-  colour: red" in log.text
    assert "+  colour: green" in log.text
    assert statuses(helm, release) == ["deployed"]
    planned = ensure(values={"colour": "red"}, dry_run="true")
    assert (planned["changed"], planned["reasons"]) == (False, [])


# Secrets


def test_a_secret_is_in_no_log_no_result_no_error_and_no_field(task, ensure, helm, kubectl, release, log):
    secret_values = {"password": "{{ secret }}"}
    planned = ensure(secret_values=secret_values, dry_run=True)
    result = ensure(secret_values=secret_values)
    changed = ensure(secret_values={"password": "{{ secret }}-2"}, dry_run=True)
    assert changed["reasons"] == ["values differ: password", f"manifests differ: Secret/{release}"]
    with pytest.raises(HelmError) as raised:
        ensure(secret_values=secret_values | {"colour": [SECRET]})
    stored = kubectl("get", "secret", release, "-o", "jsonpath={.data.password}")
    assert base64.b64decode(stored).decode() == SECRET
    # The chart's notes tell it.
    assert "Its password is ***" in log.text
    one = task("EnsureHelmRelease", chart=APP, secret_values=secret_values)
    one.render_template_fields({"secret": SECRET})
    fields = {name: getattr(one, name) for name in one.template_fields}
    everything = f"{log.text} {planned} {result} {changed} {raised.value} {fields}"
    assert SECRET not in everything
    assert stored not in everything


def test_a_secret_is_in_no_argument_environment_or_file_of_helm(kubernetes, namespace, helm, release):
    secret_values = {"password": "{{ secret }}"}
    with elsewhere(kubernetes, namespace, release, values={"hang": True}, secret_values=secret_values) as running:
        (found,) = wait_until_helm_waits(helm, release, running, "pending-install")
        about = Path(f"/proc/{found.pid}")
        arguments, environment = ((about / each).read_text() for each in ("cmdline", "environ"))
        standard_input = (about / "fd/0").readlink()
        values = (about / "fd/0").read_text()
        running.terminate()
        output, _ = running.communicate(timeout=30)
    assert SECRET in values
    assert "(deleted)" in str(standard_input)
    assert SECRET not in arguments + environment + output


# Failures


def test_a_failed_first_install_is_uninstalled(ensure, helm, release):
    with pytest.raises(HelmError, match="helm upgrade"):
        ensure(values={"hang": True}, helm_timeout=3)
    assert history(helm, release) == []


def test_a_failed_upgrade_is_rolled_back(ensure, helm, kubectl, release):
    ensure(values={"colour": "red"})
    with pytest.raises(HelmError, match="helm upgrade"):
        ensure(values={"colour": "green", "hang": True}, helm_timeout=3)
    assert kubectl("get", "configmap", release, "-o", "jsonpath={.data.colour}") == "red"
    assert statuses(helm, release) == ["superseded", "failed", "deployed"]
    assert ensure(values={"colour": "red"})["changed"] is False


def test_a_failed_upgrade_can_stay_and_is_mended_by_the_next(ensure, helm, release):
    ensure()
    with pytest.raises(HelmError, match="helm upgrade"):
        ensure(values={"hang": True}, helm_timeout=3, rollback_on_failure=False)
    assert statuses(helm, release) == ["deployed", "failed"]
    assert ensure()["revision"] == 3


def test_what_kubernetes_refuses_is_told(ensure, helm, release):
    with pytest.raises(HelmError, match="Not A Name"):
        ensure(values={"broken": True})
    assert history(helm, release) == []


def test_what_holds_it_up_is_told_while_it_waits_and_in_the_end(ensure, kubernetes, release, log, monkeypatch):
    # The first client takes seconds to import.
    KubernetesCluster(kubeconfig=str(kubernetes)).client().close()
    monkeypatch.setattr(process, "STILL_RUNNING_INTERVAL", 1.0)
    reason = r"pod app-.*: container main waits: ErrImageNeverPull"
    with pytest.raises(HelmError, match=rf"(?s)Deployment/.* not ready.*Seen while it ran: {reason}"):
        ensure(values={"hang": True}, helm_timeout=10)
    assert f"helm upgrade {release} has been running for" in log.text


# Killed halfway


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
@pytest.mark.parametrize("upgrade", [False, True], ids=["install", "upgrade"])
def test_killed_while_helm_waits_the_next_run_converges(
    ensure, kubernetes, namespace, helm, kubectl, release, number, upgrade
):
    if upgrade:
        ensure(values={"colour": "red"})
    pending = "pending-upgrade" if upgrade else "pending-install"
    with elsewhere(kubernetes, namespace, release, values={"colour": "green", "hang": True}) as running:
        helms = wait_until_helm_waits(helm, release, running, pending)
        running.send_signal(number)
        output, _ = running.communicate(timeout=30)
        assert running.returncode != 0
        eventually(lambda: not any(each.is_running() for each in helms), what="the end of Helm")
    if number == signal.SIGTERM:
        assert "the task was ended, and Helm with it" in output
    assert "Traceback" not in output or "HelmStoppedError" in output
    done = ensure(values={"colour": "blue"})
    assert (done["status"], done["changed"]) == ("deployed", True)
    assert kubectl("get", "configmap", release, "-o", "jsonpath={.data.colour}") == "blue"
    assert kubectl("get", "deployment", release, "--ignore-not-found") == ""
    assert ensure(values={"colour": "blue"})["changed"] is False


@pytest.fixture
def pending(ensure, kubernetes, namespace, helm, release):
    """A release that Helm was killed over; with an upgrade before, if asked."""

    def pending(*, first):
        if not first:
            ensure(values={"colour": "red"})
        status = "pending-install" if first else "pending-upgrade"
        with elsewhere(kubernetes, namespace, release, values={"colour": "green", "hang": True}) as running:
            wait_until_helm_waits(helm, release, running, status)
            running.kill()
            running.communicate(timeout=30)
        return status

    return pending


def test_a_pending_release_is_left_if_so_chosen(ensure, pending, helm, release):
    status = pending(first=False)
    with pytest.raises(HelmError, match=rf"{status} since .*on_pending='fail'"):
        ensure(on_pending="fail")
    assert statuses(helm, release) == ["deployed", "pending-upgrade"]
    planned = ensure(dry_run=True)
    assert planned["reasons"] == ["it is pending-upgrade: first, roll back"]
    assert statuses(helm, release) == ["deployed", "pending-upgrade"]
    ensure(on_pending="rollback")
    assert statuses(helm, release)[-2:] == ["superseded", "deployed"]


def test_a_pending_first_install_is_not_uninstalled_unless_so_chosen(ensure, pending, helm, release):
    pending(first=True)
    with pytest.raises(HelmError, match="pending-install"):
        ensure(on_pending="rollback")
    assert statuses(helm, release) == ["pending-install"]
    assert ensure(on_pending="rollback_or_uninstall")["revision"] == 1


def test_the_operation_of_another_task_is_waited_for(run, pending, helm, release, log):
    pending(first=True)
    another = SimpleNamespace(dag_id="tests", run_id="another", task_id="task", map_index=-1)
    done = run("EnsureHelmRelease", ti=another, chart=APP, pending_patience=0)
    assert done["status"] == "deployed"
    assert "another Helm may be at it" not in log.text


def test_waiting_for_another_task_ends_with_the_task(task, pending, log):
    pending(first=True)
    another = SimpleNamespace(dag_id="tests", run_id="another", task_id="task", map_index=-1)
    one = task("EnsureHelmRelease", chart=APP, pending_patience=600)
    killer = threading.Thread(
        target=lambda: (eventually(lambda: "another Helm may be at it" in log.text), one.on_kill())
    )
    killer.start()
    with pytest.raises(HelmStoppedError):
        one.execute({"ti": another})
    killer.join()


def test_an_uninstall_cut_short_is_finished_first(ensure, kubernetes, namespace, helm, kubectl, release):
    ensure()
    # While there is a finalizer, nothing is gone.
    kubectl("patch", "configmap", release, "--patch", '{"metadata":{"finalizers":["tests/wait"]}}')
    where = ["--kubeconfig", str(kubernetes), "--namespace", namespace]
    with subprocess.Popen(["helm", "uninstall", release, "--wait", *where]) as running:
        eventually(lambda: statuses(helm, release) == ["uninstalling"], what="a release that is uninstalling")
        running.kill()
    kubectl("patch", "configmap", release, "--type=merge", "--patch", '{"metadata":{"finalizers":null}}')
    done = ensure(pending_patience=0)
    assert done["status"] == "deployed"
    assert kubectl("get", "configmap", release, "-o", "jsonpath={.data.colour}") == "blue"


# The other operators


def test_uninstall_twice_leaves_nothing(ensure, run, helm, kubectl, release, namespace):
    before = kubectl("get", "configmaps,secrets", "-o", "name")
    ensure(values={"password": "hunter2-hunter2"})
    assert kubectl("get", "configmaps,secrets", "-o", "name") != before
    told = {"release": release, "namespace": namespace}
    assert run("UninstallHelmRelease") == told | {"changed": True}
    assert kubectl("get", "configmaps,secrets", "-o", "name") == before
    assert run("UninstallHelmRelease") == told | {"changed": False}


def test_uninstall_that_is_remembered_and_rolled_back_to(ensure, run, helm, kubectl, release):
    ensure(values={"colour": "red"})
    assert run("UninstallHelmRelease", keep_history=True)["changed"] is True
    assert run("UninstallHelmRelease", keep_history=True)["changed"] is False
    assert statuses(helm, release) == ["uninstalled"]
    assert run("RollbackHelmRelease", revision=1)["status"] == "deployed"
    assert kubectl("get", "configmap", release, "-o", "jsonpath={.data.colour}") == "red"


def test_install_after_an_uninstall_that_is_remembered(ensure, run, helm, release):
    ensure()
    run("UninstallHelmRelease", keep_history=True)
    assert ensure()["status"] == "deployed"


def test_uninstall_of_what_is_pending(run, pending, helm, release):
    pending(first=True)
    assert run("UninstallHelmRelease")["changed"] is True
    assert history(helm, release) == []


def test_rollback_twice_makes_one_revision(ensure, run, kubectl, release):
    ensure(values={"colour": "red"})
    ensure(values={"colour": "green"})
    done = run("RollbackHelmRelease", revision=1)
    assert (done["revision"], done["status"], done["changed"]) == (3, "deployed", True)
    assert kubectl("get", "configmap", release, "-o", "jsonpath={.data.colour}") == "red"
    assert run("RollbackHelmRelease", revision="1") == done | {"changed": False}


def test_rollback_to_what_was_good(ensure, run, helm, release):
    ensure()
    assert run("RollbackHelmRelease")["changed"] is False
    with pytest.raises(HelmError):
        ensure(values={"hang": True}, helm_timeout=3, rollback_on_failure=False)
    done = run("RollbackHelmRelease")
    assert (done["revision"], done["changed"]) == (3, True)
    assert statuses(helm, release) == ["superseded", "failed", "deployed"]


def test_rollback_to_what_helm_does_not_remember(ensure, run):
    with pytest.raises(HelmError, match="there is no release"):
        run("RollbackHelmRelease", revision=1)
    ensure()
    with pytest.raises(HelmError, match=r"no revision 7 of release .*: \[1\]"):
        run("RollbackHelmRelease", revision=7)
    with pytest.raises(HelmError, match="'one' is no number"):
        run("RollbackHelmRelease", revision="one")


def test_tests_of_a_chart(ensure, run, release, log):
    ensure()
    run("TestHelmRelease")
    run("TestHelmRelease")
    assert f"TEST SUITE:     {release}-test" in log.text
    ensure(values={"failing": True})
    with pytest.raises(HelmError, match="helm test"):
        run("TestHelmRelease", helm_timeout=30)
    with pytest.raises(HelmError, match="not found"):
        run("TestHelmRelease", release=f"{release}-none")


def test_status_and_history(ensure, run, log):
    assert run("HelmReleaseStatus") == {"status": "absent"}
    assert run("HelmReleaseHistory") == []
    ensure()
    ensure(values={"colour": "red"})
    status = run("HelmReleaseStatus")
    assert (status["status"], status["revision"], status["chart"]) == ("deployed", 2, "app-1.0.0")
    assert [each["status"] for each in run("HelmReleaseHistory")] == ["superseded", "deployed"]
    assert "superseded" in log.text


def test_a_cluster_that_is_not_reached(run, tmp_path):
    kubeconfig = tmp_path / "kubeconfig"
    cluster = {"name": "c", "cluster": {"server": "https://127.0.0.1:9"}}
    contexts = [{"name": "c", "context": {"cluster": "c", "user": "u"}}]
    users = [{"name": "u", "user": {"token": "none"}}]
    content = {"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": contexts, "users": users}
    kubeconfig.write_text(json.dumps(content | {"current-context": "c"}))
    with pytest.raises(HelmError, match=r"(?s)helm history.*unreachable.*127\.0\.0\.1:9"):
        run("HelmReleaseStatus", kubeconfig=str(kubeconfig))
