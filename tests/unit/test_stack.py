"""Stacks in the states that moto doesn't know: what AWS says is asked and told as it does."""

from __future__ import annotations

import ipaddress
from datetime import datetime, timezone

import boto3
import pytest
from botocore.stub import ANY, Stubber
from hypothesis import given
from hypothesis import strategies as st

from airflow_eks_dask.resources import auto_scaling, change_set, cloudformation_template, stack_events
from airflow_eks_dask.resources.base import Action, ResourceError, State
from airflow_eks_dask.resources.network import Network, subnets_of
from airflow_eks_dask.resources.ownership import TAG
from airflow_eks_dask.resources.self_managed_nodegroup import SelfManagedNodegroup

NAME = "pipelines-network"
STACK_ID = "arn:aws:cloudformation:eu-central-1:123456789012:stack/pipelines-network/1"
CHANGE_SET_ID = "arn:aws:cloudformation:eu-central-1:123456789012:changeSet/airflow-eks-dask/1"
WHEN = datetime(2026, 11, 25, 12, 30, 5, tzinfo=timezone.utc)
ZONES = ["eu-central-1a", "eu-central-1b"]
NETWORK = Network(cluster_name="pipelines", availability_zones=ZONES)


class StubbedAws:
    """Clients that give the answers they were told to, in that order, and check what they are asked."""

    region, partition = "eu-central-1", "aws"

    def __init__(self):
        self.stubbers = {}

    def client(self, service):
        return self.stub(service).client

    def stub(self, service):
        if service not in self.stubbers:
            client = boto3.client(
                service, region_name=self.region, aws_access_key_id="test", aws_secret_access_key="test"
            )
            self.stubbers[service] = Stubber(client)
            self.stubbers[service].activate()
        return self.stubbers[service]


