"""Managed node groups: made, changed and upgraded as wanted, remade only when told, and what AWS says of them."""

from __future__ import annotations

import pytest

from airflow_eks_dask.operators.eks import DeleteNodegroupOperator, EnsureNodegroupOperator
from airflow_eks_dask.resources.base import UNKNOWN, Action, ResourceError, State
from airflow_eks_dask.resources.nodegroup import EksNodegroup
from airflow_eks_dask.resources.ownership import TAG
from tests.aws.answers import answer

NAME, GROUP = "pipelines", "workers"
NAMES = {"clusterName": NAME, "nodegroupName": GROUP}
ROLE = "arn:aws:iam::123456789012:role/node"
SUBNETS = ["subnet-00000001", "subnet-00000002"]
CONFIG, VERSION, TAGS = "eks:UpdateNodegroupConfig", "eks:UpdateNodegroupVersion", "eks:TagResource"
TAINT = {"key": "dask", "value": "worker", "effect": "NO_SCHEDULE"}


@pytest.fixture
def eks(simulation):
    return simulation.boto("eks", attempts=1)


@pytest.fixture
def cluster(eks):
    """Make the cluster that the node group is for."""

    def make(version="1.33"):
        eks.create_cluster(name=NAME, version=version, roleArn=ROLE, resourcesVpcConfig={"subnetIds": SUBNETS})

    return make


@pytest.fixture
def template(simulation):
    ec2 = simulation.boto("ec2")

    def make(name):
        data = {"InstanceType": "m7i.large"}
        made = ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=data)["LaunchTemplate"]
        ec2.create_launch_template_version(LaunchTemplateName=name, LaunchTemplateData=data)
        return made["LaunchTemplateId"]

    return make


def wanted(**changes):
    """Return what ensuring the node group takes, with changes."""
    fields = {"cluster_name": NAME, "nodegroup_name": GROUP, "node_role_arn": ROLE, "subnet_ids": SUBNETS}
    return {**fields, "instance_types": ["m7i.large", "m6i.large"], **changes}


@pytest.fixture
def ensure(converge):
    return lambda **changes: converge(EnsureNodegroupOperator(task_id="nodes", **wanted(**changes)))


@pytest.fixture
def delete(converge):
    names = {"cluster_name": NAME, "nodegroup_name": GROUP}
    return lambda **changes: converge(DeleteNodegroupOperator(task_id="delete", **names, **changes))


@pytest.fixture
def found(eks):
    return lambda: eks.describe_nodegroup(**NAMES)["nodegroup"]


def test_a_node_group_is_made_as_wanted(cluster, ensure, found):
    cluster()
    result = ensure(
        capacity_type="SPOT",
        ami_type="AL2023_ARM_64_STANDARD",
        min_size=0,
        max_size=5,
        desired_size=2,
        labels={"for": "dask"},
        taints=[TAINT],
        disk_size=80,
        update_config={"maxUnavailablePercentage": 20},
        release_version="1.33.2-20261010",
        tags={"team": "data"},
    )
    group = found()
    assert group["nodeRole"] == ROLE
    assert group["subnets"] == SUBNETS
    assert group["instanceTypes"] == ["m7i.large", "m6i.large"]
    assert (group["capacityType"], group["amiType"]) == ("SPOT", "AL2023_ARM_64_STANDARD")
    assert group["scalingConfig"] == {"minSize": 0, "maxSize": 5, "desiredSize": 2}
    assert (group["labels"], group["taints"]) == ({"for": "dask"}, [TAINT])
    assert (group["diskSize"], group["updateConfig"]) == (80, {"maxUnavailablePercentage": 20})
    assert group["tags"] == {TAG: NAME, "team": "data"}
    assert result == {
        "cluster_name": NAME,
        "nodegroup_name": GROUP,
        "arn": group["nodegroupArn"],
        "node_role_arn": ROLE,
        "version": "1.33",
        "release_version": "1.33.2-20261010",
        "auto_scaling_group": group["resources"]["autoScalingGroups"][0]["name"],
    }


