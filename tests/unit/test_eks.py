"""Clusters, node groups and add-ons of EKS: the comparisons, without AWS."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

from airflow_eks_dask.resources.base import UNKNOWN, ResourceError
from airflow_eks_dask.resources.cluster import EksCluster
from airflow_eks_dask.resources.cluster_changes import config_steps, refusals
from airflow_eks_dask.resources.cluster_versions import ClusterVersion, as_numbers, choose, is_moving, next_version
from airflow_eks_dask.resources.eks import differs, health_issues
from airflow_eks_dask.resources.nodegroup import EksNodegroup
from airflow_eks_dask.resources.nodegroup_changes import (
    config_steps as nodegroup_config_steps,
)
from airflow_eks_dask.resources.nodegroup_changes import fixed_differences, version_refusals, version_steps

OFFERED = [
    ClusterVersion("1.8", is_standard=False),
    ClusterVersion("1.9"),
    ClusterVersion("1.10", is_default=True),
    ClusterVersion("1.11"),
    ClusterVersion("1.12", is_standard=False),
]


@pytest.mark.parametrize(("wanted", "expected"), [("default", "1.10"), ("latest", "1.11"), ("1.8", "1.8")])
def test_the_version_that_is_meant(wanted, expected):
    assert choose(wanted, OFFERED) == expected


def test_a_version_that_is_not_offered_is_refused():
    with pytest.raises(ResourceError, match=r"'1\.7': AWS offers 1\.8, 1\.9"):
        choose("1.7", OFFERED)
    with pytest.raises(ResourceError, match="AWS offers nothing"):
        choose("latest", [])


def test_versions_are_compared_as_numbers():
    assert as_numbers("1.9") < as_numbers("1.10")
    assert as_numbers("1.33.2-20261010") < as_numbers("1.33.10-20261001")


def test_only_the_names_of_choices_move():
    assert is_moving("default")
    assert is_moving("latest")
    assert not is_moving("1.34")


@pytest.mark.parametrize(
    ("current", "wanted", "expected"), [("1.9", "1.9", None), ("1.9", "1.11", "1.10"), ("1.10", "1.11", "1.11")]
)
def test_upgrades_go_by_one_version(current, wanted, expected):
    assert next_version(current, wanted, OFFERED) == expected


def test_there_is_no_way_back_to_an_older_version():
    with pytest.raises(ResourceError, match=r"AWS can.t go back to 1\.9"):
        next_version("1.10", "1.9", OFFERED)


def test_a_version_that_a_cluster_has_need_not_be_offered_any_more():
    assert next_version("1.5", "1.5", OFFERED) is None


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        ("a", "a", False),
        ("a", "b", True),
        (UNKNOWN, "b", False),
        (["a", "b"], ["b", "a"], False),
        (["a"], ["b", "a"], True),
        ([], None, False),
        (["a", UNKNOWN], ["b"], False),
        (None, "b", True),
    ],
)
def test_what_differs(wanted, found, expected):
    assert differs(wanted, found) is expected


def test_issues_are_told_as_aws_does():
    issues = [
        {"code": "AccessDenied", "message": "no", "resourceIds": ["a", "b"]},
        {"code": "Unknown", "message": "who knows"},
    ]
    assert health_issues({"health": {"issues": issues}}) == ["AccessDenied: no (a, b)", "Unknown: who knows"]
    assert health_issues({}) == []


ROLE_UNKNOWN = "Role with arn: r, could not be assumed because it does not exist or the trusted entity is not correct"


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        ("ResourceInUseException", "Cannot LoggingUpdate because cluster c currently has update u in progress", True),
        ("InvalidParameterException", ROLE_UNKNOWN, True),
        ("InvalidParameterException", "Error in role params", True),
        ("InvalidParameterException", "The role with name r cannot be found", True),
        ("InvalidRequestException", "Cluster 'c' is not in ACTIVE status", True),
        ("InvalidParameterException", "Subnets specified must be in at least two different AZs", False),
        ("AccessDeniedException", "could not be assumed", False),
    ],
)
def test_which_errors_go_away_by_themselves(code, message, expected):
    error = ClientError({"Error": {"Code": code, "Message": message}}, "CreateCluster")
    assert EksCluster(cluster_name="c").is_transient(error) is expected


def test_a_cluster_of_which_aws_tells_only_the_least_is_compared():
    found = {"roleArn": "r", "resourcesVpcConfig": {"subnetIds": ["subnet-00000001"]}}
    wanted = EksCluster(
        cluster_name="c",
        role_arn="r",
        endpoint_private_access=True,
        authentication_mode="CONFIG_MAP",
        support_type="EXTENDED",
    )
    assert refusals(wanted, found) == []
    (step,) = config_steps(wanted, found)
    assert step.operation == "update_cluster_config"
    assert step.arguments["resourcesVpcConfig"]["endpointPrivateAccess"] is True


def test_logs_are_turned_on_and_off_in_one_step():
    logging = {"clusterLogging": [{"types": ["api", "audit"], "enabled": True}, {"types": ["scheduler"]}]}
    logging["clusterLogging"][1]["enabled"] = False
    network = {"subnetIds": [], "endpointPublicAccess": False, "endpointPrivateAccess": True}
    found = {"roleArn": "r", "resourcesVpcConfig": network, "logging": logging}
    wanted = EksCluster(
        cluster_name="c",
        log_types=["audit", "scheduler"],
        authentication_mode="CONFIG_MAP",
        support_type="EXTENDED",
    )
    (step,) = config_steps(wanted, found)
    assert step.arguments["logging"]["clusterLogging"] == [
        {"types": ["scheduler"], "enabled": True},
        {"types": ["api"], "enabled": False},
    ]


def nodegroup(**wanted):
    return EksNodegroup(cluster_name="c", nodegroup_name="n", **wanted)


def found_nodegroup(**found):
    return {
        "nodeRole": "r",
        "subnets": [],
        "capacityType": "ON_DEMAND",
        "amiType": "AL2023_x86_64_STANDARD",
        "scalingConfig": {"minSize": 1, "maxSize": 3, "desiredSize": 2},
        "version": "1.33",
        "releaseVersion": "1.33.3-20261101",
        **found,
    }


def test_a_node_group_as_wanted_takes_no_step():
    assert fixed_differences(nodegroup(), found_nodegroup()) == []
    assert version_refusals(nodegroup(), found_nodegroup()) == []
    assert nodegroup_config_steps(nodegroup(), found_nodegroup()) == []
    assert version_steps(nodegroup(), found_nodegroup(), "1.33") == []


@pytest.mark.parametrize(("least", "most", "expected"), [(1, 4, 2), (3, 5, 3), (0, 1, 1)])
def test_a_size_is_changed_only_as_far_as_it_must(least, most, expected):
    (step,) = nodegroup_config_steps(nodegroup(min_size=least, max_size=most, desired_size=most), found_nodegroup())
    assert step.arguments["scalingConfig"] == {"minSize": least, "maxSize": most, "desiredSize": expected}


def test_labels_and_taints_are_changed_in_one_step():
    old, new = ({"key": "k", "value": value, "effect": "NO_SCHEDULE"} for value in ("1", "2"))
    gone = {"key": "g", "effect": "NO_EXECUTE"}
    found = found_nodegroup(labels={"a": "1", "b": "1"}, taints=[old, gone])
    (step,) = nodegroup_config_steps(nodegroup(labels={"a": "2"}, taints=[new]), found)
    assert step.arguments["labels"] == {"addOrUpdateLabels": {"a": "2"}, "removeLabels": ["b"]}
    assert step.arguments["taints"] == {"addOrUpdateTaints": [new], "removeTaints": [{**gone, "value": ""}]}


def test_a_taint_without_a_value_is_one_with_an_empty_one():
    taint = {"key": "k", "effect": "NO_SCHEDULE"}
    assert nodegroup_config_steps(nodegroup(taints=[taint]), found_nodegroup(taints=[{**taint, "value": ""}])) == []


def test_an_upgrade_says_why_and_may_be_forced():
    (step,) = version_steps(nodegroup(force_upgrade=True), found_nodegroup(), "1.34")
    assert step.reason == "its version is 1.33, not 1.34 as its cluster's"
    assert step.arguments == {"clusterName": "c", "nodegroupName": "n", "version": "1.34", "force": True}


def test_a_release_brings_its_version():
    (step,) = version_steps(nodegroup(release_version="1.34.1-20261115"), found_nodegroup(), "1.34")
    assert (step.arguments["version"], step.arguments["releaseVersion"]) == ("1.34", "1.34.1-20261115")


def test_what_is_not_asked_for_does_not_make_a_node_group_anew():
    found = found_nodegroup(instanceTypes=["m7i.large"], diskSize=20)
    assert fixed_differences(nodegroup(), found) == []
    assert fixed_differences(nodegroup(disk_size=30, capacity_type="SPOT"), found) == [
        "its capacity type: ON_DEMAND, not SPOT",
        "its disk size: 20, not 30",
    ]
