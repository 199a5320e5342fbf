"""What is found out about a cluster: from AWS to its workers, by the DAG and by commands."""

from __future__ import annotations

import base64
import json
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
import yaml
from airflow.cli.cli_parser import get_parser
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException, AirflowSkipException

from airflow_eks_dask import certificates
from airflow_eks_dask.bootstrap import examination, examination_kubernetes
from airflow_eks_dask.bootstrap.doctor import doctor_dag
from airflow_eks_dask.bootstrap.form import complete, which_cluster
from airflow_eks_dask.cli.doctor import doctor
from airflow_eks_dask.cli.plan import plan
from airflow_eks_dask.helm.errors import HelmError
from airflow_eks_dask.hooks.dask_check import Checked, DaskClusterError
from airflow_eks_dask.hooks.eks import KubernetesError
from airflow_eks_dask.hooks.kubernetes import KubernetesCluster
from airflow_eks_dask.preflight.finding import by_severity
from tests.aws.bootstrap import DagRun
from tests.http_server import kubernetes_objects


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    # What is polled is there already.
    monkeypatch.setattr("time.sleep", lambda _: None)


@pytest.fixture
def settings(start):
    """Of a cluster that was built."""
    return examination_settings(start().run())


def examination_settings(run):
    from airflow_eks_dask.bootstrap.settings import Settings

    return Settings.from_json(run.results["preflight.form"]["settings"])


def whats(findings):
    return [f"{each['severity']}: {each['what']}" for each in findings]


def test_a_cluster_that_is_as_it_was_built_is_well(simulation, settings, aws):
    simulation.forget_calls()
    assert examination.findings_of("in_aws", settings, aws) == []
    assert simulation.writes() == []


def test_what_drifted_and_what_is_missing_is_named(simulation, settings, aws):
    simulation.boto("eks").update_nodegroup_config(
        clusterName="pipelines", nodegroupName="nodes", scalingConfig={"minSize": 1, "maxSize": 9, "desiredSize": 1}
    )
    simulation.boto("eks").delete_addon(clusterName="pipelines", addonName="metrics-server")
    simulation.boto("s3").put_bucket_tagging(
        Bucket=settings.bucket_name, Tagging={"TagSet": [{"Key": "airflow-eks-dask/cluster", "Value": "other"}]}
    )
    found = by_severity(examination.findings_of("in_aws", settings, aws))
    assert [each["severity"] for each in found] == ["error", "error", "warning"]
    assert {
        "error: EKS add-on metrics-server is missing",
        "warning: EKS node group nodes is not as it was built",
    } <= set(whats(found))
    assert all(each["what_to_do"] and each["why"] for each in found)


def test_a_part_that_can_not_be_looked_at_hides_no_other(simulation, settings, aws):
    simulation.boto("eks").delete_addon(clusterName="pipelines", addonName="metrics-server")
    simulation.fail("denied", operation="GetRole", times=1000)
    found = whats(examination.findings_of("in_aws", settings, aws))
    assert "warning: IAM role roles.cluster could not be looked at" in found
    assert "error: EKS add-on metrics-server is missing" in found


@pytest.fixture
def kubernetes(tmp_path):
    """A Kubernetes API that is read from, with what a sound cluster has: its objects, and how to get there."""
    with kubernetes_objects() as (url, objects):
        file = tmp_path / "kubeconfig"
        named = {"clusters": [{"name": "c", "cluster": {"server": url}}], "users": [{"name": "u", "user": {}}]}
        context = {"contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}], "current-context": "x"}
        file.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **named, **context}))
        objects["/version/"] = {"gitVersion": "v1.34.1", "major": "1", "minor": "34+"} | dict.fromkeys(
            ("buildDate", "compiler", "gitCommit", "gitTreeState", "goVersion", "platform"), ""
        )
        objects["/api/v1/nodes"] = {"items": [node("one")]}
        objects["/api/v1/namespaces/dask/pods"] = {"items": []}
        for role in certificates.USAGES:
            objects[f"/api/v1/namespaces/dask/secrets/pipeline-{role}-tls"] = secret(role, 300)
        yield objects, KubernetesCluster(kubeconfig=str(file))


