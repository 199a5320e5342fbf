"""Add-ons: versions that fit the cluster, configuration, roles of their pods, and patience while there are no nodes."""

from __future__ import annotations

import json

import pytest

from airflow_eks_dask.operators.eks import DeleteAddonOperator, EnsureAddonOperator
from airflow_eks_dask.resources.addon import EksAddon, UnwantedEksAddon
from airflow_eks_dask.resources.base import UNKNOWN, Action, ResourceError, State
from airflow_eks_dask.resources.ownership import TAG
from tests.aws.answers import answer
from tests.aws.said import Said

NAME = "pipelines"
ROLE = "arn:aws:iam::123456789012:role/addon"
SUBNETS = ["subnet-00000001", "subnet-00000002"]
UPDATE = "eks:UpdateAddon"


@pytest.fixture
def eks(simulation):
    return simulation.boto("eks", attempts=1)


@pytest.fixture
def cluster(eks):
    """Make the cluster that the add-on is for."""

    def make(version="1.33"):
        eks.create_cluster(name=NAME, version=version, roleArn=ROLE, resourcesVpcConfig={"subnetIds": SUBNETS})

    return make


@pytest.fixture
def ensure(converge):
    def run(addon="coredns", **wanted):
        return converge(EnsureAddonOperator(task_id="addon", cluster_name=NAME, addon_name=addon, **wanted))

    return run


@pytest.fixture
def delete(converge):
    def run(addon="coredns", **wanted):
        return converge(DeleteAddonOperator(task_id="delete", cluster_name=NAME, addon_name=addon, **wanted))

    return run


@pytest.fixture
def found(eks):
    return lambda addon="coredns": eks.describe_addon(clusterName=NAME, addonName=addon)["addon"]


def offered(eks, addon, kubernetes):
    """Return the versions for one of Kubernetes, and the default among them."""
    (told,) = eks.describe_addon_versions(addonName=addon, kubernetesVersion=kubernetes)["addons"]
    versions = {each["addonVersion"]: each["compatibilities"][0]["defaultVersion"] for each in told["addonVersions"]}
    return list(versions), next(version for version, is_default in versions.items() if is_default)


@pytest.mark.parametrize(
    "addon", ["vpc-cni", "coredns", "kube-proxy", "metrics-server", "eks-pod-identity-agent", "aws-ebs-csi-driver"]
)
def test_an_addon_gets_the_default_version_for_its_cluster(cluster, ensure, eks, addon):
    cluster("1.33")
    _, default = offered(eks, addon, "1.33")
    assert ensure(addon)["addon_version"] == default


def test_an_addon_is_made_as_wanted(cluster, ensure, eks, found):
    cluster()
    versions, _ = offered(eks, "aws-ebs-csi-driver", "1.33")
    result = ensure(
        "aws-ebs-csi-driver",
        addon_version=versions[0],
        configuration={"defaultStorageClass": {"enabled": True}},
        pod_identity_roles={"ebs-csi-controller-sa": ROLE},
        tags={"team": "data"},
    )
    addon = found("aws-ebs-csi-driver")
    assert json.loads(addon["configurationValues"]) == {"defaultStorageClass": {"enabled": True}}
    assert addon["tags"] == {TAG: NAME, "team": "data"}
    (association,) = eks.list_pod_identity_associations(clusterName=NAME)["associations"]
    assert association["serviceAccount"] == "ebs-csi-controller-sa"
    assert result == {
        "cluster_name": NAME,
        "addon_name": "aws-ebs-csi-driver",
        "arn": addon["addonArn"],
        "addon_version": versions[0],
    }


def test_it_waits_for_its_cluster(cluster, simulation, aws):
    simulation.set_durations(cluster=60)
    cluster()
    progress = addon().progress(aws)
    assert progress.state is State.PENDING
    assert progress.detail == ("waits for the cluster, which is CREATING",)


def test_its_creation_is_awaited(cluster, ensure, simulation, found):
    cluster()
    simulation.set_durations(addon=0.2)
    ensure()
    assert found()["status"] == "ACTIVE"


