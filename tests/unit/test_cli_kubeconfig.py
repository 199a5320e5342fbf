"""``kubeconfig`` and ``token``: what they write, keep and print."""

from __future__ import annotations

import json
import os
import stat
from types import SimpleNamespace

import pytest
import yaml
from airflow.cli.cli_parser import get_parser

from airflow_eks_dask.cli.kubeconfig import kubeconfig
from airflow_eks_dask.cli.token import token
from tests.kubernetes_api import KubernetesApi

COMMANDS = {"kubeconfig": kubeconfig, "token": token}
ARN = "arn:aws:eks:eu-central-1:111122223333:cluster/pipelines"
NAME = f"airflow-eks-dask/{ARN}"
FORMER = """\
# made by hand
apiVersion: v1
kind: Config
preferences: {colors: true}
clusters:
- name: home
  cluster: {server: https://home.example.com}
contexts:
- name: home
  context: {cluster: home, user: me}
users:
- name: me
  user: {token: mine}
current-context: home
"""


@pytest.fixture
def api(tmp_path, monkeypatch):
    with KubernetesApi(tmp_path / "tls").serving() as api:
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", api.connection)
        monkeypatch.setenv("_AIRFLOW_PROCESS_CONTEXT", "client")
        yield api


@pytest.fixture
def file(tmp_path, monkeypatch):
    file = tmp_path / "kube" / "config"
    monkeypatch.setenv("KUBECONFIG", f"{file}:/elsewhere")
    return file


@pytest.fixture
def run(api, file, capsys):
    """Run a command and return its exit code, output and errors."""

    def run(*words, command="kubeconfig", cluster="pipelines"):
        code = 0
        try:
            COMMANDS[command](get_parser().parse_args(["eks-dask", command, "--cluster", cluster, *words]))
        except SystemExit as end:
            code = end.code
        output = capsys.readouterr()
        return SimpleNamespace(code=code, out=output.out, err=output.err)

    return run


def user(file):
    (found,) = [each for each in yaml.safe_load(file.read_text())["users"] if each["name"] == NAME]
    return found["user"]


def test_a_new_file_leads_to_the_cluster(api, file, run):
    result = run()
    assert result.code == 0
    assert "kubectl --context pipelines get nodes" in result.out
    content = yaml.safe_load(file.read_text())
    (cluster,) = content["clusters"]
    assert cluster["cluster"]["server"] == api.url
    assert cluster["cluster"]["certificate-authority-data"].startswith("LS0tLS1CRUdJTi")
    assert content["contexts"] == [{"name": "pipelines", "context": {"cluster": NAME, "user": NAME}}]
    assert content["current-context"] == "pipelines"
    assert (content["apiVersion"], content["kind"]) == ("v1", "Config")


def test_no_token_is_in_the_file_and_nobody_else_may_read_it(file, run):
    run()
    assert set(user(file)) == {"exec"}
    for word in ("k8s-aws-v1.", "a-secret-key"):
        assert word not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert list(file.parent.iterdir()) == [file]


def test_the_aws_cli_is_asked_for_tokens(file, run):
    run()
    plugin = user(file)["exec"]
    assert [plugin["command"], *plugin["args"]] == (
        ["aws", "--region", "eu-central-1", "eks", "get-token", "--cluster-name", "pipelines", "--output", "json"]
    )
    assert "--exec airflow" in plugin["installHint"]