@pytest.fixture
def aws(monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    stubbed = StubbedAws()
    yield stubbed
    for stubber in stubbed.stubbers.values():
        stubber.assert_no_pending_responses()


@pytest.fixture
def stacks(aws):
    return aws.stub("cloudformation")


def stack(status="CREATE_COMPLETE", **parameters):
    wanted = NETWORK.parameters(StubbedAws(), {}) | parameters
    return {
        "StackName": NAME,
        "StackId": STACK_ID,
        "StackStatus": status,
        "CreationTime": WHEN,
        "Tags": [{"Key": TAG, "Value": "pipelines"}],
        "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in wanted.items()],
    }


def event(status, name="Vpc", kind="AWS::EC2::VPC", reason=None, physical_id="vpc-1"):
    return {
        "StackId": STACK_ID,
        "EventId": f"{name}-{status}",
        "StackName": NAME,
        "LogicalResourceId": name,
        "PhysicalResourceId": physical_id,
        "ResourceType": kind,
        "Timestamp": WHEN,
        "ResourceStatus": status,
    } | ({"ResourceStatusReason": reason} if reason else {})


def of_stack(status):
    return event(status, NAME, "AWS::CloudFormation::Stack", physical_id=STACK_ID)


def expect_stack(stacks, found):
    stacks.add_response("describe_stacks", {"Stacks": [found]}, {"StackName": NAME})


def expect_template(stacks):
    body = cloudformation_template.shipped("network.yaml")
    stacks.add_response("get_template", {"TemplateBody": body}, {"StackName": NAME})


def expect_change_set(stacks, *answers):
    stacks.add_response("create_change_set", {"Id": CHANGE_SET_ID}, None)
    for answer in answers:
        asked = {"ChangeSetName": CHANGE_SET_ID} | token(answer)
        stacks.add_response("describe_change_set", {"StackName": NAME, **answer}, asked)
    stacks.add_response("delete_change_set", {}, {"ChangeSetName": CHANGE_SET_ID})


def token(answer):
    return {"NextToken": answer.pop("asked_with")} if "asked_with" in answer else {}


def change(action, name, kind, **more):
    return {
        "Type": "Resource",
        "ResourceChange": {"Action": action, "LogicalResourceId": name, "ResourceType": kind, **more},
    }


def expect_drift(stacks, *drifts):
    stacks.add_client_error("detect_stack_drift", "ValidationError", "Drift detection is already in progress")
    stacks.add_response("detect_stack_drift", {"StackDriftDetectionId": "d"}, {"StackName": NAME})
    for status in ("DETECTION_IN_PROGRESS", "DETECTION_COMPLETE"):
        answer = {"StackId": STACK_ID, "StackDriftDetectionId": "d", "DetectionStatus": status, "Timestamp": WHEN}
        stacks.add_response(
            "describe_stack_drift_detection_status",
            answer | {"StackDriftStatus": "DRIFTED"},
            {"StackDriftDetectionId": "d"},
        )
    pages = [{"StackResourceDrifts": [each], "NextToken": str(number)} for number, each in enumerate(drifts)]
    del pages[-1]["NextToken"]
    for number, page in enumerate(pages):
        asked = {"StackName": NAME, "StackResourceDriftStatusFilters": ["MODIFIED", "DELETED"]}
        if number:
            asked["NextToken"] = str(number - 1)
        stacks.add_response("describe_stack_resource_drifts", page, asked)


def drift(name, status, **more):
    return {
        "StackId": STACK_ID,
        "LogicalResourceId": name,
        "PhysicalResourceId": f"{name}-1",
        "ResourceType": "AWS::EC2::Subnet",
        "StackResourceDriftStatus": status,
        "Timestamp": WHEN,
        **more,
    }


def test_a_stack_that_aws_can_not_roll_back_is_explained(aws, stacks):
    expect_stack(stacks, stack("UPDATE_ROLLBACK_FAILED"))
    events = [event("UPDATE_FAILED", "NatGateway1", "AWS::EC2::NatGateway", "Elastic IP is in use")]
    stacks.add_response("describe_stack_events", {"StackEvents": events}, {"StackName": STACK_ID})
    plan = NETWORK.plan(aws)
    assert plan.action is Action.REFUSE
    assert "continue-update-rollback" in plan.reasons[0]
    assert "Elastic IP is in use" in plan.reasons[1]


@pytest.mark.parametrize("status", ["ROLLBACK_COMPLETE", "ROLLBACK_FAILED", "CREATE_FAILED", "DELETE_FAILED"])
def test_a_stack_that_was_never_made_is_made_anew(aws, stacks, status):
    expect_stack(stacks, stack(status))
    stacks.add_response("describe_stack_events", {"StackEvents": []}, {"StackName": STACK_ID})
    plan = NETWORK.plan(aws)
    assert plan.action is Action.DELETE
    stacks.add_response("delete_stack", {}, {"StackName": STACK_ID})
    NETWORK.delete(aws, plan)


def test_subnets_are_never_replaced(aws, stacks):
    expect_stack(stacks, stack(NatGateways="none"))
    expect_template(stacks)
    steps = [change("Modify", "PrivateSubnet1", "AWS::EC2::Subnet", Replacement="True")]
    expect_change_set(stacks, {"Status": "CREATE_COMPLETE", "Changes": steps})
    plan = NETWORK.plan(aws)
    assert plan.action is Action.REFUSE
    assert "AWS will modify PrivateSubnet1 (AWS::EC2::Subnet), by making it anew" in plan.reasons


def test_a_change_set_is_waited_for_and_read_to_its_end(aws, stacks):
    expect_stack(stacks, stack(NatGateways="none"))
    expect_template(stacks)
    expect_change_set(
        stacks,
        {"Status": "CREATE_IN_PROGRESS"},
        {
            "Status": "CREATE_COMPLETE",
            "Changes": [change("Add", "NatGateway1", "AWS::EC2::NatGateway")],
            "NextToken": "more",
        },
        {
            "Status": "CREATE_COMPLETE",
            "Changes": [change("Modify", "PrivateRoute1", "AWS::EC2::Route", Replacement="Conditional")],
            "asked_with": "more",
        },
    )
    plan = NETWORK.plan(aws)
    assert plan.action is Action.CHANGE
    assert plan.reasons == (
        "NatGateways is none, not single",
        "AWS will add NatGateway1 (AWS::EC2::NatGateway)",
        "AWS will modify PrivateRoute1 (AWS::EC2::Route), perhaps by making it anew",
    )


def test_a_change_set_that_fails_is_told_and_deleted(aws, stacks):
    expect_change_set(stacks, {"Status": "FAILED", "StatusReason": "Parameter Zone1 is wrong"})
    with pytest.raises(ResourceError, match="Parameter Zone1 is wrong"):
        change_set.create(aws, StackName=NAME)


def test_a_change_set_that_was_left_is_made_anew(aws, stacks):
    stacks.add_client_error("create_change_set", "AlreadyExistsException")
    stacks.add_response("delete_change_set", {}, {"StackName": NAME, "ChangeSetName": change_set.NAME})
    stacks.add_response("create_change_set", {"Id": CHANGE_SET_ID}, ANY_REQUEST)
    stacks.add_response("describe_change_set", {"StackName": NAME, "Status": "CREATE_COMPLETE"}, None)
    assert change_set.create(aws, StackName=NAME) == (CHANGE_SET_ID, [])


ANY_REQUEST = {"StackName": NAME, "ChangeSetName": ANY, "ChangeSetType": "UPDATE"}


def test_drift_is_taken_back(aws, stacks):
    expect_stack(stacks, stack())
    expect_template(stacks)
    difference = {
        "PropertyPath": "/MapPublicIpOnLaunch",
        "ExpectedValue": "false",
        "ActualValue": "true",
        "DifferenceType": "NOT_EQUAL",
    }
    expect_drift(
        stacks,
        drift("PrivateSubnet1", "MODIFIED", PropertyDifferences=[difference]),
        drift("PrivateSubnet2", "DELETED"),
    )
    steps = [
        change("Modify", "PrivateSubnet1", "AWS::EC2::Subnet", Replacement="False"),
        change("Modify", "PrivateSubnet2", "AWS::EC2::Subnet", Replacement="True", ResourceDriftStatus="DELETED"),
    ]
    expect_change_set(stacks, {"Status": "CREATE_COMPLETE", "Changes": steps})
    plan = NETWORK.plan(aws)
    assert plan.action is Action.CHANGE
    assert plan.reasons[:2] == (
        "PrivateSubnet1 (PrivateSubnet1-1) was changed by somebody: /MapPublicIpOnLaunch is true, not false",
        "PrivateSubnet2 (PrivateSubnet2-1) was deleted by somebody",
    )
    assert plan.changes["revert"]


def test_drift_that_aws_can_not_take_back_is_told_and_left(aws, stacks):
    expect_stack(stacks, stack())
    expect_template(stacks)
    expect_drift(stacks, drift("PrivateSubnet1", "MODIFIED"))
    expect_change_set(stacks, {"Status": "FAILED", "StatusReason": "The submitted information didn't contain changes."})
    plan = NETWORK.plan(aws)
    assert plan.action is Action.LEAVE
    assert plan.reasons[-1] == "CloudFormation sees nothing that it could change"


def test_a_change_is_executed_as_it_was_prepared(aws, stacks):
    stacks.add_response("create_change_set", {"Id": CHANGE_SET_ID}, None)
    made = {"StackName": NAME, "Status": "CREATE_COMPLETE", "Changes": [change("Add", "X", "AWS::EC2::VPC")]}
    stacks.add_response("describe_change_set", made, None)
    stacks.add_response("execute_change_set", {}, {"ChangeSetName": CHANGE_SET_ID})
    parameters = NETWORK.parameters(aws, {})
    NETWORK.apply(aws, NETWORK.a_plan(Action.CHANGE, parameters=parameters, tags={"old": "tag"}))


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("CREATE_IN_PROGRESS", State.PENDING),
        ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", State.PENDING),
        ("UPDATE_ROLLBACK_IN_PROGRESS", State.PENDING),
        ("REVIEW_IN_PROGRESS", State.READY),
        ("UPDATE_COMPLETE", State.READY),
        ("UPDATE_ROLLBACK_COMPLETE", State.FAILED),
        ("DELETE_FAILED", State.FAILED),
        ("DELETE_COMPLETE", State.ABSENT),
    ],
)
def test_where_a_stack_stands(status, state):
    assert stack_events.state_of(status) is state


