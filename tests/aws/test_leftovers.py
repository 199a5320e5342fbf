"""The last word of a teardown: what is left, and what is kept on purpose."""

from __future__ import annotations

import json

import pytest
from airflow.sdk.exceptions import TaskDeferred

from airflow_eks_dask.operators.leftovers import LeftoversOperator
from airflow_eks_dask.resources.base import ResourceError
from airflow_eks_dask.resources.ownership import TAG, as_list
from tests.aws.answers import answer
from tests.aws.said import Said

NAME = "pipelines"
OURS = {TAG: NAME}
TRUST = json.dumps({"Version": "2012-10-17", "Statement": []})


def look(**arguments):
    return LeftoversOperator(task_id="leftovers", **{"cluster_name": NAME, "patience": 0, **arguments})


def spec(kind, tags):
    return [{"ResourceType": kind, "Tags": as_list(tags)}] if tags else []


def kinds(things):
    return sorted(each["kind"] for each in things)


@pytest.fixture
def run(converge):
    def do(**arguments):
        return converge(look(fail=False, **arguments))

    return do


def create_network(simulation, tags):
    ec2 = simulation.boto("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=spec("vpc", tags))["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24", TagSpecifications=spec("subnet", tags))
    return vpc, subnet["Subnet"]["SubnetId"]


def create_data(simulation):
    simulation.boto("rds").create_db_instance(
        DBInstanceIdentifier="db",
        DBInstanceClass="db.t4g.micro",
        Engine="postgres",
        MasterUsername="airflow",
        MasterUserPassword="only-in-a-test",
        AllocatedStorage=20,
        Tags=as_list(OURS),
    )
    s3 = simulation.boto("s3")
    s3.create_bucket(Bucket="logs", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3.put_bucket_tagging(Bucket="logs", Tagging={"TagSet": as_list(OURS)})
    simulation.boto("logs").create_log_group(logGroupName=f"/aws/eks/{NAME}/cluster")


def test_nothing_is_left_of_what_was_never_there(simulation, run):
    create_network(simulation, {TAG: "other"})
    simulation.boto("iam").create_role(RoleName="other", AssumeRolePolicyDocument=TRUST, Tags=as_list({TAG: "other"}))
    simulation.boto("logs").create_log_group(logGroupName=f"/aws/eks/{NAME}-2/cluster")
    assert run() == {"left": [], "kept": []}


def test_all_that_carries_our_tag_is_left(simulation, run):
    _, subnet = create_network(simulation, OURS)
    iam = simulation.boto("iam")
    role = iam.create_role(RoleName="nodes", AssumeRolePolicyDocument=TRUST, Tags=as_list(OURS))["Role"]["Arn"]
    iam.create_open_id_connect_provider(
        Url="https://oidc.example.com", ThumbprintList=["a" * 40], ClientIDList=["sts"], Tags=as_list(OURS)
    )
    simulation.boto("eks").create_cluster(
        name=NAME, roleArn=role, resourcesVpcConfig={"subnetIds": [subnet]}, tags=OURS
    )
    result = run()
    # EKS makes a security group for each cluster.
    expected = ["ec2:security-group", "ec2:subnet", "ec2:vpc", "eks:cluster", "iam:oidc-provider", "iam:role"]
    assert kinds(result["left"]) == expected
    assert result["kept"] == []


def test_what_the_cluster_made_is_left_too(simulation, run):
    vpc, subnet = create_network(simulation, {})
    ec2 = simulation.boto("ec2")
    owned = {f"kubernetes.io/cluster/{NAME}": "owned"}
    ec2.create_volume(AvailabilityZone="eu-central-1a", Size=1, TagSpecifications=spec("volume", owned))
    ec2.create_network_interface(
        SubnetId=subnet, TagSpecifications=spec("network-interface", {"cluster.k8s.amazonaws.com/name": NAME})
    )
    ec2.create_security_group(
        GroupName="shared",
        Description="-",
        VpcId=vpc,
        TagSpecifications=spec("security-group", {f"kubernetes.io/cluster/{NAME}": "shared"}),
    )
    assert kinds(run()["left"]) == ["ec2:network-interface", "ec2:volume"]


def test_data_is_kept_on_purpose(simulation, run):
    create_data(simulation)
    result = run()
    assert result["left"] == []
    assert kinds(result["kept"]) == ["logs:log-group", "rds:db", "s3:bucket"]


def test_data_that_is_not_to_be_kept_is_left(simulation, run):
    create_data(simulation)
    result = run(keep=["s3:*"])
    assert kinds(result["left"]) == ["logs:log-group", "rds:db"]
    assert kinds(result["kept"]) == ["s3:bucket"]


def test_what_aws_only_remembers_is_gone(simulation, run):
    _, subnet = create_network(simulation, {})
    ec2 = simulation.boto("ec2")
    gateway = ec2.create_nat_gateway(
        SubnetId=subnet, ConnectivityType="private", TagSpecifications=spec("natgateway", OURS)
    )["NatGateway"]["NatGatewayId"]
    instances = ec2.run_instances(
        ImageId="ami-12c6146b", MinCount=1, MaxCount=1, SubnetId=subnet, TagSpecifications=spec("instance", OURS)
    )
    template = {"Resources": {"Queue": {"Type": "AWS::SQS::Queue"}}}
    cloudformation = simulation.boto("cloudformation")
    cloudformation.create_stack(StackName="network", TemplateBody=json.dumps(template), Tags=as_list(OURS))
    assert {"cloudformation:stack", "ec2:instance", "ec2:natgateway"} <= set(kinds(run()["left"]))
    cloudformation.delete_stack(StackName="network")
    ec2.delete_nat_gateway(NatGatewayId=gateway)
    ec2.terminate_instances(InstanceIds=[instances["Instances"][0]["InstanceId"]])
    # That of the instance stays if nobody says otherwise.
    assert run(keep=["ec2:network-interface"])["left"] == []


def test_what_is_left_fails_with_all_of_it(simulation, converge):
    vpc, subnet = create_network(simulation, OURS)
    with pytest.raises(ResourceError) as caught:
        converge(look())
    assert vpc in str(caught.value)
    assert subnet in str(caught.value)


def test_what_is_left_can_be_a_warning(simulation, run, monkeypatch):
    said = Said.by(LeftoversOperator, monkeypatch)
    create_network(simulation, OURS)
    assert len(run()["left"]) == 2
    assert said[-1] == f"2 left of {NAME}"


def test_it_looks_again_for_what_aws_is_late_to_forget(aws, converge):
    operator = look(patience=60)
    arn = "arn:aws:ec2:eu-central-1:123456789012:vpc/vpc-1"
    late = [[{"ResourceARN": arn}], []]

    def respond(TagFilters, **_):  # noqa: N803
        return {"ResourceTagMappingList": late.pop(0) if TagFilters[0]["Key"] == TAG else []}

    answer(aws, "resourcegroupstaggingapi", "GetResources", respond)
    assert converge(operator)["left"] == []
    assert late == []


def test_it_waits_without_a_slot(simulation):
    create_network(simulation, OURS)
    operator = look(patience=60, deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        operator.execute({})
    deferral = deferred.value
    assert deferral.method_name == "resume"
    with pytest.raises(ResourceError, match="2 left"):
        operator.resume({}, None, **{**deferral.kwargs, "deadline": 0})


def test_it_changes_nothing(simulation, run):
    create_network(simulation, OURS)
    simulation.forget_calls()
    run()
    assert simulation.writes() == []


def test_a_bad_name_is_refused_before_aws_is_asked(simulation, run):
    with pytest.raises(ResourceError, match="cluster_name"):
        run(cluster_name="no such name")
    assert simulation.calls() == []