def test_airflow_may_be_asked_for_tokens(file, run, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONFIG", "/etc/airflow.cfg")
    monkeypatch.setenv("AIRFLOW_CONN_OPS", '{"conn_type": "aws", "extra": {}}')
    assert run("--exec", "airflow").code == 0
    plugin = user(file)["exec"]
    assert plugin["command"].endswith("/airflow")
    assert plugin["args"] == ["eks-dask", "token", "--cluster", "pipelines", "--region", "eu-central-1"]
    environment = {each["name"]: each["value"] for each in plugin["env"]}
    assert environment.keys() == {"AIRFLOW_HOME", "AIRFLOW_CONFIG"}
    assert environment["AIRFLOW_CONFIG"] == "/etc/airflow.cfg"


def test_the_connection_is_asked_for_tokens_by_name(api, file, run, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_OPS", api.connection)
    monkeypatch.delenv("AIRFLOW_CONN_AWS_DEFAULT")
    assert run("--exec", "airflow", "--aws-conn-id", "ops").code == 0
    assert user(file)["exec"]["args"][-2:] == ["--aws-conn-id", "ops"]


@pytest.mark.parametrize("words", [(), ("--exec", "airflow")])
def test_what_kubectl_runs_is_a_command_that_works(api, file, run, words):
    run(*words)
    plugin = user(file)["exec"]
    if plugin["command"] == "aws":
        assert plugin["args"][2:4] == ["eks", "get-token"]
    else:
        args = get_parser().parse_args(plugin["args"])
        assert (args.cluster, args.region, args.aws_conn_id) == ("pipelines", "eu-central-1", None)


def test_a_file_that_is_there_is_not_touched_unasked(file, run):
    file.parent.mkdir()
    file.write_text(FORMER)
    result = run()
    assert result.code == 2
    assert result.err.startswith(f"airflow eks-dask kubeconfig: {file} is there already: add the cluster with --merge")
    assert file.read_text() == FORMER


def test_merging_keeps_all_else_and_the_former_file(file, run):
    file.parent.mkdir()
    file.write_text(FORMER)
    assert run("--merge").code == 0
    content, former = yaml.safe_load(file.read_text()), yaml.safe_load(FORMER)
    for name in ("clusters", "contexts", "users"):
        assert content[name][:-1] == former[name]
    assert content["preferences"] == {"colors": True}
    assert content["current-context"] == "pipelines"
    backup = file.with_name("config.bak")
    assert backup.read_text() == FORMER
    assert [stat.S_IMODE(each.stat().st_mode) for each in (file, backup)] == [0o600, 0o600]


def test_merging_again_writes_nothing(file, run):
    file.parent.mkdir()
    file.write_text(FORMER)
    run("--merge")
    before = file.stat().st_mtime_ns
    result = run("--merge", "-o", "json")
    assert json.loads(result.out)["changed"] is False
    assert file.stat().st_mtime_ns == before
    assert file.with_name("config.bak").read_text() == FORMER


def test_merging_renews_what_has_changed_and_keeps_the_namespace(api, file, run):
    run()
    content = yaml.safe_load(file.read_text())
    content["contexts"][0]["context"]["namespace"] = "dask"
    content["clusters"][0]["cluster"]["server"] = "https://former.example.com"
    file.write_text(yaml.safe_dump(content))
    assert run("--merge").code == 0
    content = yaml.safe_load(file.read_text())
    assert content["clusters"][0]["cluster"]["server"] == api.url
    assert content["contexts"][0]["context"] == {"cluster": NAME, "user": NAME, "namespace": "dask"}
    assert [len(content[name]) for name in ("clusters", "contexts", "users")] == [1, 1, 1]


def test_the_context_of_another_cluster_is_kept(file, run):
    file.parent.mkdir()
    file.write_text(FORMER)
    result = run("--merge", "--alias", "home")
    assert result.code == 1
    assert "the context 'home' is there already, for the cluster 'home': choose another name with --alias" in result.err
    assert file.read_text() == FORMER
    assert run("--merge", "--alias", "work").code == 0
    assert yaml.safe_load(file.read_text())["current-context"] == "work"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clusters: [", "is not valid YAML"),
        ("- a", "is no kubeconfig"),
        ("clusters: {}\nusers: a", "is no kubeconfig"),
        ("users: [me]", "is no kubeconfig"),
    ],
)
def test_what_cannot_be_read_is_left_as_it_is(file, run, text, message):
    file.parent.mkdir()
    file.write_text(text)
    result = run("--merge")
    assert result.code == 1
    assert message in result.err
    assert "left as it is" in result.err
    assert file.read_text() == text
    assert list(file.parent.iterdir()) == [file]


def test_an_empty_file_can_be_merged(file, run):
    file.parent.mkdir()
    file.touch()
    assert run("--merge").code == 0
    assert yaml.safe_load(file.read_text())["current-context"] == "pipelines"


def test_a_link_stays_one(tmp_path, file, run):
    file.parent.mkdir()
    target = tmp_path / "real"
    target.write_text(FORMER)
    file.symlink_to(target)
    assert run("--merge").code == 0
    assert file.is_symlink()
    assert yaml.safe_load(target.read_text())["current-context"] == "pipelines"
    assert (tmp_path / "real.bak").read_text() == FORMER


def test_another_file_can_be_chosen(tmp_path, file, run):
    chosen = tmp_path / "mine.yaml"
    result = run("--file", str(chosen), "--output", "json")
    answer = json.loads(result.out)
    assert answer["file"] == str(chosen)
    assert (answer["changed"], answer["backup"], answer["context"]) == (True, None, "pipelines")
    assert answer["command"][:3] == ["aws", "--region", "eu-central-1"]
    assert chosen.exists()
    assert not file.exists()


def test_json_names_the_backup(file, run):
    file.parent.mkdir()
    file.write_text(FORMER)
    assert json.loads(run("--merge", "-o", "json").out)["backup"] == f"{file}.bak"


def test_without_the_variable_it_is_the_file_that_kubectl_reads(tmp_path, run, monkeypatch):
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run().code == 0
    assert (tmp_path / ".kube" / "config").exists()


def test_a_cluster_that_is_not_there_writes_nothing(file, run):
    result = run(cluster="other")
    assert result.code == 1
    assert result.err == "airflow eks-dask kubeconfig: there is no EKS cluster 'other' in eu-central-1\n"
    assert not file.exists()


def test_a_directory_that_cannot_be_made_is_told(tmp_path, run):
    (tmp_path / "plain").touch()
    result = run("--file", str(tmp_path / "plain" / "config"))
    assert result.code == 1
    assert f"{tmp_path}/plain/config: " in result.err


def test_connections_in_the_database_are_looked_for(run):
    run()
    assert os.environ["_AIRFLOW_PROCESS_CONTEXT"] == "server"


@pytest.mark.parametrize("command", COMMANDS)
def test_a_connection_that_is_not_there_is_told(run, command, monkeypatch):
    from airflow.models import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    def missing(conn_id):
        raise AirflowNotFoundException(conn_id)

    monkeypatch.setattr(Connection, "get_connection_from_secrets", missing)
    result = run("--aws-conn-id", "nonsense", command=command)
    assert result.code == 1
    assert f"airflow eks-dask {command}: there is no Airflow connection 'nonsense'" in result.err
    assert result.out == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_errors_of_aws_are_told(api, run, command, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", '{"conn_type": "aws", "extra": {"region_name": "eu-central-1"}}')
    result = run(command=command)
    assert result.code == 1
    assert f"airflow eks-dask {command}: AWS: Unable to locate credentials" in result.err
    assert result.out == ""


def test_a_token_is_printed_as_kubectl_expects(run):
    result = run(command="token")
    assert result.code == 0
    answer = json.loads(result.out)
    assert (answer["kind"], answer["apiVersion"]) == ("ExecCredential", "client.authentication.k8s.io/v1beta1")
    assert answer["status"]["token"].startswith("k8s-aws-v1.")
    assert answer["status"]["expirationTimestamp"].endswith("Z")


@pytest.mark.parametrize("words", [["kubeconfig"], ["token"], ["kubeconfig", "--cluster", "a", "--exec", "sh"]])
def test_bad_usage(words):
    with pytest.raises(SystemExit) as end:
        get_parser().parse_args(["eks-dask", *words])
    assert end.value.code == 2