def test_its_creation_is_told(cluster, simulation, aws):
    cluster()
    simulation.set_durations(addon=60)
    made = addon()
    made.apply(aws, made.examine(aws))
    progress = made.progress(aws)
    assert progress.state is State.PENDING
    assert progress.detail == ("CREATING",)


CHANGES = {
    "configuration": ({}, {"configuration": {"replicaCount": 3}}, UPDATE),
    "no configuration": ({"configuration": {"replicaCount": 3}}, {}, UPDATE),
    "pod identity": ({}, {"pod_identity_roles": {"coredns": ROLE}}, UPDATE),
    "another role": (
        {"pod_identity_roles": {"coredns": ROLE}},
        {"pod_identity_roles": {"coredns": f"{ROLE}-other"}},
        UPDATE,
    ),
    "no pod identity": ({"pod_identity_roles": {"coredns": ROLE}}, {}, UPDATE),
    "role by OIDC": ({}, {"service_account_role_arn": ROLE}, UPDATE),
    "everything": (
        {},
        {"configuration": {"replicaCount": 3}, "pod_identity_roles": {"coredns": ROLE}},
        UPDATE,
    ),
    "tags": ({"tags": {"team": "web"}}, {"tags": {"team": "data"}}, "eks:TagResource"),
}


@pytest.mark.parametrize(("before", "after", "call"), CHANGES.values(), ids=CHANGES)
def test_what_differs_is_changed_once(cluster, ensure, simulation, before, after, call):
    cluster()
    ensure(**before)
    simulation.forget_calls()
    ensure(**after)
    assert simulation.writes() == [call]
    ensure(**after)
    assert simulation.writes() == [call]


def test_a_version_that_is_asked_for_is_taken_older_or_newer(cluster, ensure, eks):
    cluster()
    versions, default = offered(eks, "coredns", "1.33")
    assert versions[0] != default
    assert versions[-1] != default
    ensure()
    for version in (versions[0], versions[-1]):
        assert ensure(addon_version=version)["addon_version"] == version


def test_a_version_that_does_not_fit_the_cluster_is_refused_with_those_that_do(cluster, ensure, eks, simulation):
    cluster("1.33")
    foreign = offered(eks, "kube-proxy", "1.34")[1]
    fitting, _ = offered(eks, "kube-proxy", "1.33")
    with pytest.raises(ResourceError, match=f"for Kubernetes 1.33 AWS offers {', '.join(fitting)}"):
        ensure("kube-proxy", addon_version=foreign)
    assert simulation.writes() == ["eks:CreateCluster"]


def test_an_addon_that_aws_does_not_offer_is_refused(cluster, ensure, simulation):
    cluster()
    with pytest.raises(ResourceError, match=r"AWS offers no add-on tiller for Kubernetes 1\.33"):
        ensure("tiller")
    assert simulation.writes() == ["eks:CreateCluster"]


def test_a_version_that_fits_is_kept_when_the_default_moves(cluster, ensure, eks, simulation):
    cluster()
    versions, _ = offered(eks, "coredns", "1.33")
    ensure(addon_version=versions[-1])
    simulation.forget_calls()
    assert ensure()["addon_version"] == versions[-1]
    assert simulation.writes() == []


def test_a_version_that_no_longer_fits_the_cluster_is_replaced(cluster, ensure, eks, simulation):
    cluster("1.33")
    ensure("kube-proxy")
    eks.update_cluster_version(name=NAME, version="1.34")
    simulation.forget_calls()
    assert ensure("kube-proxy")["addon_version"] == offered(eks, "kube-proxy", "1.34")[1]
    assert simulation.writes() == [UPDATE]


def test_a_role_by_oidc_that_is_not_asked_about_is_kept_through_changes(cluster, ensure, found):
    cluster()
    ensure(service_account_role_arn=ROLE)
    ensure(configuration={"replicaCount": 3})
    assert found()["serviceAccountRoleArn"] == ROLE


def test_what_others_changed_is_treated_as_told(aws, cluster):
    cluster()
    for resolution in ("OVERWRITE", "PRESERVE", "NONE"):
        addon = EksAddon(cluster_name=NAME, addon_name="coredns", resolve_conflicts=resolution)
        assert addon.examine(aws).changes["steps"][0].arguments["resolveConflicts"] == resolution