def node(name, ready="True", kubelet="v1.34.1-eks-1"):
    info = dict.fromkeys(
        (
            *("architecture", "bootID", "containerRuntimeVersion", "kernelVersion", "kubeProxyVersion", "machineID"),
            *("operatingSystem", "osImage", "systemUUID"),
        ),
        "x",
    )
    condition = {"type": "Ready", "status": ready, "message": "the kubelet is silent"}
    return {
        "metadata": {"name": name},
        "status": {"conditions": [condition], "nodeInfo": {**info, "kubeletVersion": kubelet}},
    }


def secret(role, days):
    now = datetime.now(timezone.utc) - timedelta(days=350 - days)
    issued = certificates.make_certificate(role, certificates.make_authority(now), now, 350)
    return {"data": {"tls.crt": base64.b64encode(issued.certificate_pem()).decode()}}


class Release:
    """Helm, and what it remembers."""

    history_of = SimpleNamespace(status="deployed", chart="pipeline-1", description="done")

    def __init__(self, *_, **__):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def history(self, _):
        return [self.history_of] if self.history_of else []

    def chart_label(self, _):
        return "pipeline-1"


@pytest.fixture
def helm(monkeypatch):
    monkeypatch.setattr(examination_kubernetes, "Helm", Release)
    return lambda **fields: monkeypatch.setattr(
        Release, "history_of", SimpleNamespace(**(vars(Release.history_of) | fields)) if fields else None
    )


PLAIN = SimpleNamespace(namespace="dask")


def examined(kubernetes):
    return [
        f"{each.severity.value}: {each.what}" for each in examination_kubernetes.examine_cluster(PLAIN, kubernetes[1])
    ]


def test_a_sound_cluster(kubernetes, helm):
    assert examined(kubernetes) == []


def test_nodes_that_are_silent_or_old(kubernetes, helm):
    kubernetes[0]["/api/v1/nodes"] = {"items": [node("one", "Unknown"), node("two", kubelet="v1.33.9-eks-2")]}
    assert examined(kubernetes) == [
        "warning: Node one is not ready",
        "warning: Node two is older than the cluster",
    ]
    kubernetes[0]["/api/v1/nodes"] = {"items": []}
    assert examined(kubernetes) == ["error: The cluster has no nodes"]


def test_certificates_that_end_or_are_not_there(kubernetes, helm):
    objects = kubernetes[0]
    objects["/api/v1/namespaces/dask/secrets/pipeline-scheduler-tls"] = secret("scheduler", 5)
    objects["/api/v1/namespaces/dask/secrets/pipeline-worker-tls"] = secret("worker", -1)
    del objects["/api/v1/namespaces/dask/secrets/pipeline-client-tls"]
    assert examined(kubernetes) == [
        "warning: The certificate of the scheduler ends soon",
        "error: The certificate of the worker has ended",
        "error: The client has no certificate",
    ]
    objects["/api/v1/namespaces/dask/secrets/pipeline-client-tls"] = {"data": {"tls.crt": "bm9uZQ=="}}
    assert "error: The certificate of the client is none" in examined(kubernetes)


def test_what_became_of_the_release(kubernetes, helm, monkeypatch):
    helm(status="failed")
    assert examined(kubernetes) == ["error: The Helm release pipeline is failed"]
    helm(status="deployed", chart="pipeline-0")
    assert examined(kubernetes) == ["warning: The Helm release pipeline is of another version"]
    helm()
    assert examined(kubernetes) == ["error: There is no Dask cluster"]

    def missing(*_):
        raise HelmError("there is no Helm")

    monkeypatch.setattr(Release, "history", missing)
    assert examined(kubernetes) == ["warning: The Helm release could not be looked at"]


