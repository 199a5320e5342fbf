"""Access entries, pod identity and the OIDC provider: made, mended, refused and deleted."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber

from airflow_eks_dask.operators.access import (
    DeleteAccessEntryOperator,
    DeleteOidcProviderOperator,
    DeletePodIdentityOperator,
    EnsureAccessEntryOperator,
    EnsureOidcProviderOperator,
    EnsurePodIdentityOperator,
)
from airflow_eks_dask.resources.access_entry import AccessEntry
from airflow_eks_dask.resources.base import UNKNOWN, Action, ResourceError
from airflow_eks_dask.resources.oidc_provider import OidcProvider
from airflow_eks_dask.resources.ownership import TAG, as_mapping
from airflow_eks_dask.resources.pod_identity import PodIdentityAssociation

ACCOUNT = "123456789012"
ADMINS = f"arn:aws:iam::{ACCOUNT}:role/admins"
WORKER, OTHER = (f"arn:aws:iam::{ACCOUNT}:role/{name}" for name in ("worker", "other"))
OURS = {TAG: "pipelines"}
ADMIN_POLICY, EDIT_POLICY, VIEW_POLICY = (
    f"arn:aws:eks::aws:cluster-access-policy/AmazonEKS{name}Policy" for name in ("ClusterAdmin", "Edit", "View")
)
ENTRY = {
    "cluster_name": "pipelines",
    "principal_arn": ADMINS,
    "kubernetes_groups": ["viewers", "auditors"],
    "username": "admin",
    "policies": {"AmazonEKSClusterAdminPolicy": [], "AmazonEKSEditPolicy": ["team-*", "dask"]},
    "tags": {"team": "data"},
}
ASSOCIATION = {"cluster_name": "pipelines", "namespace": "dask", "service_account": "worker", "role_arn": WORKER}
PROVIDER = {"cluster_name": "pipelines"}
KINDS = {
    "entry": (AccessEntry, EnsureAccessEntryOperator, DeleteAccessEntryOperator, ENTRY),
    "pod identity": (PodIdentityAssociation, EnsurePodIdentityOperator, DeletePodIdentityOperator, ASSOCIATION),
    "OIDC": (OidcProvider, EnsureOidcProviderOperator, DeleteOidcProviderOperator, PROVIDER),
}

CREATIONS = {
    "entry": "CreateAccessEntry",
    "pod identity": "CreatePodIdentityAssociation",
    "OIDC": "CreateOpenIDConnectProvider",
}


@pytest.fixture
def eks(simulation):
    return simulation.boto("eks")


@pytest.fixture
def iam(simulation):
    return simulation.boto("iam")


@pytest.fixture
def make_cluster(simulation, eks):
    def make(mode="API_AND_CONFIG_MAP"):
        eks.create_cluster(
            name="pipelines",
            roleArn=f"arn:aws:iam::{ACCOUNT}:role/cluster",
            resourcesVpcConfig={"subnetIds": ["subnet-1", "subnet-2"]},
            accessConfig={"authenticationMode": mode, "bootstrapClusterCreatorAdminPermissions": False},
        )
        simulation.forget_calls()

    return make


@pytest.fixture
def cluster(make_cluster):
    make_cluster()


class World:
    """One kind of resource, and what AWS has of it."""

    def __init__(self, kind, eks, iam):
        self.resource_class, self.ensure_class, self.delete_class, self.wanted = KINDS[kind]
        self.kind, self._eks, self._iam = kind, eks, iam

    def ensure(self, **more):
        return self.ensure_class(task_id="ensure", **self.wanted, **more)

    def delete(self, **more):
        return self.delete_class(task_id="delete", **self.wanted, **more)

    def found(self):
        """Return the tags of all that there is."""
        if self.kind == "entry":
            arns = self._eks.list_access_entries(clusterName="pipelines")["accessEntries"]
            entries = (self._eks.describe_access_entry(clusterName="pipelines", principalArn=arn) for arn in arns)
            return [entry["accessEntry"]["tags"] for entry in entries]
        if self.kind == "pod identity":
            found = self._eks.list_pod_identity_associations(clusterName="pipelines")["associations"]
            return [
                self._eks.list_tags_for_resource(resourceArn=association["associationArn"])["tags"]
                for association in found
            ]
        arns = [each["Arn"] for each in self._iam.list_open_id_connect_providers()["OpenIDConnectProviderList"]]
        return [
            as_mapping(self._iam.get_open_id_connect_provider(OpenIDConnectProviderArn=arn)["Tags"]) for arn in arns
        ]

    def make_foreign(self, **tags):
        if self.kind == "entry":
            self._eks.create_access_entry(clusterName="pipelines", principalArn=ADMINS, tags=tags)
        elif self.kind == "pod identity":
            self._eks.create_pod_identity_association(
                clusterName="pipelines", namespace="dask", serviceAccount="worker", roleArn=OTHER, tags=tags
            )
        else:
            issuer = self._eks.describe_cluster(name="pipelines")["cluster"]["identity"]["oidc"]["issuer"]
            listed = [{"Key": key, "Value": value} for key, value in tags.items()]
            self._iam.create_open_id_connect_provider(Url=issuer, ClientIDList=["others"], Tags=listed)


@pytest.fixture(params=KINDS)
def world(request, eks, iam):
    return World(request.param, eks, iam)


@pytest.fixture
def entry(eks, iam):
    return World("entry", eks, iam)


@pytest.fixture
def association(eks, iam):
    return World("pod identity", eks, iam)


@pytest.fixture
def provider(eks, iam):
    return World("OIDC", eks, iam)


def test_it_is_made_with_our_tag(cluster, world, converge):
    converge(world.ensure())
    assert converge.actions[0] == "create"
    assert converge.actions[-1] == "leave"
    assert [tags[TAG] for tags in world.found()] == ["pipelines"]


def test_the_second_time_nothing_is_written(cluster, world, converge, simulation):
    first = converge(world.ensure())
    simulation.forget_calls()
    assert converge(world.ensure()) == first
    assert converge.actions == ["leave"]
    assert simulation.writes() == []


def test_a_dry_run_writes_nothing(cluster, world, converge, simulation):
    converge(world.ensure(dry_run=True))
    assert converge.actions == ["create"]
    converge(world.delete(dry_run=True))
    assert converge.actions == ["leave"]
    assert simulation.writes() == []


def test_a_dry_run_needs_no_cluster(world, converge, simulation):
    converge(world.ensure(dry_run=True))
    assert converge.actions == ["create"]
    assert simulation.writes() == []


def test_without_a_cluster_it_cannot_be_made(world, converge):
    with pytest.raises((ClientError, ResourceError), match=r"No cluster found|cluster pipelines is not there"):
        converge(world.ensure())


@pytest.mark.parametrize("tags", [{}, {TAG: "other"}])
def test_what_is_not_ours_is_refused_and_stays(cluster, world, converge, simulation, tags):
    world.make_foreign(**tags)
    simulation.forget_calls()
    for operator in (world.ensure(), world.delete()):
        with pytest.raises(ResourceError, match="it has not the tag airflow-eks-dask/cluster=pipelines"):
            converge(operator)
        assert converge.actions == ["refuse"]
    assert simulation.writes() == []


def test_what_is_not_ours_can_be_used(cluster, world, converge, simulation):
    world.make_foreign()
    simulation.forget_calls()
    converge(world.ensure(existing=True))
    assert converge.actions == ["leave"]
    assert all(reason.startswith("not ours to change: ") for reason in converge.plans[0]["reasons"])
    converge(world.delete(existing=True))
    assert converge.actions == ["leave"]
    assert simulation.writes() == []


def test_what_is_to_be_used_has_to_be_there(cluster, world, converge):
    with pytest.raises(ResourceError, match="is to be there already, and is not"):
        converge(world.ensure(existing=True))


def test_it_is_deleted_and_the_second_time_nothing_is_written(cluster, world, converge, simulation):
    converge(world.ensure())
    assert converge(world.delete())["action"] == "leave"
    assert converge.actions == ["delete", "leave"]
    assert world.found() == []
    simulation.forget_calls()
    converge(world.delete())
    assert converge.actions == ["leave"]
    assert simulation.writes() == []


def test_what_is_gone_at_the_last_moment_is_deleted(cluster, world, converge, aws):
    converge(world.ensure())
    resource = world.resource_class(**world.wanted)
    plan = resource.plan_deletion(aws)
    assert plan.action is Action.DELETE
    resource.delete(aws, plan)
    resource.delete(aws, plan)
    assert world.found() == []


def test_a_task_killed_after_its_first_step_is_finished_by_the_next(cluster, world, converge, aws):
    resource = world.resource_class(**world.wanted)
    resource.apply(aws, resource.plan(aws))
    assert world.found()[0][TAG] == "pipelines"
    converge(world.ensure())
    assert "create" not in converge.actions
    assert len(world.found()) == 1


@pytest.mark.parametrize("kind", ["dropped", "throttle", "error"])
def test_what_fails_for_a_moment_is_tried_again(cluster, world, converge, simulation, kind):
    simulation.fail(kind, operation=CREATIONS[world.kind])
    converge(world.ensure())
    assert converge.actions[-1] == "leave"
    assert len(world.found()) == 1


def test_a_tag_that_somebody_removed_comes_back(cluster, entry, converge, eks):
    arn = converge(entry.ensure())["access_entry_arn"]
    eks.untag_resource(resourceArn=arn, tagKeys=["team"])
    converge(entry.ensure())
    assert converge.plans[0]["reasons"] == ["tags missing or different: team"]
    assert entry.found() == [OURS | {"team": "data"}]


def policies(eks):
    found = eks.list_associated_access_policies(clusterName="pipelines", principalArn=ADMINS)
    return {each["policyArn"]: sorted(each["accessScope"]["namespaces"]) for each in found["associatedAccessPolicies"]}


def described(eks):
    return eks.describe_access_entry(clusterName="pipelines", principalArn=ADMINS)["accessEntry"]


def test_an_entry_gets_groups_name_and_policies(cluster, entry, converge, eks):
    result = converge(entry.ensure())
    made = described(eks)
    assert result == {
        "principal_arn": ADMINS,
        "access_entry_arn": made["accessEntryArn"],
        "username": "admin",
    }
    assert (made["kubernetesGroups"], made["username"], made["type"]) == (["viewers", "auditors"], "admin", "STANDARD")
    assert policies(eks) == {ADMIN_POLICY: [], EDIT_POLICY: ["dask", "team-*"]}
    assert converge.actions == ["create", "change", "leave"]


def test_an_entry_becomes_what_is_wanted(cluster, entry, converge, eks):
    converge(entry.ensure())
    names = {"clusterName": "pipelines", "principalArn": ADMINS}
    eks.update_access_entry(**names, kubernetesGroups=["viewers"], username="root")
    eks.disassociate_access_policy(**names, policyArn=ADMIN_POLICY)
    eks.associate_access_policy(**names, policyArn=VIEW_POLICY, accessScope={"type": "cluster"})
    eks.associate_access_policy(
        **names, policyArn=EDIT_POLICY, accessScope={"type": "namespace", "namespaces": ["dask"]}
    )
    converge(entry.ensure())
    assert converge.actions == ["change", "leave"]
    assert converge.plans[0]["reasons"] == [
        "its groups are viewers, not auditors, viewers",
        "its user name is root, not admin",
        f"not associated: {ADMIN_POLICY} with the whole cluster",
        f"not associated: {EDIT_POLICY} with namespaces dask, team-*",
        f"associated, not wanted: {VIEW_POLICY}",
    ]
    assert (described(eks)["kubernetesGroups"], described(eks)["username"]) == (["viewers", "auditors"], "admin")
    assert policies(eks) == {ADMIN_POLICY: [], EDIT_POLICY: ["dask", "team-*"]}


def test_groups_that_are_no_longer_wanted_go(cluster, entry, converge, eks):
    converge(entry.ensure())
    entry.wanted = {**ENTRY, "kubernetes_groups": [], "policies": {}}
    converge(entry.ensure())
    assert described(eks)["kubernetesGroups"] == []
    assert policies(eks) == {}


def test_the_name_that_eks_made_is_left(cluster, converge, simulation):
    wanted = {"cluster_name": "pipelines", "principal_arn": ADMINS}
    assert converge(EnsureAccessEntryOperator(task_id="ensure", **wanted))["username"] == ADMINS
    assert converge.actions == ["create", "leave"]


def test_an_entry_of_another_type_is_made_anew(cluster, entry, converge, eks):
    converge(entry.ensure())
    nodes = {"cluster_name": "pipelines", "principal_arn": ADMINS, "entry_type": "EC2_LINUX"}
    converge(EnsureAccessEntryOperator(task_id="ensure", **nodes))
    assert converge.actions == ["delete", "create", "leave"]
    assert described(eks)["type"] == "EC2_LINUX"


def test_a_cluster_with_the_config_map_only_takes_no_entries(make_cluster, entry, converge):
    make_cluster(mode="CONFIG_MAP")
    with pytest.raises(ClientError, match="authentication mode must be set"):
        converge(entry.ensure())
    assert converge(entry.delete())["reasons"] == ["it is gone"]


@pytest.mark.parametrize(
    ("resource_class", "wanted", "code", "message", "transient"),
    [
        (
            AccessEntry,
            ENTRY,
            "InvalidParameterException",
            "The specified principalArn is invalid: invalid principal.",
            1,
        ),
        (AccessEntry, ENTRY, "InvalidParameterException", "The policyArn parameter format is not valid", 0),
        (AccessEntry, ENTRY, "AccessDeniedException", "invalid principal", 0),
        (
            PodIdentityAssociation,
            ASSOCIATION,
            "InvalidParameterException",
            "Role provided in the request does not exist",
            1,
        ),
        (
            PodIdentityAssociation,
            ASSOCIATION,
            "InvalidParameterException",
            "Trust policy of the role provided is invalid",
            1,
        ),
        (PodIdentityAssociation, ASSOCIATION, "InvalidParameterException", "Namespace is invalid", 0),
    ],
)
def test_a_role_that_was_just_made_is_waited_for(resource_class, wanted, code, message, transient):
    error = ClientError({"Error": {"Code": code, "Message": message}}, "Create")
    assert resource_class(**wanted).is_transient(error) is bool(transient)


def test_a_role_of_pods_is_mended(cluster, association, converge, eks):
    made = converge(association.ensure())
    eks.update_pod_identity_association(clusterName="pipelines", associationId=made["association_id"], roleArn=OTHER)
    eks.tag_resource(resourceArn=made["association_arn"], tags={"team": "x"})
    association.wanted = {**ASSOCIATION, "tags": {"team": "data"}}
    assert converge(association.ensure()) == made
    assert converge.plans[0]["reasons"] == [
        f"its role is {OTHER}, not {WORKER}",
        "tags missing or different: team",
    ]
    assert made["role_arn"] == WORKER
    assert association.found() == [OURS | {"team": "data"}]


def test_another_service_account_is_left_alone(cluster, association, converge, eks):
    eks.create_pod_identity_association(
        clusterName="pipelines", namespace="dask", serviceAccount="scheduler", roleArn=OTHER
    )
    converge(association.ensure())
    converge(association.delete())
    left = eks.list_pod_identity_associations(clusterName="pipelines")["associations"]
    assert [each["serviceAccount"] for each in left] == ["scheduler"]


def test_the_provider_is_that_of_the_issuer(cluster, provider, converge, eks, iam):
    issuer = eks.describe_cluster(name="pipelines")["cluster"]["identity"]["oidc"]["issuer"]
    result = converge(provider.ensure())
    assert f"https://{result['oidc_issuer']}" == issuer
    assert result["oidc_provider_arn"] == f"arn:aws:iam::{ACCOUNT}:oidc-provider/{result['oidc_issuer']}"
    found = iam.get_open_id_connect_provider(OpenIDConnectProviderArn=result["oidc_provider_arn"])
    assert found["ClientIDList"] == ["sts.amazonaws.com"]


def test_the_audience_is_mended(cluster, provider, converge, aws):
    arn = {"OpenIDConnectProviderArn": converge(provider.ensure())["oidc_provider_arn"]}
    resource = OidcProvider(**PROVIDER)
    tags = [{"Key": TAG, "Value": "pipelines"}]
    # The simulation can't change audiences.
    with Stubber(aws.client("iam")) as iam:
        iam.add_response("get_open_id_connect_provider", {"ClientIDList": ["others"], "Tags": tags}, arn)
        plan = resource.plan(aws)
        iam.add_response("add_client_id_to_open_id_connect_provider", {}, {**arn, "ClientID": "sts.amazonaws.com"})
        iam.add_response("remove_client_id_from_open_id_connect_provider", {}, {**arn, "ClientID": "others"})
        resource.apply(aws, plan)
        iam.assert_no_pending_responses()
    assert plan.action is Action.CHANGE
    assert plan.reasons == (
        "tokens for sts.amazonaws.com are not taken",
        "tokens for others are taken: others",
    )


def test_a_tag_of_the_provider_that_is_missing_comes(cluster, provider, converge):
    converge(provider.ensure())
    provider.wanted = {**PROVIDER, "tags": {"team": "data"}}
    converge(provider.ensure())
    assert converge.plans[0]["reasons"] == ["tags missing or different: team"]
    assert provider.found() == [OURS | {"team": "data"}]


def test_the_provider_is_found_after_the_cluster_is_gone(cluster, provider, converge, eks, iam):
    iam.create_open_id_connect_provider(Url="https://oidc.example.com", ClientIDList=["others"])
    converge(provider.ensure())
    eks.delete_cluster(name="pipelines")
    assert converge(provider.delete())["action"] == "leave"
    assert converge.actions == ["delete", "leave"]
    assert provider.found() == [{}]


def test_all_that_is_wrong_is_told_at_once():
    wrong = AccessEntry(
        cluster_name="no cluster",
        principal_arn="admins",
        entry_type="EC2_LINUX",
        kubernetes_groups=["system:masters"],
        policies={"AmazonEKSViewPolicy": ["Not A Namespace"]},
    )
    assert [problem.partition(" = ")[0].partition(":")[0] for problem in wrong.problems()] == [
        "cluster_name",
        "principal_arn",
        "kubernetes_groups",
        "policies",
        "kubernetes_groups",
        "policies[AmazonEKSViewPolicy]",
    ]
    assert len(AccessEntry(cluster_name="a", principal_arn=ADMINS, username="system:me").problems()) == 1
    assert len(AccessEntry(cluster_name="a", principal_arn=ADMINS, entry_type="NODE").problems()) == 1
    bad = {"cluster_name": "", "namespace": "A", "service_account": "b_c", "role_arn": "role"}
    assert len(PodIdentityAssociation(**bad).problems()) == 4
    assert len(OidcProvider(cluster_name="").problems()) == 1


def test_a_dry_run_may_not_know_the_principal():
    assert AccessEntry(cluster_name="pipelines", principal_arn=UNKNOWN).problems() == []
    assert PodIdentityAssociation(**{**ASSOCIATION, "role_arn": UNKNOWN}).problems() == []


@pytest.mark.parametrize("kind", KINDS)
def test_bad_input_is_refused_before_aws_is_asked(kind, converge, simulation):
    _, ensure, delete, wanted = KINDS[kind]
    for operator_class in (ensure, delete):
        with pytest.raises(ResourceError, match="cluster_name = 'no cluster'"):
            converge(operator_class(task_id="bad", **{**wanted, "cluster_name": "no cluster"}))
    assert simulation.calls() == []


def test_an_unknown_principal_is_not_looked_for(cluster, converge, simulation):
    converge(EnsureAccessEntryOperator(task_id="ensure", cluster_name="pipelines", principal_arn=UNKNOWN, dry_run=True))
    assert converge.actions == ["create"]
    assert simulation.writes() == []