def test_a_foreign_addon_is_refused_and_not_touched(cluster, ensure, delete, eks, simulation):
    cluster()
    eks.create_addon(clusterName=NAME, addonName="coredns", tags={TAG: "other"})
    simulation.forget_calls()
    for attempt in (ensure, delete):
        with pytest.raises(ResourceError, match="belongs to the cluster 'other'"):
            attempt()
    assert simulation.writes() == []


def test_an_existing_addon_is_only_used(cluster, ensure, delete, eks, simulation):
    cluster()
    eks.create_addon(clusterName=NAME, addonName="coredns", configurationValues='{"replicaCount": 5}')
    simulation.forget_calls()
    assert ensure(existing=True)["addon_version"]
    assert delete(existing=True)["action"] == "leave"
    assert simulation.writes() == []


def test_one_that_failed_is_told_in_the_words_of_aws_and_made_anew_by_the_next_run(
    cluster, ensure, converge, simulation
):
    cluster()
    simulation.spoil("addon", "conflicts found when trying to apply")
    with pytest.raises(ResourceError, match="conflicts found when trying to apply"):
        ensure()
    ensure()
    assert converge.actions == ["delete", "create", "leave"]
    assert "conflicts found when trying to apply" in converge.plans[0]["reasons"][0]


def test_an_update_that_failed_is_told_in_the_words_of_aws_and_tried_again_by_the_next_run(
    cluster, ensure, converge, simulation
):
    cluster()
    ensure()
    simulation.spoil("addon", "conflicts found when trying to apply")
    with pytest.raises(ResourceError, match="AddonUpdate failed: Unknown: conflicts found when trying to apply"):
        ensure(configuration={"replicaCount": 3})
    # As it was before, but for its status.
    ensure()
    assert converge.actions == ["change", "leave"]
    assert "its last update failed" in converge.plans[0]["reasons"][0]


def ill(aws, found, *, for_looks=1000, status="DEGRADED", **changes):
    """
    Let the add-on be degraded, and well after some looks.

    :param for_looks: How many of them.
    """
    issue = {"code": "InsufficientNumberOfReplicas", "message": "too few replicas", "resourceIds": ["coredns"]}
    degraded = {**found(), "status": status, "health": {"issues": [issue]}, **changes}
    shown = iter([degraded] * for_looks)
    answer(aws, "eks", "DescribeAddon", lambda **_: {"addon": next(shown, found())})


def addon(kind=EksAddon, **wanted):
    return kind(cluster_name=NAME, addon_name="coredns", **wanted)


def test_one_that_waits_for_nodes_is_waited_for_and_explained(cluster, ensure, converge, aws, found, monkeypatch):
    said = Said.by(EnsureAddonOperator, monkeypatch)
    cluster()
    ensure()
    ill(aws, found, for_looks=5)
    operator = EnsureAddonOperator(task_id="addon", cluster_name=NAME, addon_name="coredns")
    operator.aws = aws
    converge(operator)
    assert converge.actions == ["leave"]
    assert "InsufficientNumberOfReplicas: too few replicas (coredns)" in said.text
    assert "for want of nodes that take them; the cluster has no managed node group" in said.text


def test_nodes_that_are_there_are_not_said_to_be_missing(cluster, ensure, aws, found, eks):
    cluster()
    ensure()
    eks.create_nodegroup(clusterName=NAME, nodegroupName="workers", subnets=SUBNETS, nodeRole=ROLE)
    ill(aws, found)
    progress = addon().progress(aws)
    assert progress.state is State.PENDING
    assert "no managed node group" not in progress.detail[-1]


def test_patience_with_one_that_waits_for_nodes_ends_in_the_words_of_aws(cluster, ensure, converge, aws, found):
    cluster()
    ensure()
    ill(aws, found)
    operator = EnsureAddonOperator(task_id="addon", cluster_name=NAME, addon_name="coredns", timeout=0.05)
    operator.aws = aws
    with pytest.raises(ResourceError, match=r"not come to rest in time.*InsufficientNumberOfReplicas: too few"):
        converge(operator)