def test_a_pod_that_is_not_ready(kubernetes, helm):
    waiting = {"reason": "ImagePullBackOff", "message": "no such image"}
    state = {"name": "worker", "ready": False, "restartCount": 0, "image": "i", "imageID": "i"}
    status = {"phase": "Pending", "containerStatuses": [{**state, "state": {"waiting": waiting}}]}
    kubernetes[0]["/api/v1/namespaces/dask/pods"] = {"items": [{"metadata": {"name": "w"}, "status": status}]}
    assert examined(kubernetes) == ["warning: A pod of the Dask cluster is not ready"]


def test_an_api_that_refuses(kubernetes, helm):
    kubernetes[0]["/api/v1/nodes"] = 403
    with pytest.raises(KubernetesError, match="Kubernetes answered 403"):
        examined(kubernetes)


def test_an_eks_cluster_that_is_not_there(settings, aws, simulation):
    simulation.reset()
    assert whats(examination.findings_of("in_kubernetes", settings, aws)) == [
        "error: The Kubernetes API does not answer as it should"
    ]


@pytest.fixture
def published(monkeypatch):
    connection = SimpleNamespace()
    monkeypatch.setattr(BaseHook, "get_connection", staticmethod(lambda _: connection))
    monkeypatch.setattr("airflow_eks_dask.hooks.dask.endpoint_of", lambda _: SimpleNamespace(address="tls://a:8786"))
    return connection


def round_trip(monkeypatch, answer):
    def run(_):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr("airflow_eks_dask.hooks.dask_check.run", run)
    wanted = SimpleNamespace(connection_id="dask_default", helm_values={}, workers=2, slots=4)
    return [f"{each.severity.value}: {each.what}" for each in examination.through_workers(wanted, None)]


def test_a_function_that_comes_back(published, monkeypatch):
    checked = Checked(address="tls://a:8786", versions={}, workers=["1", "2"], slots=8, seconds=0.1)
    assert round_trip(monkeypatch, checked) == []


def test_fewer_workers_than_there_should_be(published, monkeypatch):
    checked = Checked(address="tls://a:8786", versions={}, workers=["1"], slots=4, seconds=0.1)
    assert round_trip(monkeypatch, checked) == ["warning: 4 of 8 slots are there"]


def test_other_versions(published, monkeypatch):
    found = round_trip(monkeypatch, DaskClusterError("python is 3.10 there, and 3.11 here"))
    assert found == ["error: The Dask cluster at tls://a:8786 can't run tasks"]


def test_a_connection_that_is_gone(monkeypatch):
    def missing(conn_id):
        raise AirflowNotFoundException(conn_id)

    monkeypatch.setattr(BaseHook, "get_connection", staticmethod(missing))
    assert round_trip(monkeypatch, None) == ["error: Airflow's connection dask_default leads to no cluster"]


class DoctorRun(DagRun):
    """One run of the DAG that examines, without its schedule."""

    run_type = "manual"

    def context(self, task):
        run = SimpleNamespace(run_id="manual", dag_id=self.dag.dag_id, run_type=self.run_type)
        return {**super().context(task), "dag_run": run}

    def xcom_pull(self, task_ids):
        if isinstance(task_ids, list):
            return [self.results.get(task_id) for task_id in task_ids]
        return super().xcom_pull(task_ids)


@pytest.fixture
def examine(aws, api, monkeypatch):
    api.runs.append({"dag_id": "eks_dask_doctor", "dag_run_id": "manual", "state": "running", "conf": {}})
    for name in ("in_kubernetes", "through_workers"):
        monkeypatch.setitem(examination.EXAMINERS, name, lambda *_: iter(()))
    return lambda **form: DoctorRun(doctor_dag(None), aws, complete(form, which_cluster()))


def test_the_run_of_a_sound_cluster_succeeds_and_says_so(start, examine, api):
    start().run()
    run = examine().run()
    assert run.results["report"] == []
    assert api.runs[-1]["note"] == "**pipelines (eu-central-1) is well.**"