def test_only_what_happened_last_is_told_the_oldest_first():
    newest_first = [
        event("CREATE_FAILED", reason="The maximum number of VPCs has been reached."),
        event("CREATE_FAILED", "InternetGateway", "AWS::EC2::InternetGateway", "Resource creation cancelled"),
        event("CREATE_IN_PROGRESS"),
        of_stack("CREATE_IN_PROGRESS"),
        of_stack("DELETE_COMPLETE"),
    ]
    events = stack_events.last_operation(newest_first)
    assert events == newest_first[3::-1]
    assert stack_events.failures(events) == [
        "12:30:05 Vpc (AWS::EC2::VPC) CREATE_FAILED: The maximum number of VPCs has been reached."
    ]


@given(st.integers(16, 24), st.integers(0, 255))
def test_subnets_are_apart_and_within_the_network(prefix, second):
    cidr = ipaddress.IPv4Network((f"10.{second}.0.0", prefix), strict=False)
    private, public = subnets_of(str(cidr))
    networks = [ipaddress.IPv4Network(each) for each in (*private, *public)]
    assert len(networks) == 6
    assert all(network.subnet_of(cidr) for network in networks)
    assert not any(one.overlaps(other) for one in networks for other in networks if one is not other)
    assert min(network.num_addresses for network in networks) >= 16


