"""CloudFormation, RDS and S3 as they are simulated behave as the real ones where that matters to us."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

REGION = {"LocationConstraint": "eu-central-1"}


def template(**resources):
    vpc = {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}}
    subnet = {"Type": "AWS::EC2::Subnet", "Properties": {"VpcId": {"Ref": "Vpc"}, "CidrBlock": "10.0.0.0/24"}}
    outputs = {name: {"Value": {"Ref": name}} for name in ("Vpc", "Subnet")}
    return json.dumps({"Resources": {"Vpc": vpc, "Subnet": subnet, **resources}, "Outputs": outputs})


@pytest.fixture
def stacks(simulation):
    return simulation.boto("cloudformation", attempts=1)


def stack(stacks):
    found = stacks.list_stacks()["StackSummaries"]
    return stacks.describe_stacks(StackName=found[0]["StackId"])["Stacks"][0] if found else None


def test_a_stack_takes_its_time_and_tells_of_each_resource(simulation, stacks):
    simulation.set_durations(stack=120)
    stacks.create_stack(StackName="net", TemplateBody=template())
    found = stack(stacks)
    assert found["StackStatus"] == "CREATE_IN_PROGRESS"
    assert "Outputs" not in found
    with pytest.raises(ClientError, match="IN_PROGRESS"):
        stacks.update_stack(StackName="net", TemplateBody=template(More={"Type": "AWS::EC2::InternetGateway"}))
    simulation.pass_time(120)
    assert len(stack(stacks)["Outputs"]) == 2
    events = stacks.describe_stack_events(StackName="net")["StackEvents"]
    told = {(each["LogicalResourceId"], each["ResourceStatus"]) for each in events}
    assert {("Vpc", "CREATE_IN_PROGRESS"), ("Vpc", "CREATE_COMPLETE"), ("net", "CREATE_COMPLETE")} <= told
    stacks.delete_stack(StackName="net")
    assert stack(stacks)["StackStatus"] == "DELETE_IN_PROGRESS"
    simulation.pass_time(120)
    assert stack(stacks)["StackStatus"] == "DELETE_COMPLETE"


def test_a_stack_that_fails_is_rolled_back(simulation, stacks):
    vpcs = simulation.boto("ec2").describe_vpcs()["Vpcs"]
    simulation.spoil("stack", "The maximum number of VPCs has been reached.")
    stacks.create_stack(StackName="net", TemplateBody=template())
    assert stack(stacks)["StackStatus"] == "ROLLBACK_COMPLETE"
    reasons = [
        each.get("ResourceStatusReason") for each in stacks.describe_stack_events(StackName="net")["StackEvents"]
    ]
    assert "The maximum number of VPCs has been reached." in reasons
    assert simulation.boto("ec2").describe_vpcs()["Vpcs"] == vpcs


def test_an_update_that_fails_changes_nothing(simulation, stacks):
    stacks.create_stack(StackName="net", TemplateBody=template())
    simulation.spoil("stack", "no")
    stacks.update_stack(StackName="net", TemplateBody=template(More={"Type": "AWS::EC2::InternetGateway"}))
    assert stack(stacks)["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert len(stacks.list_stack_resources(StackName="net")["StackResourceSummaries"]) == 2


def test_a_change_set_is_carried_out(stacks):
    stacks.create_change_set(StackName="net", ChangeSetName="new", ChangeSetType="CREATE", TemplateBody=template())
    assert stack(stacks)["StackStatus"] == "REVIEW_IN_PROGRESS"
    stacks.execute_change_set(StackName="net", ChangeSetName="new")
    assert stack(stacks)["StackStatus"] == "CREATE_COMPLETE"


def test_what_was_done_behind_its_back_is_found_and_reverted(simulation, stacks):
    stacks.create_stack(StackName="net", TemplateBody=template())
    ids = {each["OutputKey"]: each["OutputValue"] for each in stack(stacks)["Outputs"]}
    assert drifts(stacks) == {}
    ec2 = simulation.boto("ec2")
    ec2.create_tags(Resources=[ids["Vpc"]], Tags=[{"Key": "a", "Value": "b"}])
    ec2.delete_subnet(SubnetId=ids["Subnet"])
    assert drifts(stacks) == {"Vpc": "MODIFIED", "Subnet": "DELETED"}
    change_set = {"StackName": "net", "ChangeSetName": "back"}
    stacks.create_change_set(
        **change_set, ChangeSetType="UPDATE", TemplateBody=template(), DeploymentMode="REVERT_DRIFT"
    )
    with pytest.raises(ClientError, match="AlreadyExists"):
        stacks.create_change_set(**change_set, ChangeSetType="UPDATE", TemplateBody=template(More={}))
    stacks.execute_change_set(**change_set)
    assert stack(stacks)["StackStatus"] == "UPDATE_COMPLETE"
    assert drifts(stacks) == {}
    new = {each["OutputKey"]: each["OutputValue"] for each in stack(stacks)["Outputs"]}
    assert new["Vpc"] == ids["Vpc"]
    assert ec2.describe_subnets(SubnetIds=[new["Subnet"]])["Subnets"][0]["VpcId"] == ids["Vpc"]


def drifts(stacks):
    detection = stacks.detect_stack_drift(StackName="net")["StackDriftDetectionId"]
    status = stacks.describe_stack_drift_detection_status(StackDriftDetectionId=detection)
    found = stacks.describe_stack_resource_drifts(StackName="net")["StackResourceDrifts"]
    assert (status["StackDriftStatus"] == "DRIFTED") == bool(found)
    return {each["LogicalResourceId"]: each["StackResourceDriftStatus"] for each in found}


def test_subnets_in_use_are_not_deleted(simulation, stacks):
    stacks.create_stack(StackName="net", TemplateBody=template())
    (subnet,) = [each["OutputValue"] for each in stack(stacks)["Outputs"] if each["OutputKey"] == "Subnet"]
    eks = simulation.boto("eks")
    eks.create_cluster(name="c", roleArn="arn:aws:iam::1:role/r", resourcesVpcConfig={"subnetIds": [subnet]})
    stacks.delete_stack(StackName="net")
    assert stack(stacks)["StackStatus"] == "DELETE_FAILED"
    eks.delete_cluster(name="c")
    stacks.delete_stack(StackName="net")
    assert stack(stacks)["StackStatus"] == "DELETE_COMPLETE"


def test_a_protected_stack_is_not_deleted(stacks):
    stacks.create_stack(StackName="net", TemplateBody=template(), EnableTerminationProtection=True)
    with pytest.raises(ClientError, match="TerminationProtection"):
        stacks.delete_stack(StackName="net")


def create_database(rds):
    rds.create_db_instance(
        DBInstanceIdentifier="db",
        DBInstanceClass="db.t4g.micro",
        Engine="postgres",
        MasterUsername="admin0",
        ManageMasterUserPassword=True,
        AllocatedStorage=20,
    )


def database(rds):
    found = rds.describe_db_instances()["DBInstances"]
    return found[0] if found else None


def test_a_database_takes_its_time(simulation):
    simulation.set_durations(database=480)
    rds = simulation.boto("rds", attempts=1)
    create_database(rds)
    assert database(rds)["DBInstanceStatus"] == "creating"
    assert "Endpoint" not in database(rds)
    with pytest.raises(ClientError, match="InvalidDBInstanceState"):
        rds.modify_db_instance(DBInstanceIdentifier="db", BackupRetentionPeriod=3)
    simulation.pass_time(480)
    assert database(rds)["DBInstanceStatus"] == "available"
    assert database(rds)["Endpoint"]["Address"]
    rds.modify_db_instance(DBInstanceIdentifier="db", BackupRetentionPeriod=3, ApplyImmediately=True)
    assert database(rds)["DBInstanceStatus"] == "modifying"
    simulation.pass_time(480)
    assert database(rds)["DBInstanceStatus"] == "available"
    rds.delete_db_instance(DBInstanceIdentifier="db", SkipFinalSnapshot=True)
    assert database(rds)["DBInstanceStatus"] == "deleting"
    with pytest.raises(ClientError, match="InvalidDBInstanceState"):
        rds.delete_db_instance(DBInstanceIdentifier="db", SkipFinalSnapshot=True)
    simulation.pass_time(480)
    assert database(rds) is None
    assert simulation.boto("secretsmanager").list_secrets()["SecretList"] == []


def test_a_database_that_fails_says_so(simulation):
    simulation.spoil("database", "no capacity")
    rds = simulation.boto("rds")
    create_database(rds)
    assert database(rds)["DBInstanceStatus"] == "failed"
    events = rds.describe_events(SourceIdentifier="db", SourceType="db-instance")["Events"]
    assert "no capacity" in [each["Message"] for each in events]


def test_a_bucket_has_its_tags_from_the_start(simulation):
    s3 = simulation.boto("s3")
    tags = [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}]
    s3.create_bucket(Bucket="logs", CreateBucketConfiguration={**REGION, "Tags": tags})
    assert s3.get_bucket_tagging(Bucket="logs")["TagSet"] == tags
    s3.create_bucket(Bucket="plain", CreateBucketConfiguration=REGION)
    with pytest.raises(ClientError, match="NoSuchTagSet"):
        s3.get_bucket_tagging(Bucket="plain")