def test_one_that_is_degraded_is_changed_and_deleted_without_delay(cluster, ensure, aws, found):
    cluster()
    ensure()
    ill(aws, found)
    assert addon(configuration={"replicaCount": 1}).progress(aws).state is State.READY
    assert addon(UnwantedEksAddon).progress(aws).state is State.READY
    assert addon(UnwantedEksAddon).examine_deletion(aws).action is Action.DELETE


def test_one_that_failed_cannot_be_used(cluster, ensure, aws, found):
    cluster()
    ensure()
    ill(aws, found, status="CREATE_FAILED")
    assert addon(existing=True).examine(aws).action is Action.REFUSE


def test_it_is_not_moved_to_another_namespace(cluster, ensure, aws, found):
    cluster()
    ensure()
    ill(aws, found, status="ACTIVE", namespaceConfig={"namespace": "kube-system"})
    assert addon(namespace="kube-system").examine(aws).action is Action.LEAVE
    plan = addon(namespace="dns").examine(aws)
    assert plan.action is Action.REFUSE
    assert "its namespace is kube-system, not dns" in plan.reasons[0]


def test_a_configuration_in_yaml_is_replaced(cluster, ensure, aws, found):
    cluster()
    ensure()
    ill(aws, found, status="ACTIVE", configurationValues="replicaCount: 3")
    assert addon().examine(aws).reasons == ("its configuration is another than wanted",)


def test_a_run_that_was_killed_after_its_first_step_is_finished_by_the_next(aws, cluster, ensure, simulation):
    cluster()
    simulation.set_durations(addon=0.1)
    addon().apply(aws, addon().examine(aws))
    ensure()
    assert simulation.writes().count("eks:CreateAddon") == 1


def test_that_the_answer_to_its_creation_got_lost_is_no_error(cluster, ensure, simulation):
    cluster()
    simulation.fail("dropped", operation="CreateAddon")
    assert ensure()["addon_version"]


def test_a_dry_run_without_a_cluster_tells_and_writes_nothing(ensure, converge, simulation):
    result = ensure(dry_run=True, pod_identity_roles={"coredns": UNKNOWN})
    assert result["arn"] == UNKNOWN
    assert converge.plans[0]["reasons"] == ["there is none; its version will be that of its cluster"]
    assert simulation.writes() == []


def test_a_dry_run_shows_what_differs_and_writes_nothing(cluster, ensure, converge, simulation):
    cluster()
    ensure()
    simulation.forget_calls()
    ensure(dry_run=True, pod_identity_roles={"coredns": UNKNOWN})
    assert converge.actions == ["leave"]
    ensure(dry_run=True, configuration={"replicaCount": 3}, pod_identity_roles={"coredns": ROLE})
    assert converge.plans[0]["reasons"] == [
        "its configuration is another than wanted; the roles of its service accounts are none"
    ]
    assert simulation.writes() == []


def test_all_that_is_wrong_is_told_before_aws_is_asked(ensure, simulation):
    with pytest.raises(ResourceError) as caught:
        ensure(
            "core dns",
            addon_version="newest",
            namespace="Kube",
            service_account_role_arn="role",
            pod_identity_roles={"coredns": "other"},
            resolve_conflicts="WIN",
        )
    for field in (
        *("addon_name", "addon_version", "namespace", "service_account_role_arn"),
        *("pod_identity_roles[coredns]", "resolve_conflicts"),
    ):
        assert field in str(caught.value)
    assert simulation.calls() == []


def test_it_is_deleted_and_stays_so(cluster, ensure, delete, eks, simulation):
    cluster()
    ensure(pod_identity_roles={"coredns": ROLE})
    simulation.set_durations(addon=0.1)
    delete()
    assert eks.list_addons(clusterName=NAME)["addons"] == []
    assert eks.list_pod_identity_associations(clusterName=NAME)["associations"] == []
    simulation.forget_calls()
    assert delete()["reasons"] == ["it is gone"]
    assert simulation.writes() == []