def activity(status, message=""):
    return {"StatusCode": status, "StatusMessage": message, "Description": "Launching a new EC2 instance"}


@pytest.mark.parametrize(
    ("activities", "suspended", "problems"),
    [
        ([], (), []),
        ([activity("InProgress"), activity("Successful"), activity("Failed", "old")], (), []),
        (
            [activity("InProgress"), activity("Failed", "no capacity"), activity("Failed", "no capacity")],
            (),
            ["no capacity"],
        ),
        ([activity("Cancelled")], (), ["Launching a new EC2 instance"]),
        ([], ("Launch", "AZRebalance"), ["Launch is suspended"]),
    ],
)
def test_why_instances_do_not_start(activities, suspended, problems):
    group = auto_scaling.Group("nodes", 0, 1, frozenset(suspended), tuple(activities))
    assert group.problems() == problems


def test_nodes_that_do_not_start_are_told_in_the_words_of_aws(aws, stacks):
    outputs = [{"OutputKey": "AutoScalingGroupName", "OutputValue": "nodes"}]
    found = {"StackName": NAME, "StackStatus": "CREATE_COMPLETE", "CreationTime": WHEN, "Outputs": outputs}
    for _ in range(2):
        stacks.add_response("describe_stacks", {"Stacks": [found]}, None)
    group = {
        "AutoScalingGroupName": "nodes",
        "MinSize": 2,
        "MaxSize": 3,
        "DesiredCapacity": 2,
        "DefaultCooldown": 300,
        "AvailabilityZones": ZONES,
        "HealthCheckType": "EC2",
        "CreatedTime": WHEN,
        "Instances": [],
    }
    scaling = aws.stub("autoscaling")
    scaling.add_response("describe_auto_scaling_groups", {"AutoScalingGroups": [group]}, None)
    failed = {
        "ActivityId": "1",
        "AutoScalingGroupName": "nodes",
        "Cause": "at the start",
        "StartTime": WHEN,
        "StatusCode": "Failed",
        "StatusMessage": "You have requested more vCPU capacity than your current vCPU limit of 0 allows",
    }
    scaling.add_response("describe_scaling_activities", {"Activities": [failed]}, None)
    progress = SelfManagedNodegroup(cluster_name="pipelines").progress(aws)
    assert progress.state is State.FAILED
    assert progress.detail == ("0 of at least 2 nodes are in service", failed["StatusMessage"])
