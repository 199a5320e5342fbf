"""Preflight: everything that would stop a bootstrap is told, at once, before anything is made."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from botocore.parsers import ResponseParserError

from airflow_eks_dask.hooks.aws import AwsClients
from airflow_eks_dask.operators.preflight import FINDINGS_KEY, PreflightOperator
from airflow_eks_dask.preflight import checks
from airflow_eks_dask.preflight.wanted import Wanted
from airflow_eks_dask.resources.base import ResourceError
from airflow_eks_dask.resources.ownership import TAG, as_list
from tests.aws.answers import answer, forget_answers
from tests.aws.said import Said

NAME = "pipelines"
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["eks:CreateCluster", "eks:TagResource"], "Resource": "*"},
        {
            "Effect": "Allow",
            "Action": "iam:PassRole",
            "Resource": "arn:*:iam::*:role/*",
            "Condition": {"StringEquals": {"iam:PassedToService": ["eks.amazonaws.com", "ec2.amazonaws.com"]}},
        },
    ],
}
WANTED = {
    "cluster_name": NAME,
    "cidr": "10.20.0.0/16",
    "service_cidr": "172.20.0.0/16",
    "instance_types": ["m5.large"],
    "max_nodes": 4,
    "public_access_cidrs": ["203.0.113.7/32"],
    "database_identifier": "pipelines",
    "bucket_name": "pipelines-logs",
    "policy": POLICY,
}
ROLES = ("AmazonEKS", "AmazonEKSNodegroup", "AutoScaling", "ElasticLoadBalancing", "RDS", "EC2Spot")
ACCOUNT = "123456789012"
NOW = datetime(2026, 11, 25, tzinfo=timezone.utc)


def refuse(code, operation="Operation"):
    def respond(**_):
        raise ClientError({"Error": {"Code": code, "Message": f"Simulated: {code}"}}, operation)

    return respond


class Account:
    """
    An account in which nothing stands in the way.

    ``limits``: quotas by code, 1000 by default; ``denied``: actions, each with what IAM says of it.
    """

    def __init__(self, simulation, aws):
        self.simulation, self.aws = simulation, aws
        self.limits, self.denied, self.simulated = {}, {}, []
        self.roles = {f"AWSServiceRoleFor{name}": "/aws-service-role/" for name in ROLES} | {"airflow": "/teams/data/"}
        self.caller = f"arn:aws:sts::{ACCOUNT}:assumed-role/airflow/worker"
        answer(aws, "sts", "GetCallerIdentity", lambda: {"Arn": self.caller, "Account": ACCOUNT, "UserId": "A"})
        answer(aws, "service-quotas", "GetServiceQuota", self._quota)
        answer(aws, "service-quotas", "GetAWSDefaultServiceQuota", lambda **_: {"Quota": {"Value": 1.0}})
        answer(aws, "iam", "GetRole", self._role)
        answer(aws, "iam", "SimulatePrincipalPolicy", self._simulate)

    def _role(self, RoleName):  # noqa: N803
        if RoleName not in self.roles:
            raise self.aws.client("iam").exceptions.NoSuchEntityException(
                {"Error": {"Code": "NoSuchEntity"}}, "GetRole"
            )
        path = self.roles[RoleName]
        arn = f"arn:aws:iam::{ACCOUNT}:role{path}{RoleName}"
        return {"Role": {"Path": path, "RoleName": RoleName, "RoleId": "A" * 16, "Arn": arn, "CreateDate": NOW}}

    def _quota(self, ServiceCode, QuotaCode):  # noqa: N803
        value = self.limits.get(QuotaCode, 1000.0)
        if value is None:
            raise ClientError({"Error": {"Code": "NoSuchResourceException"}}, "GetServiceQuota")
        return {"Quota": {"ServiceCode": ServiceCode, "QuotaCode": QuotaCode, "Value": value}}

    def _simulate(self, **asked):
        self.simulated.append(asked)
        allowed = {"EvalDecision": "allowed"}
        results = [{"EvalActionName": action, **self.denied.get(action, allowed)} for action in asked["ActionNames"]]
        return {"EvaluationResults": results, "IsTruncated": False}

    def check(self, **changes):
        """Return what is found beyond the note on the endpoint."""
        found = checks.run(self.aws, Wanted(**{**WANTED, **changes}))
        return [(name, finding.severity.value, finding) for name, finding in found if name != "endpoint"]


@pytest.fixture(scope="module")
def clients():
    """Clients for all tests: to make one takes longer than most tests."""
    return AwsClients()


@pytest.fixture
def aws(simulation, clients):
    yield clients
    forget_answers(clients)


@pytest.fixture
def account(simulation, aws):
    return Account(simulation, aws)


def only(found, check, severity):
    """Return the one finding there is, in words."""
    assert [each[:2] for each in found] == [(check, severity)], found
    finding = found[0][2]
    assert finding.what_to_do
    return f"{finding.what}: {finding.why}. {finding.what_to_do}"


def network(simulation, cidr="10.20.0.0/16", tags=None):
    spec = [{"ResourceType": "vpc", "Tags": as_list(tags)}] if tags else []
    return simulation.boto("ec2").create_vpc(CidrBlock=cidr, TagSpecifications=spec)["Vpc"]["VpcId"]


def test_where_nothing_stands_in_the_way_nothing_is_found(account):
    assert account.check() == []


def test_nothing_is_changed(account):
    account.simulation.forget_calls()
    account.check()
    assert account.simulation.writes() == []


# Who it is, and where.


def test_credentials_that_aws_refuses_are_the_only_finding(simulation, aws):
    answer(aws, "sts", "GetCallerIdentity", refuse("InvalidClientTokenId"))
    ((name, finding),) = checks.run(aws, Wanted(**WANTED))
    assert (name, finding.severity.value) == ("credentials", "error")
    assert "InvalidClientTokenId" in finding.why


def test_an_aws_that_cannot_be_reached_is_the_only_finding(simulation, aws):
    def respond():
        raise EndpointConnectionError(endpoint_url="https://sts.example.com")

    answer(aws, "sts", "GetCallerIdentity", respond)
    ((name, finding),) = checks.run(aws, Wanted(**WANTED))
    assert (name, finding.severity.value) == ("credentials", "error")


def test_a_region_that_does_not_exist(simulation):
    ((name, finding),) = checks.run(AwsClients(region_name="eu-nowhere-1"), Wanted(**WANTED))
    assert (name, finding.severity.value) == ("region", "error")
    assert "There is no region eu-nowhere-1" in finding.what


def test_a_region_that_is_not_enabled(simulation, aws):
    regions = {"Regions": [{"RegionName": "eu-central-1", "OptInStatus": "not-opted-in"}]}
    answer(aws, "ec2", "DescribeRegions", lambda **_: regions, "us-east-1")
    ((name, finding),) = checks.run(aws, Wanted(**WANTED))
    assert (name, finding.severity.value) == ("region", "error")
    assert "not enabled" in finding.what


def test_the_root_user_is_warned_of(account):
    account.caller = f"arn:aws:iam::{ACCOUNT}:root"
    found = account.check()
    assert [each[:2] for each in found] == [("credentials", "warning"), ("permissions", "warning")]


def test_too_few_zones(account):
    zones = {"AvailabilityZones": [{"ZoneName": f"eu-central-1{each}", "ZoneId": f"euc1-az{each}"} for each in "ab"]}
    answer(account.aws, "ec2", "DescribeAvailabilityZones", lambda **_: zones)
    assert "has not 3 zones" in only(account.check(zones=3), "zones", "error")


def test_zones_that_the_region_has_not(account):
    found = account.check(availability_zones=["eu-central-1a", "eu-central-1x"], zones=2)
    assert "eu-central-1x can't be used" in only([each for each in found if each[0] == "zones"], "zones", "error")


def test_zones_without_control_planes(account):
    zones = [("us-1a", "use1-az1"), ("us-1b", "use1-az3")]
    answer(
        account.aws,
        "ec2",
        "DescribeAvailabilityZones",
        lambda **_: {"AvailabilityZones": [{"ZoneName": name, "ZoneId": zone_id} for name, zone_id in zones]},
    )
    said = only([each for each in account.check() if each[0] == "zones"], "zones", "error")
    assert "EKS can be in us-1a" in said


# What the caller may do.


def test_all_missing_actions_are_told_with_the_reason(account):
    account.denied = {
        "eks:CreateCluster": {"EvalDecision": "implicitDeny"},
        "iam:PassRole": {"EvalDecision": "implicitDeny"},
        "eks:TagResource": {
            "EvalDecision": "implicitDeny",
            "OrganizationsDecisionDetail": {"AllowedByOrganizations": False},
        },
    }
    found = account.check()
    assert [each[:2] for each in found] == [("permissions", "error")] * 2
    said = [f"{finding.what}: {finding.why}" for _, _, finding in found]
    assert "no policy allows: eks:CreateCluster, iam:PassRole" in said[0]
    assert "a policy of the organization does not allow: eks:TagResource" in said[1]


@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        ({"EvalDecision": "explicitDeny"}, "a policy denies"),
        (
            {
                "EvalDecision": "implicitDeny",
                "PermissionsBoundaryDecisionDetail": {"AllowedByPermissionsBoundary": False},
            },
            "the permissions boundary does not allow",
        ),
    ],
)
def test_the_reason_why_an_action_is_denied(account, decision, reason):
    account.denied = {"eks:CreateCluster": decision}
    assert f"{reason}: eks:CreateCluster" in only(account.check(), "permissions", "error")


def test_a_session_of_a_role_is_simulated_as_the_role_with_its_path(account):
    account.check()
    assert account.simulated[0]["PolicySourceArn"] == f"arn:aws:iam::{ACCOUNT}:role/teams/data/airflow"


def test_a_user_is_simulated_as_such(account):
    account.caller = f"arn:aws:iam::{ACCOUNT}:user/alice"
    account.check()
    assert account.simulated[0]["PolicySourceArn"] == account.caller


def test_actions_are_simulated_on_their_resources_and_under_their_conditions(account):
    account.check()
    (asked,) = [each for each in account.simulated if each["ActionNames"] == ["iam:PassRole"]]
    assert asked["ResourceArns"] == [f"arn:aws:iam::{ACCOUNT}:role/*"]
    assert asked["ContextEntries"] == [
        {
            "ContextKeyName": "iam:PassedToService",
            "ContextKeyValues": ["eks.amazonaws.com"],
            "ContextKeyType": "string",
        }
    ]


def test_many_actions_are_simulated_in_several_calls(account):
    names = [f"ec2:Action{number}" for number in range(120)]
    account.denied = {name: {"EvalDecision": "implicitDeny"} for name in names}
    said = only(account.check(policy={"Statement": [{"Action": names}]}), "permissions", "error")
    assert "may not do 120 of the actions" in said
    assert max(len(each["ActionNames"]) for each in account.simulated) <= 100


def test_a_caller_that_may_not_simulate_is_warned(account):
    answer(account.aws, "iam", "SimulatePrincipalPolicy", refuse("AccessDenied"))
    assert "Let the caller do what the check needs" in only(account.check(), "permissions", "warning")


def test_missing_service_linked_roles_are_made_by_aws_if_the_caller_may(account):
    del account.roles["AWSServiceRoleForRDS"]
    assert "AWSServiceRoleForRDS is missing" in only(account.check(), "service-linked roles", "note")
    assert account.check(database_identifier="") == []
    (asked,) = [each for each in account.simulated if each["ActionNames"] == ["iam:CreateServiceLinkedRole"]]
    assert asked["ContextEntries"][0]["ContextKeyValues"] == ["rds.amazonaws.com"]


def test_missing_service_linked_roles_that_the_caller_may_not_make(account):
    del account.roles["AWSServiceRoleForEC2Spot"]
    account.denied = {"iam:CreateServiceLinkedRole": {"EvalDecision": "implicitDeny"}}
    assert account.check() == []
    said = only(account.check(spot=True), "service-linked roles", "error")
    assert "aws iam create-service-linked-role --aws-service-name spot.amazonaws.com" in said


# Quotas.


@pytest.mark.parametrize(
    ("code", "limit", "what"),
    [
        ("L-F678F1CE", 1, "VPCs in the region is too small: of 1, 1 are in use by others and 1 are needed"),
        ("L-0263D0A3", 2, "elastic IP addresses is too small: of 2, 1 are in use by others and 2 are needed"),
        ("L-FE5A380F", 0, "NAT gateways in a zone is too small: of 0, 0 are in use by others and 1 are needed"),
        ("L-1194D53C", 0, "EKS clusters is too small: of 0, 0 are in use by others and 1 are needed"),
        ("L-7B6409FD", 0, "database instances is too small: of 0, 0 are in use by others and 1 are needed"),
        ("L-1216C47A", 7, "such as m5.large is too small: of 7, 0 are in use by others and 8 are needed"),
    ],
)
def test_quotas_that_are_too_small(account, code, limit, what):
    account.simulation.boto("ec2").allocate_address(Domain="vpc")
    account.limits = {code: float(limit)}
    said = only(account.check(nat_gateways="one_per_zone"), "quotas", "error")
    assert what in said
    assert "https://eu-central-1.console.aws.amazon.com/servicequotas/home/services/" in said
    assert code in said


def test_spot_instances_have_a_quota_of_their_own(account):
    account.limits = {"L-34B43A08": 1.0}
    assert "vCPUs of spot instances" in only(account.check(spot=True), "quotas", "error")


def test_what_is_there_for_this_cluster_does_not_count_twice(account):
    network(account.simulation, "10.9.0.0/16", {TAG: NAME})
    account.limits = {"L-F678F1CE": 2.0}
    assert account.check() == []
    network(account.simulation, "10.10.0.0/16", {TAG: "other"})
    assert "VPCs in the region" in only(account.check(), "quotas", "error")


def test_instances_of_others_use_up_the_quota(account):
    answer(
        account.aws,
        "ec2",
        "DescribeInstances",
        lambda **_: {
            "Reservations": [
                {"Instances": [{"InstanceType": "r5.xlarge", "CpuOptions": {"CoreCount": 2, "ThreadsPerCore": 2}}]}
            ]
        },
    )
    account.limits = {"L-1216C47A": 11.0}
    assert "of 11, 4 are in use by others and 8 are needed" in only(account.check(), "quotas", "error")


def test_full_zones_are_passed_over(account):
    ec2 = account.simulation.boto("ec2")
    vpc = network(account.simulation, "10.9.0.0/16")
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24", AvailabilityZone="eu-central-1a")["Subnet"]
    ec2.create_nat_gateway(SubnetId=subnet["SubnetId"], ConnectivityType="private")
    account.limits = {"L-FE5A380F": 1.0}
    assert account.check(nat_gateways="one_per_zone") == []
    assert "NAT gateways in a zone" in only(account.check(nat_gateways="one_per_zone", zones=3), "quotas", "error")


def test_the_default_holds_where_the_account_has_no_quota_of_its_own(account):
    account.limits = {"L-F678F1CE": None}
    assert "of 1, 1 are in use" in only(account.check(), "quotas", "error")


def test_a_quota_that_is_unknown_is_warned_of(account):
    account.limits = {"L-F678F1CE": None}
    answer(account.aws, "service-quotas", "GetAWSDefaultServiceQuota", refuse("NoSuchResourceException"))
    assert "Make sure that 1 are left" in only(account.check(), "quotas", "warning")


def test_quotas_that_may_not_be_asked_for_are_warned_of(account):
    answer(account.aws, "service-quotas", "GetServiceQuota", refuse("AccessDeniedException"))
    only(account.check(), "quotas", "warning")


# What AWS offers, and what is taken.


def test_a_version_that_is_not_offered(account):
    assert "EKS does not offer Kubernetes 1.2" in only(account.check(kubernetes_version="1.2"), "version", "error")


def test_a_version_with_extended_support_only(account):
    versions = [
        {"clusterVersion": "1.31", "defaultVersion": False, "versionStatus": "EXTENDED_SUPPORT"},
        {"clusterVersion": "1.34", "defaultVersion": True, "versionStatus": "STANDARD_SUPPORT"},
    ]
    answer(account.aws, "eks", "DescribeClusterVersions", lambda **_: {"clusterVersions": versions})
    assert "Choose one of 1.34" in only(account.check(kubernetes_version="1.31"), "version", "warning")
    assert account.check(kubernetes_version="1.34") == []


def test_an_instance_type_that_is_not_offered(account):
    found = account.check(instance_types=["m5.large", "m99.large"])
    assert "m99.large" in only(found, "instance types", "error")


def test_an_instance_type_that_some_zones_lack(account):
    offers = {"InstanceTypeOfferings": [{"InstanceType": "m5.large", "Location": "eu-central-1a"}]}
    answer(account.aws, "ec2", "DescribeInstanceTypeOfferings", lambda **_: offers)
    assert "does not offer it in eu-central-1b" in only(account.check(), "instance types", "warning")


def test_another_network_with_the_same_addresses(account):
    other = network(account.simulation)
    assert other in only(account.check(), "addresses", "warning")


def test_our_own_network_does_not_clash_with_itself(account):
    network(account.simulation, tags={TAG: NAME})
    assert account.check() == []


def test_a_given_network_that_does_not_exist(account):
    found = account.check(cidr="", vpc_id="vpc-01234567")
    assert "There is no network vpc-01234567" in only(found, "addresses", "error")


def test_services_with_addresses_of_a_given_network(account):
    vpc = network(account.simulation, "172.20.0.0/16")
    assert "service_cidr = 172.20.0.0/16 overlaps" in only(account.check(cidr="", vpc_id=vpc), "addresses", "error")


def test_services_with_addresses_of_a_connected_network(account):
    ec2 = account.simulation.boto("ec2")
    vpc, peer = network(account.simulation), network(account.simulation, "172.20.0.0/20")
    connection = ec2.create_vpc_peering_connection(VpcId=vpc, PeerVpcId=peer)["VpcPeeringConnection"]
    ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=connection["VpcPeeringConnectionId"])
    found = account.check(cidr="", vpc_id=vpc)
    assert f"connected network {peer}" in only(found, "addresses", "warning")


def test_names_that_foreign_things_have(account):
    simulation = account.simulation
    vpc = network(simulation, "10.9.0.0/16")
    subnet = simulation.boto("ec2").create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24")["Subnet"]["SubnetId"]
    simulation.boto("eks").create_cluster(
        name=NAME, roleArn=f"arn:aws:iam::{ACCOUNT}:role/r", resourcesVpcConfig={"subnetIds": [subnet]}
    )
    simulation.boto("rds").create_db_instance(
        DBInstanceIdentifier="pipelines",
        DBInstanceClass="db.t4g.micro",
        Engine="postgres",
        MasterUsername="airflow",
        MasterUserPassword="only-in-a-test",
        AllocatedStorage=20,
        Tags=as_list({TAG: "other"}),
    )
    simulation.boto("s3").create_bucket(
        Bucket="pipelines-logs", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"}
    )
    found = account.check()
    assert [each[:2] for each in found] == [("names", "error")] * 3
    said = " ".join(f"{finding.what} {finding.why}" for _, _, finding in found)
    assert "A cluster pipelines exists, and is not ours" in said
    assert "it belongs to the cluster 'other'" in said
    assert "The bucket pipelines-logs can't be used" in said


@pytest.mark.parametrize(
    ("changes", "severities"),
    [
        ({}, ["note"]),
        ({"endpoint_private_access": False}, ["note", "warning"]),
        ({"public_access_cidrs": ["0.0.0.0/0"]}, ["note"]),
        ({"public_access_cidrs": []}, ["warning"]),
    ],
)
def test_how_the_endpoint_can_be_reached(account, changes, severities):
    found = checks.run(account.aws, Wanted(**{**WANTED, **changes}))
    assert [finding.severity.value for name, finding in found if name == "endpoint"] == severities


@pytest.mark.parametrize(
    ("operation", "check"),
    [
        ("DescribeAvailabilityZones", "zones"),
        ("DescribeClusterVersions", "version"),
        ("DescribeInstanceTypeOfferings", "instance types"),
        ("DescribeDBInstances", "names"),
        ("ListClusters", "quotas"),
    ],
)
def test_a_check_that_cannot_be_made_is_a_warning_and_the_others_are_made(account, operation, check):
    account.denied = {"eks:CreateCluster": {"EvalDecision": "implicitDeny"}}
    account.simulation.fail("denied", operation=operation, times=100)
    found = {(name, severity) for name, severity, _ in account.check()}
    assert {(check, "warning"), ("permissions", "error")} <= found


def test_a_proxy_that_answers_with_a_page_of_its_own_is_a_warning(account):
    def respond(**_):
        raise ResponseParserError("Unable to parse response")

    answer(account.aws, "iam", "SimulatePrincipalPolicy", respond)
    assert "Unable to parse response" in only(account.check(), "permissions", "warning")


# The task.


def preflight(**changes):
    return PreflightOperator(task_id="preflight", **{**WANTED, **changes})


class Task:
    """Stands in for a task instance."""

    def __init__(self):
        self.left = {}

    def xcom_push(self, key, value):
        self.left[key] = value

    def run(self, operator, account):
        operator.__dict__["aws"] = account.aws
        return operator.execute({"ti": self})


def test_the_task_returns_what_was_found(account):
    findings = Task().run(preflight(), account)
    assert [(each["severity"], each["check"]) for each in findings] == [("note", "endpoint")]
    json.dumps(findings)


def test_the_task_fails_with_everything_at_once(account, monkeypatch):
    said = Said.by(PreflightOperator, monkeypatch)
    account.limits = {"L-F678F1CE": 1.0}
    account.denied = {"eks:CreateCluster": {"EvalDecision": "implicitDeny"}}
    task = Task()
    with pytest.raises(ResourceError, match="3 things would stop the bootstrap") as caught:
        task.run(preflight(kubernetes_version="1.2"), account)
    for words in ("VPCs in the region", "eks:CreateCluster", "Kubernetes 1.2"):
        assert words in str(caught.value)
    assert [each["severity"] for each in task.left[FINDINGS_KEY]] == ["error", "error", "error", "note"]
    for words in ("What to do", "error", "note", "permissions"):
        assert words in said.text


def test_bad_input_is_refused_before_aws_is_asked(simulation):
    operator = preflight(
        cluster_name="no such name",
        cidr="10.0.0.1/16",
        kubernetes_version="latest and greatest",
        instance_types=["large"],
        region_name="Frankfurt",
        bucket_name="NO",
        max_nodes="many",
        spot="perhaps",
    )
    with pytest.raises(ResourceError) as caught:
        operator.execute({"ti": Task()})
    names = ("cluster_name", "cidr", "kubernetes_version", "instance_types", "region_name", "bucket_name")
    for name in (*names, "max_nodes", "spot"):
        assert name in str(caught.value)
    assert simulation.calls() == []
