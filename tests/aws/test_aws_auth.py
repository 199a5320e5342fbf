"""Entries of ``aws-auth``, through operators, a Kubernetes API over TLS and whoever writes at the same time."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
import yaml

from airflow_eks_dask.hooks.eks import KubernetesError
from airflow_eks_dask.operators.aws_auth import DeleteAwsAuthOperator, EnsureAwsAuthOperator
from airflow_eks_dask.resources.aws_auth import ANNOTATION, AwsAuth
from airflow_eks_dask.resources.base import UNKNOWN, ResourceError
from tests.kubernetes_api import PATH, KubernetesApi

NODES = "arn:aws:iam::111122223333:role/nodes"
ADA = {"userarn": "arn:aws:iam::111122223333:user/ada", "username": "ada", "groups": ["viewers"]}
NODE_ENTRY = {
    "rolearn": NODES,
    "username": "system:node:{{EC2PrivateDNSName}}",
    "groups": ["system:bootstrappers", "system:nodes"],
}
THEIRS = (
    "# ours since 2019\n- rolearn: arn:aws:iam::111122223333:role/ops\n  username: ops\n  groups: [system:masters]\n"
)


@pytest.fixture
def api(simulation, tmp_path, monkeypatch):
    with KubernetesApi(tmp_path).serving() as api:
        connection = json.loads(api.connection)
        connection["extra"]["endpoint_url"] = simulation.url
        monkeypatch.setenv("AIRFLOW_CONN_AWS_DEFAULT", json.dumps(connection))
        monkeypatch.setattr("airflow_eks_dask.resources.aws_auth.time.sleep", lambda _: None)
        yield api


def ensure(**wanted):
    wanted = wanted or {"node_roles": [NODES]}
    return EnsureAwsAuthOperator(task_id="ensure", cluster_name="pipelines", **wanted)


def delete(**named):
    return DeleteAwsAuthOperator(task_id="delete", cluster_name="pipelines", **named)


def roles(api):
    return yaml.safe_load(api.config_map["data"]["mapRoles"])


def test_a_config_map_is_made_where_there_is_none(api, converge):
    assert converge(ensure(node_roles=[NODES], users=[ADA])) == {"entries": [NODES, ADA["userarn"]]}
    assert converge.actions == ["create", "leave"]
    assert roles(api) == [NODE_ENTRY]
    assert yaml.safe_load(api.config_map["data"]["mapUsers"]) == [ADA]


def test_what_others_wrote_stays(api, converge):
    api.put({"mapRoles": THEIRS, "mapAccounts": "- '1'\n"}, theirs="yes")
    converge(ensure())
    assert converge.actions == ["change", "leave"]
    assert converge.plans[0]["reasons"] == [f"mapRoles: {NODES} is missing"]
    assert api.config_map["data"]["mapRoles"].startswith(THEIRS)
    assert roles(api)[1:] == [NODE_ENTRY]
    assert api.config_map["data"]["mapAccounts"] == "- '1'\n"
    assert api.config_map["metadata"]["annotations"]["theirs"] == "yes"


def test_the_second_time_nothing_is_written(api, converge):
    converge(ensure())
    before = list(api.writes)
    converge(ensure())
    assert converge.actions == ["leave"]
    assert api.writes == before


def test_a_dry_run_writes_nothing(api, converge):
    operator = ensure(node_roles=[UNKNOWN])
    operator.is_dry_run = True
    converge(operator)
    assert converge.actions == ["create"]
    assert api.writes == []


def test_a_dry_run_needs_no_cluster(api, converge):
    api.cluster_name = None
    operator = ensure()
    operator.is_dry_run = True
    converge(operator)
    assert converge.plans[0]["reasons"] == ["the cluster is not there yet"]
    assert api.requests == []


def test_without_a_cluster_there_is_nothing_to_write(api, converge):
    api.cluster_name = None
    with pytest.raises(KubernetesError, match="EKS cluster pipelines in eu-central-1 is not there"):
        converge(ensure())


def test_roles_are_named_without_their_path(api, converge):
    converge(ensure(roles=[{"rolearn": "arn:aws:iam::111122223333:role/team/a/dev", "username": "dev"}]))
    assert roles(api) == [{"rolearn": "arn:aws:iam::111122223333:role/dev", "username": "dev"}]


def test_an_entry_that_was_changed_is_mended(api, converge):
    api.put({"mapRoles": THEIRS})
    converge(ensure())
    data = {"mapRoles": api.config_map["data"]["mapRoles"].replace("system:nodes", "system:masters")}
    api.put(data, **api.config_map["metadata"]["annotations"])
    converge(ensure())
    assert converge.actions == ["change", "leave"]
    assert roles(api)[1:] == [NODE_ENTRY]


def test_an_entry_of_others_that_says_otherwise_is_refused(api, converge):
    text = yaml.safe_dump([NODE_ENTRY | {"groups": ["system:masters"]}])
    api.put({"mapRoles": text})
    with pytest.raises(ResourceError, match=f"an entry for {NODES} that was not made for this cluster"):
        converge(ensure())
    assert converge.actions == ["refuse"]
    assert api.config_map["data"] == {"mapRoles": text}
    assert api.writes == []


def test_entries_of_others_can_be_used_and_are_not_changed(api, converge):
    api.put({"mapRoles": THEIRS})
    converge(ensure(node_roles=[NODES], existing=True))
    assert converge.plans[0]["reasons"] == [f"not ours to change: mapRoles: {NODES} is missing"]
    converge(delete(existing=True))
    assert api.writes == []


def test_what_cannot_be_read_is_refused_and_stays(api, converge):
    api.put({"mapRoles": "- rolearn: ["}, **{ANNOTATION: json.dumps({"cluster": "pipelines", "mapRoles": [NODES]})})
    for operator in (ensure(), delete()):
        with pytest.raises(
            ResourceError, match=r"kube-system/aws-auth can't be read and is left as it is: mapRoles is"
        ):
            converge(operator)
    assert api.writes == []
    assert api.config_map["data"] == {"mapRoles": "- rolearn: ["}


def test_what_somebody_writes_at_the_same_time_is_not_lost(api, converge):
    api.put({"mapRoles": ""})
    api.before_write = lambda: api.put({"mapRoles": THEIRS})
    converge(ensure())
    assert api.writes == [f"PATCH {PATH}/aws-auth"] * 2
    assert api.config_map["data"]["mapRoles"].startswith(THEIRS)
    assert roles(api)[1:] == [NODE_ENTRY]


def test_what_somebody_creates_at_the_same_time_is_not_lost(api, converge):
    api.before_write = lambda: api.put({"mapRoles": THEIRS})
    converge(ensure())
    assert api.writes == [f"POST {PATH}", f"PATCH {PATH}/aws-auth"]
    assert len(roles(api)) == 2


def test_what_somebody_deletes_at_the_same_time_is_made_anew(api, converge):
    api.put({"mapRoles": THEIRS})
    api.before_write = lambda: setattr(api, "config_map", None)
    converge(ensure())
    assert api.writes == [f"PATCH {PATH}/aws-auth", f"POST {PATH}"]
    assert roles(api) == [NODE_ENTRY]


def test_many_who_write_at_the_same_time_lose_nothing(api, aws):
    api.put({"mapRoles": THEIRS})
    arns = [f"{NODES}-{number}" for number in range(6)]
    wanted = [AwsAuth(cluster_name="pipelines", node_roles=[arn]) for arn in arns]
    plan = wanted[0].plan(aws)  # makes the clients, which is not for several threads at once
    start = threading.Barrier(len(wanted))

    def write(resource):
        start.wait(10)
        resource.apply(aws, plan)

    with ThreadPoolExecutor(len(wanted)) as threads:
        list(threads.map(write, wanted))
    assert api.config_map["data"]["mapRoles"].startswith(THEIRS)
    assert sorted(entry["rolearn"] for entry in roles(api)[1:]) == arns
    record = json.loads(api.config_map["metadata"]["annotations"][ANNOTATION])
    assert record["mapRoles"] == arns


@pytest.mark.parametrize(
    ("text", "message"),
    [("- [", "can't be read"), (yaml.safe_dump([NODE_ENTRY | {"username": "root"}]), "says otherwise")],
)
def test_what_somebody_writes_at_the_same_time_may_be_refused(api, converge, text, message):
    api.put({"mapRoles": ""})
    api.before_write = lambda: api.put({"mapRoles": text})
    with pytest.raises(ResourceError, match=message):
        converge(ensure())
    assert api.config_map["data"]["mapRoles"] == text


def test_it_gives_up_where_somebody_always_writes_first(api, converge):
    def interfere():
        api.put({"mapRoles": THEIRS})
        api.before_write = interfere

    interfere()
    with pytest.raises(ResourceError, match="each of 10 times somebody else wrote it just before"):
        converge(ensure())
    assert len(api.writes) == 10
    assert api.config_map["data"] == {"mapRoles": THEIRS}


def test_only_our_entries_go(api, converge):
    api.put({"mapRoles": THEIRS}, theirs="yes")
    converge(ensure(node_roles=[NODES], users=[ADA]))
    assert converge(delete())["action"] == "leave"
    assert converge.actions == ["delete", "leave"]
    assert api.config_map["data"] == {"mapRoles": THEIRS}
    assert api.config_map["metadata"]["annotations"] == {"theirs": "yes"}


def test_named_entries_go_and_our_others_stay(api, converge):
    converge(ensure(node_roles=[NODES], users=[ADA]))
    converge(delete(users=[{"userarn": ADA["userarn"]}]))
    assert set(api.config_map["data"]) == {"mapRoles"}
    assert roles(api) == [NODE_ENTRY]
    converge(delete())
    assert api.config_map is None


def test_a_config_map_that_we_made_goes_with_its_last_entry(api, converge):
    converge(ensure())
    converge(delete())
    assert api.config_map is None
    assert api.writes[-1] == f"DELETE {PATH}/aws-auth"


def test_a_config_map_that_we_made_stays_while_others_use_it(api, converge):
    converge(ensure())
    data, annotations = api.config_map["data"], api.config_map["metadata"]["annotations"]
    api.before_write = lambda: api.put(data | {"mapUsers": yaml.safe_dump([ADA])}, **annotations)
    converge(delete())
    assert api.config_map["data"] == {"mapUsers": yaml.safe_dump([ADA])}


def test_an_entry_that_somebody_removed_is_forgotten(api, converge):
    record = json.dumps({"cluster": "pipelines", "mapRoles": [NODES]})
    api.put({"mapRoles": THEIRS}, **{ANNOTATION: record})
    converge(delete())
    assert converge.actions == ["delete", "leave"]
    assert api.config_map["data"] == {"mapRoles": THEIRS}
    assert api.config_map["metadata"]["annotations"] == {}


def test_the_second_deletion_does_nothing(api, converge):
    api.put({"mapRoles": THEIRS})
    converge(ensure())
    converge(delete())
    before = list(api.writes)
    assert converge(delete())["reasons"] == ["none is ours"]
    assert api.writes == before


@pytest.mark.parametrize("change", [{"config_map": None}, {"cluster_name": None}])
def test_what_is_gone_needs_no_deletion(api, converge, change):
    converge(ensure())
    for name, value in change.items():
        setattr(api, name, value)
    assert converge(delete())["action"] == "leave"


def test_what_was_made_for_another_cluster_is_not_ours(api, converge):
    text = yaml.safe_dump([NODE_ENTRY])
    api.put({"mapRoles": text}, **{ANNOTATION: json.dumps({"cluster": "other", "mapRoles": [NODES]})})
    assert converge(delete())["reasons"] == ["none is ours"]
    assert api.config_map["data"]["mapRoles"] == text


def test_a_refusal_of_kubernetes_is_told(api, converge):
    api.refusal = 403
    with pytest.raises(KubernetesError, match="reading ConfigMap kube-system/aws-auth: Kubernetes answered 403"):
        converge(ensure())


def test_tokens_are_made_for_the_cluster_and_do_not_reach_the_log(api, converge, caplog, monkeypatch):
    monkeypatch.setattr("airflow_eks_dask.hooks.eks_token.RENEW_AFTER", timedelta(0))
    with caplog.at_level("DEBUG"):
        converge(ensure())
    assert api.tokens
    assert not any(token in caplog.text for token in api.tokens)


def test_all_that_is_wrong_is_told_at_once():
    wrong = AwsAuth(
        cluster_name="no cluster",
        node_roles=["nodes"],
        roles=[{"rolearn": "arn:aws:iam::111122223333:role/a", "groups": "admins", "arn": "x"}],
        users=[{"userarn": NODES, "username": "a"}],
    )
    assert [problem.partition(" = ")[0].partition(":")[0] for problem in wrong.problems()] == [
        "cluster_name",
        "node_roles",
        "users[userarn]",
        "roles[0]",
        "roles[0][username]",
        "roles[0][groups]",
    ]
    assert AwsAuth(cluster_name="pipelines").problems() == ["give node_roles, roles or users"]
    twice = AwsAuth(cluster_name="pipelines", node_roles=[NODES], roles=[NODE_ENTRY])
    assert twice.problems() == [f"{NODES} has several entries"]
