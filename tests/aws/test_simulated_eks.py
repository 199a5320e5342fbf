"""EKS as it is simulated behaves as the real one where that matters to us."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError

ROLE = "arn:aws:iam::123456789012:role/some"
POLICY = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSViewPolicy"


def refused_with(code):
    return pytest.raises(ClientError, match=code)


@pytest.fixture
def eks(simulation):
    return simulation.boto("eks", attempts=1)


@pytest.fixture
def cluster(simulation, eks):
    """Make a cluster in the default VPC."""
    subnets = [each["SubnetId"] for each in simulation.boto("ec2").describe_subnets()["Subnets"]]

    def make(**options):
        access = {"authenticationMode": "API_AND_CONFIG_MAP", "bootstrapClusterCreatorAdminPermissions": False}
        vpc = {"subnetIds": subnets[:2]}
        wanted = {"name": "demo", "roleArn": ROLE, "resourcesVpcConfig": vpc, "accessConfig": access, **options}
        return eks.create_cluster(**wanted)["cluster"]

    return make


def nodegroup(eks, **options):
    return eks.create_nodegroup(
        **{"clusterName": "demo", "nodegroupName": "nodes", "subnets": ["subnet-1"], "nodeRole": ROLE, **options}
    )["nodegroup"]


def test_a_cluster_takes_its_time(simulation, eks, cluster):
    simulation.set_durations(cluster=600)
    assert cluster()["status"] == "CREATING"
    assert "endpoint" not in eks.describe_cluster(name="demo")["cluster"]
    with refused_with("InvalidRequestException"):
        nodegroup(eks)
    simulation.pass_time(600)
    made = active(eks)
    assert made["endpoint"].endswith(".eks.amazonaws.com")
    assert made["identity"]["oidc"]["issuer"]
    eks.delete_cluster(name="demo")
    assert eks.describe_cluster(name="demo")["cluster"]["status"] == "DELETING"
    simulation.pass_time(600)
    assert eks.list_clusters()["clusters"] == []


def active(eks):
    cluster = eks.describe_cluster(name="demo")["cluster"]
    assert cluster["status"] == "ACTIVE"
    return cluster


def test_a_cluster_is_made_once(eks, cluster):
    cluster()
    with refused_with("ResourceInUseException"):
        cluster()


def test_a_cluster_has_a_security_group_and_interfaces_until_it_is_deleted(simulation, eks, cluster):
    ec2 = simulation.boto("ec2")
    group = cluster()["resourcesVpcConfig"]["clusterSecurityGroupId"]
    by_group = [{"Name": "group-id", "Values": [group]}]
    assert len(ec2.describe_network_interfaces(Filters=by_group)["NetworkInterfaces"]) == 2
    eks.delete_cluster(name="demo")
    assert ec2.describe_network_interfaces(Filters=by_group)["NetworkInterfaces"] == []
    assert ec2.describe_security_groups(Filters=by_group)["SecurityGroups"] == []


def test_a_cluster_with_node_groups_or_protection_is_not_deleted(eks, cluster):
    cluster(deletionProtection=True)
    nodegroup(eks)
    with refused_with("InvalidRequestException"):
        eks.delete_cluster(name="demo")
    eks.update_cluster_config(name="demo", deletionProtection=False)
    with refused_with("ResourceInUseException"):
        eks.delete_cluster(name="demo")


def test_one_update_at_a_time(simulation, eks, cluster):
    cluster()
    simulation.set_durations(cluster=600)
    logging = {"clusterLogging": [{"types": ["api"], "enabled": True}]}
    update = eks.update_cluster_config(name="demo", logging=logging)["update"]
    assert (update["type"], update["status"]) == ("LoggingUpdate", "InProgress")
    with refused_with("ResourceInUseException"):
        eks.update_cluster_config(name="demo", upgradePolicy={"supportType": "STANDARD"})
    simulation.pass_time(600)
    changed = active(eks)
    assert changed["logging"]["clusterLogging"][0] == {"types": ["api"], "enabled": True}
    assert eks.list_updates(name="demo")["updateIds"] == [update["id"]]
    assert eks.describe_update(name="demo", updateId=update["id"])["update"]["status"] == "Successful"
    with refused_with("InvalidParameterException"):
        eks.update_cluster_config(name="demo", logging=logging)
    with refused_with("InvalidParameterException"):
        eks.update_cluster_config(name="demo", logging=logging, upgradePolicy={"supportType": "STANDARD"})


def test_authentication_goes_one_way(eks, cluster):
    cluster()
    eks.update_cluster_config(name="demo", accessConfig={"authenticationMode": "API"})
    with refused_with("InvalidParameterException"):
        eks.update_cluster_config(name="demo", accessConfig={"authenticationMode": "CONFIG_MAP"})


def test_versions_go_up_one_by_one(eks, cluster):
    versions = [each["clusterVersion"] for each in eks.describe_cluster_versions()["clusterVersions"]]
    (default,) = eks.describe_cluster_versions(defaultOnly=True)["clusterVersions"]
    newest, _, older, *_ = versions
    assert cluster()["version"] == default["clusterVersion"]
    eks.delete_cluster(name="demo")
    cluster(version=older)
    with refused_with("InvalidParameterException"):
        eks.update_cluster_version(name="demo", version=newest)
    eks.update_cluster_version(name="demo", version=versions[1])
    assert active(eks)["version"] == versions[1]


def test_what_goes_wrong_is_told(simulation, eks, cluster):
    cluster()
    simulation.spoil("nodegroup", "Instances failed to join the kubernetes cluster")
    nodegroup(eks)
    found = eks.describe_nodegroup(clusterName="demo", nodegroupName="nodes")["nodegroup"]
    assert found["status"] == "CREATE_FAILED"
    assert found["health"]["issues"][0]["message"] == "Instances failed to join the kubernetes cluster"


def test_a_node_group_changes(eks, cluster):
    cluster()
    nodegroup(eks, labels={"a": "1", "b": "2"}, taints=[{"key": "x", "value": "y", "effect": "NO_SCHEDULE"}])
    eks.update_nodegroup_config(
        clusterName="demo",
        nodegroupName="nodes",
        labels={"addOrUpdateLabels": {"a": "3"}, "removeLabels": ["b"]},
        taints={"removeTaints": [{"key": "x", "value": "y", "effect": "NO_SCHEDULE"}]},
        scalingConfig={"minSize": 0, "maxSize": 5, "desiredSize": 1},
    )
    found = eks.describe_nodegroup(clusterName="demo", nodegroupName="nodes")["nodegroup"]
    assert (found["labels"], found["taints"]) == ({"a": "3"}, [])
    assert found["scalingConfig"] == {"minSize": 0, "maxSize": 5, "desiredSize": 1}
    assert eks.describe_access_entry(clusterName="demo", principalArn=ROLE)["accessEntry"]["type"] == "EC2_LINUX"


def test_an_add_on_has_a_version_for_the_cluster(eks, cluster):
    kubernetes = cluster()["version"]
    (offered,) = eks.describe_addon_versions(addonName="coredns", kubernetesVersion=kubernetes)["addons"]
    defaults = [
        each["addonVersion"] for each in offered["addonVersions"] if each["compatibilities"][0]["defaultVersion"]
    ]
    assert [eks.create_addon(clusterName="demo", addonName="coredns")["addon"]["addonVersion"]] == defaults
    newest = offered["addonVersions"][0]["addonVersion"]
    eks.update_addon(clusterName="demo", addonName="coredns", addonVersion=newest, configurationValues='{"a": 1}')
    found = eks.describe_addon(clusterName="demo", addonName="coredns")["addon"]
    assert (found["addonVersion"], found["configurationValues"]) == (newest, '{"a": 1}')
    with refused_with("InvalidParameterException"):
        eks.update_addon(clusterName="demo", addonName="coredns", addonVersion="v0")
    with refused_with("ResourceInUseException"):
        eks.create_addon(clusterName="demo", addonName="coredns")
    eks.delete_addon(clusterName="demo", addonName="coredns")
    assert eks.list_addons(clusterName="demo")["addons"] == []


def test_an_add_on_brings_its_pod_identity(eks, cluster):
    cluster()
    wanted = [{"serviceAccount": "ebs-csi-controller-sa", "roleArn": ROLE}]
    name = {"clusterName": "demo", "addonName": "aws-ebs-csi-driver"}
    (arn,) = eks.create_addon(**name, podIdentityAssociations=wanted)["addon"]["podIdentityAssociations"]
    (association,) = eks.list_pod_identity_associations(clusterName="demo")["associations"]
    assert association["associationArn"] == arn
    assert association["ownerArn"] == eks.describe_addon(**name)["addon"]["addonArn"]
    eks.delete_addon(**name)
    assert eks.list_pod_identity_associations(clusterName="demo")["associations"] == []


def test_access_entries_need_the_api(eks, cluster):
    cluster(accessConfig={"authenticationMode": "CONFIG_MAP"})
    with refused_with("InvalidRequestException"):
        eks.create_access_entry(clusterName="demo", principalArn=ROLE)


def test_an_access_entry_has_policies(eks, cluster):
    cluster()
    name = {"clusterName": "demo", "principalArn": ROLE}
    eks.create_access_entry(**name, kubernetesGroups=["a"])
    with refused_with("ResourceInUseException"):
        eks.create_access_entry(**name)
    eks.associate_access_policy(**name, policyArn=POLICY, accessScope={"type": "namespace", "namespaces": ["x"]})
    (policy,) = eks.list_associated_access_policies(**name)["associatedAccessPolicies"]
    assert policy["accessScope"] == {"type": "namespace", "namespaces": ["x"]}
    eks.disassociate_access_policy(**name, policyArn=POLICY)
    with refused_with("ResourceNotFoundException"):
        eks.disassociate_access_policy(**name, policyArn=POLICY)
    eks.delete_access_entry(**name)
    with refused_with("ResourceNotFoundException"):
        eks.describe_access_entry(**name)


def test_who_creates_a_cluster_is_admitted_unless_told_otherwise(eks, cluster):
    cluster(accessConfig={"authenticationMode": "API"})
    (creator,) = eks.list_access_entries(clusterName="demo")["accessEntries"]
    assert creator.startswith("arn:aws:iam::")


def test_a_pod_identity_is_one_for_each_service_account(eks, cluster):
    cluster()
    name = {"clusterName": "demo", "namespace": "default", "serviceAccount": "worker"}
    made = eks.create_pod_identity_association(**name, roleArn=ROLE, tags={"a": "b"})["association"]
    with refused_with("ResourceInUseException"):
        eks.create_pod_identity_association(**name, roleArn=ROLE)
    which = {"clusterName": "demo", "associationId": made["associationId"]}
    eks.update_pod_identity_association(**which, roleArn=ROLE + "-2")
    assert eks.describe_pod_identity_association(**which)["association"]["roleArn"] == ROLE + "-2"
    eks.delete_pod_identity_association(**which)
    with refused_with("ResourceNotFoundException"):
        eks.describe_pod_identity_association(**which)


def test_everything_has_tags(eks, cluster):
    arns = [cluster()["arn"], nodegroup(eks)["nodegroupArn"]]
    arns.append(eks.create_addon(clusterName="demo", addonName="vpc-cni")["addon"]["addonArn"])
    arns.append(eks.create_access_entry(clusterName="demo", principalArn=ROLE + "2")["accessEntry"]["accessEntryArn"])
    for arn in arns:
        eks.tag_resource(resourceArn=arn, tags={"a": arn, "b": "1"})
        eks.untag_resource(resourceArn=arn, tagKeys=["b"])
    assert [eks.list_tags_for_resource(resourceArn=arn)["tags"] for arn in arns] == [{"a": arn} for arn in arns]
