"""What the chart renders is valid for each version of Kubernetes, and safe whatever the values."""

from __future__ import annotations

import configparser
import re

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate.utils import ValidationError, all_versions

import airflow_eks_dask
from airflow_eks_dask.services import PROMETHEUS
from tests.chart.rendering import CHART, IN_CLUSTER_API, USUAL, VALUES, changed, environment

pytestmark = pytest.mark.any_airflow

# Schemas of older versions are not to be had; what those lack is tested by name.
VERSIONS = all_versions()
CUSTOM = {"ServiceMonitor", "PodMonitor", "ScaledObject", "TriggerAuthentication"}
SECRET = re.compile(r"(?i)password|secret|token|_key$|sql_alchemy_conn|^airflow_conn_")
PATH_OF_KEY = re.compile(r"/etc/dask/tls/tls\.(key|crt)")


def validate(manifests, version):
    for manifest in manifests:
        if manifest["kind"] not in CUSTOM:
            kubernetes_validate.validate(manifest, version, strict=True)


def test_helm_has_nothing_to_complain_about(chart, values):
    done = chart.run("lint", "--strict", CHART, values=values)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("version", [VERSIONS[0], VERSIONS[len(VERSIONS) // 2], VERSIONS[-1]])
def test_manifests_are_valid(chart, values, version):
    validate(chart.render(values, version), version)


def test_a_mistake_in_a_manifest_would_be_found(chart):
    manifests = chart.render(USUAL)
    manifests.container("pipeline-scheduler")["readinesProbe"] = {}
    with pytest.raises(ValidationError):
        validate(manifests, VERSIONS[-1])


def test_what_old_versions_lack_is_left_out(chart):
    manifests = chart.render(VALUES["everything"], "1.20.2")
    for budget in manifests.of_kind("PodDisruptionBudget").values():
        assert budget["apiVersion"] == "policy/v1beta1"
        budget["apiVersion"] = "policy/v1"  # which has the same fields
    assert not re.search("matchLabelKeys|unhealthyPodEvictionPolicy", yaml.safe_dump(list(manifests)))
    validate(manifests, VERSIONS[0])


def test_versions_are_those_of_the_package():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == airflow_eks_dask.__version__


def test_pods_are_confined(rendered):
    for name, pod in rendered.pods():
        spec = pod["spec"]
        context = spec["securityContext"]
        assert (context["runAsNonRoot"], context["runAsUser"], context["runAsGroup"]) == (True, 50000, 0), name
        assert context["fsGroup"] == 0, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["enableServiceLinks"] is False, name
        for container in spec["containers"]:
            confined = container["securityContext"]
            assert confined["readOnlyRootFilesystem"] is True, name
            assert confined["allowPrivilegeEscalation"] is False, name
            assert confined["capabilities"] == {"drop": ["ALL"]}, name
            assert container["resources"]["limits"]["memory"], name


def test_pods_can_write_where_they_have_to(rendered):
    for name, pod in rendered.pods():
        sources = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        (container,) = pod["spec"]["containers"]
        mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
        assert "emptyDir" in sources[mounts["/tmp"]["name"]], name
        assert all(mount["name"] in sources for mount in mounts.values()), name
        if name.endswith(("scheduler", "test")):
            continue
        assert "emptyDir" in sources[mounts["/opt/airflow/logs"]["name"]], name


def test_what_runs_on_is_probed(rendered):
    for name in rendered.of_kind("Deployment"):
        container = rendered.container(name)
        ports = {port["name"] for port in container["ports"]}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert container[probe]["httpGet"]["port"] in ports, name


def test_no_secret_is_in_the_open(rendered):
    assert not rendered.of_kind("Secret")
    for name, pod in rendered.pods():
        for variable, value in environment(pod["spec"]["containers"][0]).items():
            if SECRET.search(variable) and not PATH_OF_KEY.fullmatch(str(value)):
                assert "secretKeyRef" in value, (name, variable)


def test_services_lead_to_ports_of_pods(rendered):
    for name, service in rendered.of_kind("Service").items():
        selected = [
            pod
            for _, pod in rendered.pods()
            if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
        ]
        assert selected, name
        for pod in selected:
            ports = {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
            assert {port["targetPort"] for port in service["spec"]["ports"]} <= ports, name


def test_selectors_select_nothing_else(rendered):
    pods = dict(rendered.pods())
    for name, deployment in rendered.of_kind("Deployment").items():
        selector = deployment["spec"]["selector"]["matchLabels"].items()
        assert [other for other, pod in pods.items() if selector <= pod["metadata"]["labels"].items()] == [name]


def test_each_pod_has_the_account_made_for_it(rendered):
    accounts = rendered.of_kind("ServiceAccount")
    assert {pod["spec"]["serviceAccountName"] for _, pod in rendered.pods()} == accounts.keys()
    assert not any(account["automountServiceAccountToken"] for account in accounts.values())


def test_each_pod_that_is_called_is_guarded(rendered):
    policies = [each["spec"]["podSelector"]["matchLabels"] for each in rendered.of_kind("NetworkPolicy").values()]
    for name in rendered.of_kind("Deployment"):
        labels = rendered.one("Deployment", name)["spec"]["template"]["metadata"]["labels"]
        assert sum(policy.items() <= labels.items() for policy in policies) == 1, name


def test_workers_have_longer_to_end_than_their_tasks(chart):
    for name, deployment in chart.render(VALUES["everything"]).of_kind("Deployment").items():
        if "-worker-" in name:
            waits = 7200 if name.endswith("gpu") else 600
            assert deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] == waits + 60


def test_objects_carry_the_labels_asked_for(chart):
    for manifest in chart.render(VALUES["everything"]):
        assert manifest["metadata"]["labels"]["airflow-eks-dask/cluster"] == "pipelines"
        assert manifest["metadata"]["namespace"] == "dags"


def test_a_group_is_as_it_says(chart):
    manifests = chart.render(VALUES["everything"])
    gpu = manifests.container("pipeline-worker-gpu")
    assert "--resources=airflow=1 GPU=1" in gpu["args"]
    assert "--nthreads=2" in gpu["args"]
    variables = environment(gpu)
    assert variables["AIRFLOW__DASK__QUEUES"] == "gpu,large"
    assert variables["OMP_NUM_THREADS"] == "4"
    assert variables["MKL_NUM_THREADS"] == "1"
    # Limits of its own come without the requests of others.
    assert gpu["resources"] == {"limits": {"memory": "16Gi", "nvidia.com/gpu": "1"}}
    (spread,) = manifests.one("Deployment", "pipeline-worker-gpu")["spec"]["template"]["spec"][
        "topologySpreadConstraints"
    ]
    assert spread["whenUnsatisfiable"] == "DoNotSchedule"
    assert spread["labelSelector"]["matchLabels"]["airflow-eks-dask/worker-group"] == "gpu"


def test_workers_get_no_key_of_the_execution_api(chart):
    manifests = chart.render(VALUES["everything"])
    assert manifests.container("pipeline-execution-api")["livenessProbe"]["httpGet"]["scheme"] == "HTTPS"
    pod = manifests.one("Deployment", "pipeline-worker-small")["spec"]["template"]["spec"]
    (volume,) = [each for each in pod["volumes"] if each.get("secret", {}).get("secretName") == "api-tls"]
    assert volume["secret"]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]
    variables = environment(pod["containers"][0])
    assert variables["AIRFLOW__API__SSL_CERT"] == "/etc/execution-api/ca.crt"
    configuration = manifests.one("ConfigMap", "pipeline-airflow")["data"]["airflow.cfg"]
    assert "execution_api_server_url = https://pipeline-execution-api:8080/execution/\n" in configuration


def test_one_scheduler_at_a_time(rendered):
    spec = rendered.one("Deployment", "pipeline-scheduler")["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_the_load_balancer_is_internal_unless_it_is_public(chart):
    internal = chart.render(USUAL).one("Service", "pipeline-scheduler")
    assert internal["metadata"]["annotations"]["service.beta.kubernetes.io/aws-load-balancer-scheme"] == "internal"
    assert internal["metadata"]["annotations"]["service.beta.kubernetes.io/aws-load-balancer-internal"] == "true"
    public = chart.render(VALUES["public"]).one("Service", "pipeline-scheduler")
    assert public["metadata"]["annotations"]["service.beta.kubernetes.io/aws-load-balancer-scheme"] == "internet-facing"
    assert "internal" not in yaml.safe_dump(public["metadata"]["annotations"])
    assert public["spec"]["loadBalancerSourceRanges"] == ["192.0.2.0/24", "2001:db8::/32"]


def test_the_dashboard_stays_inside(rendered):
    for service in rendered.of_kind("Service").values():
        if service["spec"]["type"] != "ClusterIP":
            assert [port["port"] for port in service["spec"]["ports"]] == [8786]


@pytest.mark.parametrize(
    "value",
    ["50% of $HOME", 5_000_000, 0.5, True, [{"name": "dags", "kwargs": {"url": "https://a.example/?b=%20&c=<d>"}}]],
    ids=lambda value: type(value).__name__,
)
def test_configuration_arrives_as_it_was_given(chart, value):
    manifests = chart.render(changed(USUAL, {"config": {"section": {"option": value}}}))
    parser = configparser.ConfigParser()
    parser.read_string(manifests.one("ConfigMap", "pipeline-airflow")["data"]["airflow.cfg"])
    read = parser["section"]["option"]
    assert (read if isinstance(value, str) else yaml.safe_load(read)) == value
    assert parser["core"]["execution_api_server_url"] == "https://airflow.example.com/execution/"


def checksums(manifests):
    return {name: pod["metadata"].get("annotations", {}) for name, pod in manifests.pods()}


def test_changed_configuration_restarts_what_reads_it(chart):
    before = checksums(chart.render(VALUES["everything"]))
    after = checksums(chart.render(changed(VALUES["everything"], {"config": {"core": {"parallelism": 65}}})))
    restarted = {name for name in before if before[name] != after[name]}
    assert restarted == {name for name in before if "-worker-" in name or name.endswith("execution-api")}


def test_a_new_version_of_the_chart_alone_restarts_nothing(chart, tmp_path):
    import shutil

    copy = shutil.copytree(CHART, tmp_path / "pipeline")
    text = (copy / "Chart.yaml").read_text().replace("\nversion: ", "\nversion: 9")
    (copy / "Chart.yaml").write_text(text)
    done = chart.run("template", "pipeline", copy, "--namespace", "dags", "--kube-version", "1.37.0", values=USUAL)
    new = {each["metadata"]["name"]: each for each in yaml.safe_load_all(done.stdout) if each["kind"] == "Deployment"}
    for name, deployment in chart.render(USUAL).of_kind("Deployment").items():
        assert new[name]["metadata"]["labels"] != deployment["metadata"]["labels"]
        assert new[name]["spec"] == deployment["spec"]


def test_keda_counts_what_wants_a_slot(chart):
    manifests = chart.render(VALUES["everything"])
    assert "replicas" not in manifests.one("Deployment", "pipeline-worker-elastic")["spec"]
    scaled = manifests.one("ScaledObject", "pipeline-worker-elastic")["spec"]
    assert scaled["scaleTargetRef"] == {"name": "pipeline-worker-elastic"}
    (trigger,) = scaled["triggers"]
    assert trigger["metadata"]["targetQueryValue"] == "4"
    secret = manifests.one("TriggerAuthentication", "pipeline-worker-elastic")["spec"]["secretTargetRef"]
    assert secret == [{"parameter": "connection", "name": "keda-database", "key": "connection"}]


def test_prometheus_finds_scheduler_and_workers_and_their_policies_let_it_in(chart):
    (job,) = yaml.safe_load(PROMETHEUS.values["extraScrapeConfigs"])
    keep = job["relabel_configs"][0]["regex"]
    prometheus = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": PROMETHEUS.namespace}}}
    manifests = chart.render({**USUAL, **IN_CLUSTER_API, "networkPolicy": {"monitoring": [prometheus]}})
    scraped = {
        (name, port["containerPort"]): port["name"]
        for name, pod in manifests.pods()
        for container in pod["spec"]["containers"]
        for port in container.get("ports", [])
        if re.fullmatch(keep, f"{pod['metadata']['labels']['app.kubernetes.io/name']};{port['name']}")
    }
    assert scraped == {
        ("pipeline-scheduler", 8787): "http-dashboard",
        ("pipeline-worker-default", 8789): "http-worker",
    }
    for policy, port in (("pipeline-scheduler", "http-dashboard"), ("pipeline-worker", "http-worker")):
        rules = manifests.one("NetworkPolicy", policy)["spec"]["ingress"]
        assert {"ports": [{"port": port}], "from": [prometheus]} in rules


def test_long_names_are_cut(chart):
    manifests = chart.render(VALUES["everything"], release="a-release-with-a-name-as-long-as-they-get-abcdefghij")
    for manifest in manifests:
        assert len(manifest["metadata"]["name"]) <= 63
        assert not manifest["metadata"]["name"].startswith("-")