def test_the_run_fails_and_says_what_to_do(simulation, start, examine, api):
    start().run()
    simulation.boto("eks").delete_addon(clusterName="pipelines", addonName="coredns")
    with pytest.raises(AirflowFailException, match=r"(?s)1 things are wrong .* coredns is missing.*eks_dask_bootstrap"):
        examine().run()
    assert "- error: EKS add-on coredns is missing" in api.runs[-1]["note"]


def test_an_examiner_that_failed_is_no_good_news(start, examine):
    start().run()
    run = examine().run()
    del run.results["examine.in_kubernetes"]
    with pytest.raises(AirflowFailException, match=r"examine\.in_kubernetes came to no end"):
        run.execute(run.dag.get_task("report"))


def test_an_unknown_cluster_fails_by_hand_and_is_skipped_by_the_schedule(examine):
    with pytest.raises(AirflowFailException, match="Nothing is known of a cluster pipelines"):
        examine().run()
    run = examine()
    run.run_type = "scheduled"
    with pytest.raises(AirflowSkipException):
        run.run()


@pytest.fixture
def command(simulation, variables, capsys):
    def command(name, *words):
        code = 0
        capsys.readouterr()
        try:
            {"plan": plan, "doctor": doctor}[name](get_parser().parse_args(["eks-dask", name, *words]))
        except SystemExit as ended:
            code = ended.code
        said = capsys.readouterr()
        return code, said.out, said.err

    return command


def test_the_plan_command(command, simulation):
    code, out, _ = command("plan", "--cluster", "second", "--conf", '{"database": "none"}', "--output", "json")
    summary = json.loads(out)
    assert code == 0
    assert summary["totals"]["create"] == len(summary["plans"]) > 10
    assert not [each for each in summary["plans"] if each["kind"] == "Database"]
    assert simulation.writes() == []
    code, out, _ = command("plan")
    assert code == 0
    assert "19 to create" in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--conf", "{"], "--conf is no JSON"),
        (["--conf", "[]"], "--conf has to be a JSON object"),
        (["--conf", '{"colour": "blue"}'], "There are no fields colour"),
        (["--cluster", "No Name"], "Invalid input for param cluster_name"),
        (["--conf", '{"max_nodes": 1}'], "max_nodes = 1: must be min_nodes = 2 or more"),
    ],
)
def test_a_plan_that_makes_no_sense(command, words, said):
    code, out, err = command("plan", *words)
    assert (code, out) == (2, "")
    assert said in err


def test_a_plan_that_can_not_be_done(command, simulation):
    simulation.boto("iam").create_role(RoleName="pipelines-eu-central-1-node", AssumeRolePolicyDocument="{}")
    code, out, err = command("plan")
    assert code == 1
    assert "refuse" in out
    assert "1 of these can't be done" in err


def test_the_doctor_command(command, simulation, start, monkeypatch):
    start().run()
    code, out, _ = command("doctor", "--cluster", "pipelines", "--only", "in_aws")
    assert (code, out) == (0, "pipelines (eu-central-1) is well: looked at in_aws\n")
    simulation.boto("eks").delete_addon(clusterName="pipelines", addonName="coredns")
    code, out, err = command("doctor", "--cluster", "pipelines", "--only", "in_aws", "--output", "json")
    assert code == 1
    assert [each["what"] for each in json.loads(out)["findings"]] == ["EKS add-on coredns is missing"]
    assert "1 things are wrong" in err
    code, out, _ = command("doctor", "--cluster", "pipelines", "--only", "in_aws")
    assert code == 1
    assert "coredns is missing" in " ".join(out.split())


def test_a_cluster_that_is_not_known(command):
    code, _, err = command("doctor", "--cluster", "nowhere")
    assert code == 1
    assert "Nothing is known of a cluster nowhere in eu-central-1" in err