def test_it_waits_for_its_cluster(cluster, simulation, aws):
    simulation.set_durations(cluster=60)
    cluster()
    progress = EksNodegroup(**wanted()).progress(aws)
    assert progress.state is State.PENDING
    assert progress.detail == ("waits for the cluster, which is CREATING",)


def test_its_creation_is_awaited(cluster, ensure, simulation, found):
    cluster()
    simulation.set_durations(nodegroup=0.2)
    ensure()
    assert found()["status"] == "ACTIVE"


def test_its_creation_is_told(cluster, simulation, aws):
    cluster()
    simulation.set_durations(nodegroup=60)
    made = EksNodegroup(**wanted())
    made.apply(aws, made.examine(aws))
    progress = made.progress(aws)
    assert progress.state is State.PENDING
    assert progress.detail == ("CREATING",)


def test_without_a_cluster_aws_says_so(ensure):
    with pytest.raises(Exception, match=f"No cluster found for name: {NAME}"):
        ensure()


CHANGES = {
    "sizes": ({}, {"min_size": 2, "max_size": 8}, CONFIG),
    "fewer nodes": ({"max_size": 9, "desired_size": 9}, {"max_size": 4}, CONFIG),
    "labels": ({"labels": {"a": "1", "b": "1"}}, {"labels": {"b": "2", "c": "1"}}, CONFIG),
    "no labels": ({"labels": {"a": "1"}}, {}, CONFIG),
    "taints": ({"taints": [TAINT]}, {"taints": [{**TAINT, "value": "x"}, {**TAINT, "effect": "NO_EXECUTE"}]}, CONFIG),
    "no taints": ({"taints": [TAINT]}, {}, CONFIG),
    "updates": ({}, {"update_config": {"maxUnavailable": 3}}, CONFIG),
    "all at once": ({}, {"max_size": 8, "labels": {"a": "1"}, "taints": [TAINT]}, CONFIG),
    "AMI": ({"release_version": "1.33.2-20261010"}, {"release_version": "1.33.3-20261101"}, VERSION),
    "tags": ({"tags": {"team": "web"}}, {"tags": {"team": "data"}}, TAGS),
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


def test_labels_and_taints_become_those_that_are_wanted(cluster, ensure, found):
    cluster()
    ensure(labels={"a": "1", "b": "1"}, taints=[TAINT])
    other = {"key": "gpu", "effect": "NO_EXECUTE"}
    ensure(labels={"b": "2"}, taints=[other])
    assert found()["labels"] == {"b": "2"}
    assert [taint["key"] for taint in found()["taints"]] == ["gpu"]


def test_changes_of_several_kinds_are_made_one_after_the_other(cluster, ensure, simulation):
    cluster()
    ensure()
    simulation.forget_calls()
    simulation.set_durations(nodegroup=0.05)
    ensure(max_size=8, release_version="1.33.4-20261201", tags={"team": "data"})
    assert simulation.writes() == [CONFIG, VERSION, TAGS]


def test_the_size_that_an_autoscaler_chose_is_left_alone(cluster, ensure, eks, found, simulation):
    cluster()
    ensure(max_size=8)
    eks.update_nodegroup_config(**NAMES, scalingConfig={"desiredSize": 6})
    simulation.forget_calls()
    ensure(max_size=8)
    assert simulation.writes() == []
    ensure(max_size=7)
    assert found()["scalingConfig"]["desiredSize"] == 6


def test_it_is_upgraded_after_its_cluster(cluster, ensure, eks, simulation):
    cluster("1.33")
    ensure()
    eks.update_cluster_version(name=NAME, version="1.34")
    simulation.forget_calls()
    assert ensure()["version"] == "1.34"
    assert simulation.writes() == [VERSION]


def test_a_release_holds_its_version(cluster, ensure, eks, simulation):
    cluster("1.33")
    ensure(release_version="1.33.3-20261101")
    eks.update_cluster_version(name=NAME, version="1.34")
    simulation.forget_calls()
    assert ensure(release_version="1.33.3-20261101")["version"] == "1.33"
    assert simulation.writes() == []


def test_there_is_no_way_back_to_an_older_release(cluster, ensure, simulation):
    cluster()
    ensure(release_version="1.33.3-20261101")
    simulation.forget_calls()
    with pytest.raises(ResourceError, match=r"AWS can.t go back to 1\.33\.2"):
        ensure(release_version="1.33.2-20261010")
    assert simulation.writes() == []


FIXED = {
    "role": {"node_role_arn": f"{ROLE}-other"},
    "subnets": {"subnet_ids": ["subnet-00000001", "subnet-00000003"]},
    "instance types": {"instance_types": ["m7i.large"]},
    "capacity type": {"capacity_type": "SPOT"},
    "AMI type": {"ami_type": "AL2023_x86_64_NVIDIA"},
    "disk size": {"disk_size": 100},
}


@pytest.mark.parametrize(("what", "changes"), FIXED.items(), ids=FIXED)
def test_what_aws_cannot_change_is_refused_or_on_demand_made_anew(
    cluster, ensure, converge, simulation, found, what, changes
):
    cluster()
    ensure()
    old = found()["nodegroupArn"]
    simulation.forget_calls()
    with pytest.raises(ResourceError, match=f"its {what}: .*another nodegroup_name.*replace=True"):
        ensure(**changes)
    assert simulation.writes() == []
    ensure(**changes, replace=True)
    assert converge.actions == ["delete", "create", "leave"]
    assert found()["nodegroupArn"] != old


def test_neither_order_of_types_nor_that_of_subnets_has_a_meaning(cluster, ensure, simulation):
    cluster()
    ensure()
    simulation.forget_calls()
    ensure(instance_types=["m6i.large", "m7i.large"], subnet_ids=SUBNETS[::-1])
    assert simulation.writes() == []


def test_a_launch_template_can_be_given_by_name_or_id_and_moves_to_another_version(
    cluster, template, ensure, simulation, found
):
    cluster()
    template_id = template("one")
    ensure(instance_types=[], launch_template={"name": "one", "version": "1"})
    simulation.forget_calls()
    ensure(instance_types=[], launch_template={"id": template_id, "version": "1"})
    ensure(instance_types=[], launch_template={"id": template_id})
    assert simulation.writes() == []
    ensure(instance_types=[], launch_template={"id": template_id, "version": "2"})
    assert simulation.writes() == [VERSION]
    assert found()["launchTemplate"]["version"] == "2"


def test_another_launch_template_or_none_is_refused(cluster, template, ensure):
    cluster()
    template("one")
    other = template("two")
    ensure(launch_template={"name": "one"})
    for changes in ({"launch_template": {"id": other}}, {}):
        with pytest.raises(ResourceError, match="its launch template"):
            ensure(**changes)


def test_an_ami_of_the_template_has_its_own_version(aws, cluster, template, ensure, eks, simulation):
    cluster()
    template("one")
    nodes = {"launch_template": {"name": "one"}, "instance_types": [], "ami_type": "CUSTOM"}
    group = EksNodegroup(**wanted(**nodes))
    assert "amiType" not in group.examine(aws).changes["steps"][0].arguments
    eks.create_nodegroup(
        **NAMES, subnets=SUBNETS, nodeRole=ROLE, launchTemplate={"name": "one"}, amiType="CUSTOM", tags={TAG: NAME},
        scalingConfig={"minSize": 1, "maxSize": 3, "desiredSize": 1},
    )  # fmt: skip
    eks.update_cluster_version(name=NAME, version="1.34")
    simulation.forget_calls()
    assert ensure(**nodes)["version"] == "1.33"
    assert simulation.writes() == []


def test_a_foreign_node_group_is_refused_and_not_touched(cluster, ensure, delete, eks, simulation):
    cluster()
    eks.create_nodegroup(**NAMES, subnets=SUBNETS, nodeRole=ROLE, tags={"team": "web"})
    simulation.forget_calls()
    for attempt in (ensure, delete):
        with pytest.raises(ResourceError, match="it was made by something else"):
            attempt()
    assert simulation.writes() == []


def test_an_existing_node_group_is_only_used(cluster, converge, delete, eks, simulation):
    cluster()
    eks.create_nodegroup(**NAMES, subnets=SUBNETS, nodeRole=ROLE, capacityType="SPOT")
    simulation.forget_calls()
    use = EnsureNodegroupOperator(task_id="nodes", cluster_name=NAME, nodegroup_name=GROUP, existing=True)
    assert converge(use)["node_role_arn"] == ROLE
    assert delete(existing=True)["action"] == "leave"
    assert simulation.writes() == []


def test_one_that_failed_is_told_in_the_words_of_aws_and_made_anew_by_the_next_run(
    cluster, ensure, converge, simulation
):
    cluster()
    simulation.spoil("nodegroup", "Instances failed to join the kubernetes cluster")
    with pytest.raises(ResourceError, match="NodeCreationFailure: Instances failed to join the kubernetes cluster"):
        ensure()
    assert ensure()["version"] == "1.33"
    assert converge.actions == ["delete", "create", "leave"]
    assert "Instances failed to join" in converge.plans[0]["reasons"][0]


def test_an_upgrade_that_failed_is_told_in_the_words_of_aws_and_tried_again_by_the_next_run(
    cluster, ensure, eks, simulation
):
    cluster("1.33")
    ensure()
    eks.update_cluster_version(name=NAME, version="1.34")
    simulation.spoil("nodegroup", "Reached max retries while trying to evict pods")
    with pytest.raises(ResourceError, match="VersionUpdate failed: Unknown: Reached max retries"):
        ensure()
    assert ensure(force_upgrade=True)["version"] == "1.34"


def ill(aws, **changes):
    """Let the node group be degraded, and otherwise as wanted."""
    issue = {"code": "AsgInstanceLaunchFailures", "message": "no capacity", "resourceIds": ["asg-1", "asg-2"]}
    group = {
        "nodegroupName": GROUP,
        "clusterName": NAME,
        "nodegroupArn": "arn",
        "version": "1.33",
        "status": "DEGRADED",
        "health": {"issues": [issue]},
        "nodeRole": ROLE,
        "subnets": SUBNETS,
        "instanceTypes": ["m6i.large", "m7i.large"],
        "capacityType": "ON_DEMAND",
        "amiType": "AL2023_x86_64_STANDARD",
        "tags": {TAG: NAME},
        "scalingConfig": {"minSize": 1, "maxSize": 3, "desiredSize": 1},
        **changes,
    }
    answer(aws, "eks", "DescribeNodegroup", lambda **_: {"nodegroup": group})


def test_one_that_is_degraded_is_refused_in_the_words_of_aws(aws, cluster):
    cluster()
    ill(aws)
    plan = EksNodegroup(**wanted()).examine(aws)
    assert plan.action is Action.REFUSE
    assert "AsgInstanceLaunchFailures: no capacity (asg-1, asg-2)" in plan.reasons[0]
    used = EksNodegroup(cluster_name=NAME, nodegroup_name=GROUP, existing=True).examine(aws)
    assert used.action is Action.REFUSE


def test_one_that_is_degraded_can_be_changed_and_deleted(aws, cluster):
    cluster()
    ill(aws)
    assert EksNodegroup(**wanted(max_size=9)).examine(aws).action is Action.CHANGE
    assert EksNodegroup(**wanted()).examine_deletion(aws).action is Action.DELETE


def test_one_that_is_degraded_is_not_waited_for(aws, cluster, ensure):
    cluster()
    ensure()
    ill(aws)
    progress = EksNodegroup(**wanted()).progress(aws)
    assert progress.state is State.READY
    assert progress.detail == ("DEGRADED", "AsgInstanceLaunchFailures: no capacity (asg-1, asg-2)")


def test_one_that_failed_cannot_be_used(aws, cluster):
    cluster()
    ill(aws, status="CREATE_FAILED")
    assert EksNodegroup(**wanted(existing=True)).examine(aws).action is Action.REFUSE


def test_a_run_that_was_killed_after_its_first_step_is_finished_by_the_next(aws, cluster, ensure, simulation):
    cluster()
    simulation.set_durations(nodegroup=0.1)
    group = EksNodegroup(**wanted())
    group.apply(aws, group.examine(aws))
    ensure()
    assert simulation.writes().count("eks:CreateNodegroup") == 1


def test_that_the_answer_to_its_creation_got_lost_is_no_error(cluster, ensure, simulation):
    cluster()
    simulation.fail("dropped", operation="CreateNodegroup")
    assert ensure()["version"] == "1.33"


def test_a_dry_run_tells_and_writes_nothing(ensure, converge, simulation):
    result = ensure(dry_run=True, node_role_arn=UNKNOWN, subnet_ids=UNKNOWN)
    assert result["arn"] == UNKNOWN
    assert converge.actions == ["create"]
    assert simulation.writes() == []


def test_a_dry_run_shows_what_differs_and_writes_nothing(cluster, ensure, converge, simulation):
    cluster()
    ensure()
    simulation.forget_calls()
    ensure(dry_run=True, node_role_arn=UNKNOWN, subnet_ids=UNKNOWN, max_size=9, labels={"a": "1"})
    assert converge.plans[0]["reasons"] == [
        "it has 1 nodes, 1 to 3; wanted are 1, 1 to 9; its labels are others than wanted"
    ]
    assert simulation.writes() == []


def test_all_that_is_wrong_is_told_before_aws_is_asked(converge, simulation):
    wrong = EnsureNodegroupOperator(
        task_id="nodes",
        cluster_name=NAME,
        nodegroup_name="no such name",
        subnet_ids=["net"],
        instance_types=["large"],
        ami_type="AL2_x86_64",
        capacity_type="CHEAP",
        min_size=3,
        max_size="ten",
        taints=[{"key": "", "effect": "NoSchedule", "colour": "red"}],
        release_version="newest",
        replace="perhaps",
    )
    with pytest.raises(ResourceError) as caught:
        converge(wrong)
    for problem in (
        *("nodegroup_name = ", "node_role_arn: is needed", "subnet_ids = 'net'", "instance_types = 'large'"),
        *(
            "ami_type = ",
            "capacity_type = ",
            "max_size = 'ten': input should be a valid integer",
            "taints: key",
            "taints: effect",
        ),
        *("taints: colour", "release_version = ", "replace = "),
    ):
        assert problem in str(caught.value)
    assert simulation.calls() == []


PROBLEMS = {
    "must not descend": {"min_size": 3, "max_size": 2},
    "desired_size": {"desired_size": 7},
    "max_size = 0": {"min_size": 0, "max_size": 0},
    "instance_types: is needed": {"instance_types": []},
    "20 at most": {"instance_types": [f"m{number}.large" for number in range(21)]},
    "either id or name": {"launch_template": {"version": "1"}},
    "launch_template: colour": {"launch_template": {"id": "lt-1", "colour": "red"}},
    "'$Latest': must be a number, as text": {"launch_template": {"id": "lt-1", "version": "$Latest"}},
    "version = 2: must be a number, as text": {"launch_template": {"id": "lt-1", "version": 2}},
    "the launch template has to say it": {"launch_template": {"id": "lt-1"}, "disk_size": 50},
    "needs a launch_template": {"ami_type": "CUSTOM"},
}


@pytest.mark.parametrize(("problem", "changes"), PROBLEMS.items(), ids=PROBLEMS)
def test_what_does_not_go_together_is_told(problem, changes):
    (told,) = EksNodegroup(**wanted(**changes)).problems()
    assert problem in told


def test_it_is_deleted_and_stays_so(cluster, ensure, delete, eks, simulation):
    cluster()
    ensure()
    simulation.set_durations(nodegroup=0.1)
    delete()
    assert eks.list_nodegroups(clusterName=NAME)["nodegroups"] == []
    simulation.forget_calls()
    assert delete()["reasons"] == ["it is gone"]
    eks.delete_cluster(name=NAME)
    assert delete()["reasons"] == ["it is gone"]
    assert simulation.writes() == ["eks:DeleteCluster"]


def test_what_it_costs_is_that_of_its_first_nodes():
    nodes, disks = EksNodegroup(**wanted(desired_size=2, max_size=9, disk_size=50, capacity_type="SPOT")).cost_items()
    assert (nodes.usage, nodes.quantity) == ("SpotUsage:m7i.large", 2 * 730)
    assert disks.quantity == 100
