"""The authenticator of the simulated EKS lets in whom access entries name, with our tokens, and nobody else."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.request
from urllib.parse import urlencode, urlsplit

import pytest

from airflow_eks_dask.hooks.eks_token import EksTokenSource
from airflow_eks_dask.local.ports import free_port
from tests.aws import authenticator as authentication
from tests.aws.authenticator import Authenticator, RefusedError

CREATOR = "arn:aws:iam::123456789012:user/moto"
POLICY = "arn:aws:eks::aws:cluster-access-policy/AmazonEKS{}Policy"


@pytest.fixture
def eks(simulation):
    """EKS with one cluster, whose creator is its administrator."""
    subnets = [each["SubnetId"] for each in simulation.boto("ec2").describe_subnets()["Subnets"]]
    client = simulation.boto("eks")
    client.create_cluster(
        name="demo",
        roleArn="arn:aws:iam::123456789012:role/some",
        resourcesVpcConfig={"subnetIds": subnets[:2]},
        accessConfig={"authenticationMode": "API"},
    )
    return client


@pytest.fixture
def review(simulation, eks):
    return Authenticator(simulation).review


@pytest.fixture
def token(aws):
    return EksTokenSource(aws, "demo").get().value


def changed(token, **query):
    """Return a token whose URL asks for something else."""
    url = authentication.decoded(token)
    before = authentication.url_query(url)
    after = {**before, **{name.replace("_", "-"): value for name, value in query.items()}}
    url = urlsplit(url)._replace(query=urlencode(after)).geturl()
    return authentication.PREFIX + base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")


def test_who_created_the_cluster_may_do_all(review, token):
    assert review(token) == {"username": CREATOR, "groups": ["system:masters"]}


def test_who_has_no_entry_is_refused(review, token, eks):
    eks.delete_access_entry(clusterName="demo", principalArn=CREATOR)
    with pytest.raises(RefusedError, match="has no access entry in demo"):
        review(token)


def test_an_entry_without_the_policy_gives_its_groups_alone(review, token, eks):
    of = {"clusterName": "demo", "principalArn": CREATOR}
    eks.disassociate_access_policy(**of, policyArn=POLICY.format("ClusterAdmin"))
    eks.associate_access_policy(**of, policyArn=POLICY.format("View"), accessScope={"type": "cluster"})
    eks.update_access_entry(**of, kubernetesGroups=["readers"])
    assert review(token)["groups"] == ["readers"]


def test_a_token_is_good_for_its_cluster_only(review, aws):
    with pytest.raises(RefusedError, match="not signed for any cluster"):
        review(EksTokenSource(aws, "other").get().value)


def test_a_token_is_good_for_a_quarter_of_an_hour(review, token):
    with pytest.raises(RefusedError, match="too old"):
        review(changed(token, X_Amz_Date="20200101T000000Z"))


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ({"X_Amz_Signature": "0" * 64}, "not signed for any cluster"),
        ({"X_Amz_Credential": "stranger/20261126/eu-central-1/sts/aws4_request"}, "there is no access key stranger"),
        ({"X_Amz_Credential": "stranger"}, "no signed URL"),
        ({"Action": "AssumeRole"}, "does not ask who the caller is"),
    ],
)
def test_a_token_that_was_tampered_with(review, token, query, why):
    with pytest.raises(RefusedError, match=why):
        review(changed(token, **query))


@pytest.mark.parametrize("text", ["", "eyJhbGciOi.x.y", "k8s-aws-v1.", "k8s-aws-v1.aHR0cHM6Ly9leGFtcGxlLmNvbQ"])
def test_what_is_no_token_of_eks(review, text):
    with pytest.raises(RefusedError):
        review(text)


def test_an_assumed_role_is_known_by_the_role():
    arn = "arn:aws:sts::123456789012:assumed-role/deployer/session"
    assert authentication.principal(arn) == "arn:aws:iam::123456789012:role/deployer"


def test_the_api_server_is_answered(simulation, eks, token, tmp_path):
    port = free_port()
    config = json.loads(authentication.write_config(tmp_path, port).read_text())
    context, asked = authentication.write_certificate(tmp_path), Authenticator(simulation)
    (cluster,) = config["clusters"]

    def ask(token):
        review = {"apiVersion": "authentication.k8s.io/v1beta1", "kind": "TokenReview", "spec": {"token": token}}
        request = urllib.request.Request(cluster["cluster"]["server"], data=json.dumps(review).encode())
        trust = ssl.create_default_context(cafile=cluster["cluster"]["certificate-authority"])
        with urllib.request.urlopen(request, timeout=30, context=trust) as answer:
            return json.load(answer)["status"]

    with authentication.listening(asked, context, port):
        assert ask(token) == {"authenticated": True, "user": {"username": CREATOR, "groups": ["system:masters"]}}
        assert ask("nothing")["authenticated"] is False
    assert asked.admitted == [f"{CREATOR} in demo"]
    assert asked.refused == ["it does not begin with k8s-aws-v1."]


def test_clusters_lead_to_one_that_is_there(simulation_of_real_cluster, tmp_path):
    cluster = simulation_of_real_cluster
    assert cluster["endpoint"] == "https://10.244.0.1:6443"
    assert cluster["certificateAuthority"] == {"data": "UEVN"}


@pytest.fixture
def simulation_of_real_cluster(tmp_path):
    """A cluster of another simulation, which knows a kubeconfig."""
    from tests.aws.simulation import Simulation

    of = {"server": "https://10.244.0.1:6443", "certificate-authority-data": "UEVN"}
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(json.dumps({"clusters": [{"name": "real", "cluster": of}]}))
    with Simulation.started(kubeconfig) as running:
        subnets = [each["SubnetId"] for each in running.boto("ec2").describe_subnets()["Subnets"]]
        eks = running.boto("eks")
        role = "arn:aws:iam::123456789012:role/some"
        eks.create_cluster(name="demo", roleArn=role, resourcesVpcConfig={"subnetIds": subnets[:2]})
        yield eks.describe_cluster(name="demo")["cluster"]
