"""EKS clusters: made as wanted, changed by one update after the other, upgraded with care, deleted when empty."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from botocore.exceptions import ClientError

from airflow_eks_dask.operators.eks import DeleteClusterOperator, EnsureClusterOperator
from airflow_eks_dask.resources.base import UNKNOWN, Action, ResourceError, State
from airflow_eks_dask.resources.cluster import EksCluster
from airflow_eks_dask.resources.ownership import TAG
from tests.aws.answers import answer

NAME = "pipelines"
ROLE = "arn:aws:iam::123456789012:role/cluster"
SUBNETS = ["subnet-00000001", "subnet-00000002"]
KEY = "arn:aws:kms:eu-central-1:123456789012:key/one"
CONFIG, VERSION = "eks:UpdateClusterConfig", "eks:UpdateClusterVersion"


@pytest.fixture
def eks(simulation):
    return simulation.boto("eks", attempts=1)


@pytest.fixture
def network(simulation):
    ec2 = simulation.boto("ec2")

    def make(cidr):
        vpc = ec2.create_vpc(CidrBlock=f"{cidr}.0.0/16")["Vpc"]["VpcId"]
        return [
            ec2.create_subnet(VpcId=vpc, CidrBlock=f"{cidr}.{n}.0/24", AvailabilityZone=f"eu-central-1{zone}")[
                "Subnet"
            ]["SubnetId"]
            for n, zone in enumerate("abc")
        ]

    return make


@pytest.fixture
def wanted():
    """What ensuring the cluster takes, with changes."""

    def fields(**changes):
        return {"cluster_name": NAME, "role_arn": ROLE, "subnet_ids": SUBNETS, **changes}

    return fields


@pytest.fixture
def ensure(wanted, converge):
    return lambda **changes: converge(EnsureClusterOperator(task_id="cluster", **wanted(**changes)))


@pytest.fixture
def delete(converge):
    return lambda **changes: converge(DeleteClusterOperator(task_id="delete", cluster_name=NAME, **changes))


@pytest.fixture
def found(eks):
    return lambda: eks.describe_cluster(name=NAME)["cluster"]


@pytest.fixture
def nodegroup(eks):
    def make(name="workers"):
        eks.create_nodegroup(clusterName=NAME, nodegroupName=name, subnets=SUBNETS, nodeRole=ROLE)

    return make


def test_a_cluster_is_made_as_wanted(ensure, found):
    result = ensure(
        public_access_cidrs=["203.0.113.0/24"],
        log_types=["audit", "api"],
        secrets_key_arn=KEY,
        deletion_protection=True,
        service_cidr="10.100.0.0/16",
        tags={"team": "data"},
    )
    cluster = found()
    assert cluster["roleArn"] == ROLE
    network = cluster["resourcesVpcConfig"]
    assert network["subnetIds"] == SUBNETS
    assert (network["endpointPublicAccess"], network["endpointPrivateAccess"]) == (True, True)
    assert network["publicAccessCidrs"] == ["203.0.113.0/24"]
    assert cluster["logging"]["clusterLogging"][0] == {"types": ["api", "audit"], "enabled": True}
    assert cluster["encryptionConfig"][0]["provider"]["keyArn"] == KEY
    assert cluster["accessConfig"]["authenticationMode"] == "API_AND_CONFIG_MAP"
    assert cluster["upgradePolicy"]["supportType"] == "STANDARD"
    assert cluster["deletionProtection"] is True
    assert cluster["kubernetesNetworkConfig"]["serviceIpv4Cidr"] == "10.100.0.0/16"
    assert cluster["tags"] == {TAG: NAME, "team": "data"}
    assert result == {
        "cluster_name": NAME,
        "arn": cluster["arn"],
        "version": cluster["version"],
        "endpoint": cluster["endpoint"],
        "certificate_authority": cluster["certificateAuthority"]["data"],
        "oidc_issuer": cluster["identity"]["oidc"]["issuer"],
        "vpc_id": network["vpcId"],
        "cluster_security_group_id": network["clusterSecurityGroupId"],
    }


def test_nobody_outside_reaches_its_api_unless_asked_for(ensure, found):
    ensure()
    assert found()["resourcesVpcConfig"]["endpointPublicAccess"] is False


def test_its_creation_is_awaited(ensure, simulation):
    simulation.set_durations(cluster=0.2)
    assert ensure()["endpoint"].startswith("https://")


def test_its_creation_is_told(aws, wanted, simulation):
    simulation.set_durations(cluster=60)
    cluster = EksCluster(**wanted())
    cluster.apply(aws, cluster.examine(aws))
    progress = cluster.progress(aws)
    assert progress.state is State.PENDING
    assert progress.detail == ("CREATING",)


CHANGES = {
    "logs": ({"log_types": ["audit"]}, {"log_types": ["api", "scheduler"]}, CONFIG),
    "no logs": ({"log_types": ["audit"]}, {}, CONFIG),
    "a public endpoint": ({}, {"public_access_cidrs": ["203.0.113.0/24"]}, CONFIG),
    "no public endpoint": ({"public_access_cidrs": ["203.0.113.0/24"]}, {}, CONFIG),
    "from elsewhere": ({"public_access_cidrs": ["0.0.0.0/0"]}, {"public_access_cidrs": ["203.0.113.0/24"]}, CONFIG),
    "no private endpoint": (
        {"public_access_cidrs": ["203.0.113.0/24"]},
        {"public_access_cidrs": ["203.0.113.0/24"], "endpoint_private_access": False},
        CONFIG,
    ),
    "security groups": (
        {"security_group_ids": ["sg-00000001"]},
        {"security_group_ids": ["sg-00000002", "sg-00000003"]},
        CONFIG,
    ),
    "support": ({}, {"support_type": "EXTENDED"}, CONFIG),
    "protection": ({}, {"deletion_protection": True}, CONFIG),
    "no protection": ({"deletion_protection": True}, {}, CONFIG),
    "authentication": ({}, {"authentication_mode": "API"}, CONFIG),
    "encryption": ({}, {"secrets_key_arn": KEY}, "eks:AssociateEncryptionConfig"),
    "tags": ({"tags": {"team": "web"}}, {"tags": {"team": "data"}}, "eks:TagResource"),
}


@pytest.mark.parametrize(("before", "after", "call"), CHANGES.values(), ids=CHANGES)
def test_what_differs_is_changed_once(ensure, simulation, before, after, call):
    ensure(**before)
    simulation.forget_calls()
    ensure(**after)
    assert simulation.writes() == [call]
    ensure(**after)
    assert simulation.writes() == [call]


def test_subnets_are_changed_within_their_vpc(ensure, found, network):
    subnets = network("10.0")
    ensure(subnet_ids=subnets[:2])
    ensure(subnet_ids=subnets[1:])
    assert found()["resourcesVpcConfig"]["subnetIds"] == subnets[1:]


def test_the_order_of_subnets_has_no_meaning(ensure, simulation):
    ensure()
    simulation.forget_calls()
    ensure(subnet_ids=SUBNETS[::-1])
    assert simulation.writes() == []


def test_many_changes_are_made_one_after_the_other(ensure, simulation, converge):
    ensure()
    simulation.forget_calls()
    simulation.set_durations(cluster=0.05)
    ensure(
        log_types=["api"],
        public_access_cidrs=["203.0.113.0/24"],
        security_group_ids=["sg-00000001"],
        secrets_key_arn=KEY,
        tags={"team": "data"},
    )
    assert simulation.writes() == [CONFIG] * 3 + ["eks:AssociateEncryptionConfig", "eks:TagResource"]
    assert converge.actions == ["change"] * 5 + ["leave"]


def test_authentication_goes_forward_step_by_step(ensure, simulation, found):
    ensure(authentication_mode="CONFIG_MAP")
    simulation.forget_calls()
    ensure(authentication_mode="API")
    assert simulation.writes() == [CONFIG] * 2
    assert found()["accessConfig"]["authenticationMode"] == "API"


IMPOSSIBLE = {
    "its role is": {"role_arn": "arn:aws:iam::123456789012:role/other"},
    "its Services have addresses of 172.20.0.0/16": {"service_cidr": "10.100.0.0/16"},
    "its secrets are encrypted with": {"secrets_key_arn": KEY.replace("one", "two")},
    "can't go back to CONFIG_MAP": {"authentication_mode": "CONFIG_MAP"},
    "AWS can't go back to 1.32": {"version": "1.32"},
}


@pytest.mark.parametrize(("why", "changes"), IMPOSSIBLE.items(), ids=IMPOSSIBLE)
def test_what_aws_cannot_change_is_refused(ensure, simulation, why, changes):
    ensure(secrets_key_arn=KEY)
    simulation.forget_calls()
    with pytest.raises(ResourceError, match=why):
        ensure(**{"secrets_key_arn": KEY, **changes})
    assert simulation.writes() == []


def test_it_is_not_moved_to_another_vpc(ensure, simulation, network):
    ensure(subnet_ids=network("10.0")[:2])
    other = network("10.1")
    simulation.forget_calls()
    with pytest.raises(ResourceError, match="AWS can't move it to another VPC"):
        ensure(subnet_ids=other[:2])
    assert simulation.writes() == []


def test_a_key_that_is_there_is_left_if_none_is_asked_for(ensure, simulation):
    ensure(secrets_key_arn=KEY)
    simulation.forget_calls()
    ensure()
    assert simulation.writes() == []


def offered(eks, **which):
    return [each["clusterVersion"] for each in eks.describe_cluster_versions(**which)["clusterVersions"]]


def test_aws_is_asked_for_the_version(ensure, delete, eks):
    (default,) = offered(eks, defaultOnly=True)
    assert ensure(version="default")["version"] == default
    delete()
    newest = offered(eks, versionStatus="STANDARD_SUPPORT")[0]
    assert newest != default
    assert ensure(version="latest")["version"] == newest


def test_a_version_that_aws_does_not_offer_is_refused_with_those_it_does(ensure, eks):
    with pytest.raises(ResourceError, match="1.19.*AWS offers " + ", ".join(offered(eks))):
        ensure(version="1.19")
    assert eks.list_clusters()["clusters"] == []


def test_a_moving_choice_never_upgrades(ensure, simulation):
    ensure(version="1.32")
    simulation.forget_calls()
    for moving in ("default", "latest"):
        assert ensure(version=moving)["version"] == "1.32"
    assert simulation.writes() == []


def test_it_is_upgraded_by_one_version_after_the_other(ensure, simulation):
    ensure(version="1.32")
    simulation.forget_calls()
    assert ensure(version="1.34")["version"] == "1.34"
    assert simulation.writes() == [VERSION] * 2


def test_an_upgrade_to_what_aws_does_not_offer_is_refused(ensure):
    ensure()
    with pytest.raises(ResourceError, match=r"9\.99"):
        ensure(version="9.99")


def test_an_upgrade_waits_for_the_node_groups(ensure, converge, simulation, eks, nodegroup):
    ensure(version="1.32")
    nodegroup()
    simulation.forget_calls()
    assert ensure(version="1.34")["version"] == "1.33"
    assert "stays at 1.33" in converge.plans[-1]["reasons"][0]
    assert "workers (1.32)" in converge.plans[-1]["reasons"][0]
    assert simulation.writes() == [VERSION]
    eks.update_nodegroup_version(clusterName=NAME, nodegroupName="workers", version="1.33")
    assert ensure(version="1.34")["version"] == "1.34"


def test_a_foreign_cluster_is_refused_and_not_touched(ensure, delete, eks, simulation):
    eks.create_cluster(name=NAME, roleArn=ROLE, resourcesVpcConfig={"subnetIds": SUBNETS}, tags={TAG: "other"})
    simulation.forget_calls()
    for attempt in (ensure, delete):
        with pytest.raises(ResourceError, match="belongs to the cluster 'other'"):
            attempt()
    assert simulation.writes() == []


def test_an_existing_cluster_is_only_used(converge, eks, simulation):
    eks.create_cluster(name=NAME, roleArn=ROLE, resourcesVpcConfig={"subnetIds": SUBNETS})
    simulation.forget_calls()
    use = EnsureClusterOperator(task_id="cluster", cluster_name=NAME, existing=True, authentication_mode="CONFIG_MAP")
    assert converge(use)["endpoint"].startswith("https://")
    assert converge(DeleteClusterOperator(task_id="delete", cluster_name=NAME, existing=True))["action"] == "leave"
    assert simulation.writes() == []


def test_an_existing_cluster_has_to_be_there(converge, simulation):
    with pytest.raises(ResourceError, match="is to be there already, and is not"):
        converge(EnsureClusterOperator(task_id="cluster", cluster_name=NAME, existing=True))
    assert simulation.writes() == []


def test_a_cluster_that_failed_is_told_in_the_words_of_aws_and_made_anew_by_the_next_run(ensure, converge, simulation):
    simulation.spoil("cluster", "no addresses left in the subnets")
    with pytest.raises(ResourceError, match="Other: no addresses left in the subnets"):
        ensure(deletion_protection=True)
    assert ensure(deletion_protection=True)["endpoint"].startswith("https://")
    assert converge.actions == ["delete", "create", "change", "leave"]
    assert "no addresses left in the subnets" in converge.plans[0]["reasons"][0]


def broken(aws, nodegroups):
    """Let a cluster of ours have failed."""
    issue = {"code": "VpcNotFound", "message": "the VPC is gone", "resourceIds": ["vpc-1"]}
    cluster = {"name": NAME, "status": "FAILED", "tags": {TAG: NAME}, "health": {"issues": [issue]}}
    answer(aws, "eks", "DescribeCluster", lambda **_: {"cluster": cluster})
    answer(aws, "eks", "ListNodegroups", lambda **_: {"nodegroups": nodegroups})
    answer(aws, "eks", "ListFargateProfiles", lambda **_: {"fargateProfileNames": []})


def test_a_failed_cluster_that_holds_something_is_not_made_anew(aws, wanted):
    broken(aws, ["workers"])
    plan = EksCluster(**wanted()).examine(aws)
    assert plan.action is Action.REFUSE
    assert "VpcNotFound: the VPC is gone (vpc-1). In it there are node groups workers" in plan.reasons[0]


def test_a_failed_cluster_cannot_be_used(aws):
    broken(aws, [])
    plan = EksCluster(cluster_name=NAME, existing=True).examine(aws)
    assert plan.action is Action.REFUSE


def test_an_update_that_failed_is_told_in_the_words_of_aws_and_tried_again_by_the_next_run(ensure, simulation):
    ensure()
    simulation.spoil("cluster", "the security group is gone")
    with pytest.raises(ResourceError, match="LoggingUpdate failed: Unknown: the security group is gone"):
        ensure(log_types=["api"])
    simulation.forget_calls()
    ensure(log_types=["api"])
    assert simulation.writes() == [CONFIG]


def test_a_failure_that_was_there_before_is_no_matter_when_only_tags_change(ensure, simulation):
    ensure()
    simulation.spoil("cluster", "the security group is gone")
    with pytest.raises(ResourceError):
        ensure(log_types=["api"])
    simulation.forget_calls()
    ensure(tags={"team": "data"})
    assert simulation.writes() == ["eks:TagResource"]


def test_an_update_that_fails_again_in_the_same_words_is_told_at_once(ensure, simulation):
    ensure()
    for _ in range(2):
        simulation.spoil("cluster", "the security group is gone")
        simulation.forget_calls()
        with pytest.raises(ResourceError, match="the security group is gone"):
            ensure(log_types=["api"])
        assert simulation.writes() == [CONFIG]


def test_a_failure_of_long_ago_is_no_matter_any_more(ensure, simulation, aws, wanted):
    ensure()
    simulation.spoil("cluster", "the security group is gone")
    with pytest.raises(ResourceError):
        ensure(log_types=["api"])
    cluster = EksCluster(**wanted())
    assert cluster.progress(aws).state is State.FAILED
    old = {
        "id": "1",
        "status": "Failed",
        "type": "LoggingUpdate",
        "createdAt": datetime.now(timezone.utc) - timedelta(days=2),
    }
    answer(aws, "eks", "DescribeUpdate", lambda **_: {"update": old})
    assert cluster.progress(aws).state is State.READY


def test_an_update_that_the_status_does_not_show_yet_is_awaited(ensure, aws, wanted):
    ensure()
    ensure(log_types=["api"])
    running = {"id": "1", "status": "InProgress", "type": "LoggingUpdate", "createdAt": datetime.now(timezone.utc)}
    answer(aws, "eks", "DescribeUpdate", lambda **_: {"update": running})
    progress = EksCluster(**wanted()).progress(aws)
    assert progress.state is State.PENDING
    assert progress.detail == ("ACTIVE", "LoggingUpdate is in progress")


def test_a_run_that_was_killed_after_its_first_step_is_finished_by_the_next(ensure, aws, wanted, simulation):
    simulation.set_durations(cluster=0.1)
    cluster = EksCluster(**wanted(log_types=["api"]))
    cluster.apply(aws, cluster.examine(aws))
    assert ensure(log_types=["api"])["endpoint"].startswith("https://")
    assert simulation.writes().count("eks:CreateCluster") == 1


def test_that_the_answer_to_its_creation_got_lost_is_no_error(ensure, simulation):
    simulation.fail("dropped", operation="CreateCluster")
    assert ensure()["endpoint"].startswith("https://")


def test_what_somebody_else_made_meanwhile_is_refused(aws, wanted, eks):
    cluster = EksCluster(**wanted())
    plan = cluster.examine(aws)
    eks.create_cluster(name=NAME, roleArn=ROLE, resourcesVpcConfig={"subnetIds": SUBNETS})
    cluster.apply(aws, plan)
    assert cluster.examine(aws).action is Action.REFUSE


def test_a_dry_run_tells_and_writes_nothing(ensure, converge, simulation):
    result = ensure(dry_run=True, role_arn=UNKNOWN, subnet_ids=UNKNOWN)
    assert result["endpoint"] == UNKNOWN
    assert converge.plans[0]["action"] == "create"
    assert "its version will be 1.34" in converge.plans[0]["reasons"][0]
    assert simulation.writes() == []


def test_what_a_dry_run_cannot_know_is_no_difference(ensure, converge):
    ensure(public_access_cidrs=["203.0.113.0/24"])
    ensure(dry_run=True, role_arn=UNKNOWN, subnet_ids=UNKNOWN, public_access_cidrs=UNKNOWN, secrets_key_arn=None)
    assert converge.actions == ["leave"]


def test_a_dry_run_shows_what_differs_and_writes_nothing(ensure, converge, simulation):
    ensure()
    simulation.forget_calls()
    ensure(dry_run=True, log_types=["api"], tags={"team": "data"})
    assert converge.plans[0]["reasons"] == ["it logs nothing, not api", "tags missing or different: team"]
    assert simulation.writes() == []


def test_all_that_is_wrong_is_told_before_aws_is_asked(converge, simulation):
    wrong = EnsureClusterOperator(
        task_id="cluster",
        cluster_name="no such name",
        version="one",
        subnet_ids=["net"],
        security_group_ids=["group"],
        public_access_cidrs=["10.0.0.1/8"],
        log_types=["all"],
        secrets_key_arn="alias/key",
        authentication_mode="NONE",
        support_type="FOREVER",
        service_cidr="10/8",
        deletion_protection="perhaps",
    )
    with pytest.raises(ResourceError) as caught:
        converge(wrong)
    for field in (
        *("cluster_name", "version", "role_arn", "subnet_ids", "security_group_ids", "public_access_cidrs"),
        *("log_types", "secrets_key_arn", "authentication_mode", "support_type", "service_cidr", "deletion_protection"),
    ):
        assert field in str(caught.value)
    assert simulation.calls() == []


def test_there_has_to_be_an_endpoint_and_more_than_one_subnet(wanted):
    problems = EksCluster(**wanted(endpoint_private_access=False, subnet_ids=["subnet-00000001"])).problems()
    assert len(problems) == 2
    assert "there would be no endpoint" in problems[0]
    assert "two or more" in problems[1]


def test_it_is_deleted_and_stays_so(ensure, delete, eks, simulation):
    ensure()
    simulation.set_durations(cluster=0.1)
    delete()
    assert eks.list_clusters()["clusters"] == []
    simulation.forget_calls()
    assert delete()["reasons"] == ["it is gone"]
    assert simulation.writes() == []


def test_it_is_not_deleted_while_it_has_node_groups(ensure, delete, nodegroup, simulation):
    ensure()
    nodegroup("one")
    nodegroup("two")
    simulation.forget_calls()
    with pytest.raises(ResourceError, match="there are still node groups one, two: delete them first"):
        delete()
    assert simulation.writes() == []


def test_its_protection_is_lifted_only_if_told(ensure, delete, eks, simulation):
    ensure(deletion_protection=True)
    simulation.forget_calls()
    with pytest.raises(ResourceError, match="lift_deletion_protection=True"):
        delete()
    assert simulation.writes() == []
    delete(lift_deletion_protection=True)
    assert simulation.writes() == [CONFIG, "eks:DeleteCluster"]
    assert eks.list_clusters()["clusters"] == []


def test_a_text_that_does_not_say_so_does_not_lift_its_protection(ensure, delete, simulation):
    with pytest.raises(ResourceError, match="lift_deletion_protection = 'perhaps'"):
        delete(lift_deletion_protection="perhaps")
    assert simulation.calls() == []
    ensure(deletion_protection=True)
    with pytest.raises(ResourceError, match="lift_deletion_protection=True"):
        delete(lift_deletion_protection="False")


def test_what_somebody_else_deleted_meanwhile_is_no_error(ensure, aws, wanted, eks):
    ensure()
    cluster = EksCluster(**wanted())
    plan = cluster.examine_deletion(aws)
    eks.delete_cluster(name=NAME)
    cluster.delete(aws, plan)
    assert cluster.progress(aws).state is State.ABSENT


def test_an_update_of_somebody_else_is_waited_for(ensure, aws, wanted, eks, simulation):
    ensure()
    simulation.set_durations(cluster=60)
    cluster = EksCluster(**wanted(log_types=["api"]))
    plan = cluster.examine(aws)
    eks.update_cluster_config(name=NAME, deletionProtection=True)
    with pytest.raises(ClientError) as caught:
        cluster.apply(aws, plan)
    assert cluster.is_transient(caught.value)
    assert cluster.progress(aws).state is State.PENDING
