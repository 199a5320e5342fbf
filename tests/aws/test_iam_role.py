"""IAM roles: who may take one, and what it may do."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

from airflow_eks_dask.operators.iam import DeleteIamRoleOperator, EnsureIamRoleOperator
from airflow_eks_dask.resources.base import UNKNOWN, ResourceError
from airflow_eks_dask.resources.iam_role import IamRole

TAG = "airflow-eks-dask/cluster"
NAME = "pipelines-cluster"
POLICY = "arn:aws:iam::aws:policy/AmazonEKSClusterPolicy"
OTHER_POLICY = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
READ_LOGS = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}],
}


def trust(**statement):
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "eks.amazonaws.com"},
                "Action": "sts:AssumeRole",
                **statement,
            }
        ],
    }


@pytest.fixture
def iam(simulation):
    return simulation.boto("iam")


@pytest.fixture
def wanted():
    return {
        "cluster_name": "pipelines",
        "role_name": NAME,
        "trusted_service": "eks.amazonaws.com",
        "policies": ["AmazonEKSClusterPolicy"],
        "inline_policies": {"logs": READ_LOGS},
    }


@pytest.fixture
def ensure(converge, wanted):
    return lambda **other: converge(EnsureIamRoleOperator(task_id="ensure", **{**wanted, **other}))


@pytest.fixture
def delete(converge):
    def run(**other):
        return converge(DeleteIamRoleOperator(task_id="delete", cluster_name="pipelines", role_name=NAME, **other))

    return run


@pytest.fixture
def role(iam):
    """All that makes up the role; None if there is none."""

    def look(name=NAME):
        try:
            found = iam.get_role(RoleName=name)["Role"]
        except iam.exceptions.NoSuchEntityException:
            return None
        attached = iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]
        inline = iam.list_role_policies(RoleName=name)["PolicyNames"]
        return {
            "trust": found["AssumeRolePolicyDocument"],
            "tags": {tag["Key"]: tag["Value"] for tag in found.get("Tags", [])},
            "attached": sorted(policy["PolicyArn"] for policy in attached),
            "inline": {each: iam.get_role_policy(RoleName=name, PolicyName=each)["PolicyDocument"] for each in inline},
            "boundary": found.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn"),
            "description": found.get("Description"),
        }

    return look


def test_it_has_what_is_wanted(ensure, role, converge):
    result = ensure(permissions_boundary=OTHER_POLICY, description="For the control plane", tags={"team": "etl"})
    assert result == {"role_name": NAME, "role_arn": f"arn:aws:iam::123456789012:role/{NAME}"}
    assert role() == {
        "trust": trust(Action=["sts:AssumeRole"]),
        "tags": {TAG: "pipelines", "team": "etl"},
        "attached": [POLICY],
        "inline": {"logs": READ_LOGS},
        "boundary": OTHER_POLICY,
        "description": "For the control plane",
    }
    assert converge.actions == ["create", "change", "leave"]


def test_pods_may_take_a_role_and_tag_their_session(ensure, role):
    ensure(trusted_service="pods.eks.amazonaws.com")
    (statement,) = role()["trust"]["Statement"]
    assert statement["Principal"] == {"Service": "pods.eks.amazonaws.com"}
    assert statement["Action"] == ["sts:AssumeRole", "sts:TagSession"]


def test_a_second_run_writes_nothing(ensure, simulation, converge):
    first = ensure(description="Once")
    simulation.forget_calls()
    assert ensure(description="Once") == first
    assert simulation.writes() == []
    assert converge.actions == ["leave"]


def test_it_has_its_owner_from_the_first_call(aws, wanted, simulation, role):
    resource = IamRole(**wanted)
    simulation.forget_calls()
    resource.apply(aws, resource.plan(aws))
    assert simulation.writes() == ["iam:CreateRole"]
    assert role()["tags"] == {TAG: "pipelines"}


def test_a_run_that_was_killed_after_the_first_call_is_finished_by_the_next(aws, wanted, ensure, role):
    resource = IamRole(**wanted)
    resource.apply(aws, resource.plan(aws))
    ensure()
    assert role()["attached"] == [POLICY]
    assert role()["inline"] == {"logs": READ_LOGS}


def test_a_call_whose_answer_was_lost_is_no_error(simulation, ensure, delete, role):
    simulation.fail("dropped", operation="CreateRole")
    simulation.fail("dropped", operation="AttachRolePolicy")
    ensure()
    assert role()["attached"] == [POLICY]
    for operation in ("DetachRolePolicy", "DeleteRolePolicy", "DeleteRole"):
        simulation.fail("dropped", operation=operation)
    assert delete()["reasons"] == ["it is gone"]


@pytest.mark.parametrize(
    "spelling",
    [
        trust(Sid="Named", Action=["sts:AssumeRole"], Principal={"Service": ["eks.amazonaws.com"]}),
        {**trust(), "Statement": trust()["Statement"][0]},
    ],
    ids=["lists and names", "a single statement"],
)
def test_a_trust_policy_that_means_the_same_is_left(ensure, iam, simulation, converge, spelling):
    ensure()
    iam.update_assume_role_policy(RoleName=NAME, PolicyDocument=json.dumps(spelling))
    simulation.forget_calls()
    ensure()
    assert converge.actions == ["leave"]
    assert simulation.writes() == []


@pytest.mark.parametrize(
    "drifted",
    [
        trust(Principal={"Service": "ec2.amazonaws.com"}),
        trust(Principal={"Service": ["eks.amazonaws.com", "ec2.amazonaws.com"]}),
        trust(Principal={"AWS": "arn:aws:iam::999999999999:root"}),
        trust(Condition={"StringEquals": {"aws:SourceAccount": "123456789012"}}),
        trust(Effect="Deny"),
    ],
    ids=["another", "one more", "an account", "a condition", "nobody"],
)
def test_a_trust_policy_that_means_something_else_is_mended(ensure, iam, role, converge, drifted):
    ensure()
    iam.update_assume_role_policy(RoleName=NAME, PolicyDocument=json.dumps(drifted))
    ensure()
    assert role()["trust"] == trust(Action=["sts:AssumeRole"])
    assert converge.plans[0]["reasons"] == ["others than wanted may take it"]


def test_policies_become_exactly_the_wanted_ones(ensure, iam, role, converge):
    ensure()
    iam.attach_role_policy(RoleName=NAME, PolicyArn=OTHER_POLICY)
    iam.detach_role_policy(RoleName=NAME, PolicyArn=POLICY)
    iam.put_role_policy(RoleName=NAME, PolicyName="more", PolicyDocument=json.dumps(READ_LOGS))
    iam.delete_role_policy(RoleName=NAME, PolicyName="logs")
    ensure()
    assert role()["attached"] == [POLICY]
    assert role()["inline"] == {"logs": READ_LOGS}
    assert converge.plans[0]["reasons"] == [
        f"not attached: {POLICY}",
        f"attached, not wanted: {OTHER_POLICY}",
        "inline policies missing or different: logs",
        "inline policies not wanted: more",
    ]


def test_an_inline_policy_that_differs_is_mended_and_one_that_means_the_same_is_left(ensure, iam, role, simulation):
    ensure()
    (statement,) = READ_LOGS["Statement"]
    reordered = {**READ_LOGS, "Statement": [{**statement, "Action": statement["Action"][::-1], "Resource": ["*"]}]}
    iam.put_role_policy(RoleName=NAME, PolicyName="logs", PolicyDocument=json.dumps(reordered))
    simulation.forget_calls()
    ensure()
    assert simulation.writes() == []
    wider = {**READ_LOGS, "Statement": [{**statement, "Action": "s3:*"}]}
    iam.put_role_policy(RoleName=NAME, PolicyName="logs", PolicyDocument=json.dumps(wider))
    ensure()
    assert role()["inline"] == {"logs": READ_LOGS}


def test_boundary_description_and_tags_are_mended(ensure, iam, role, converge):
    wanted = {"permissions_boundary": POLICY, "description": "Right", "tags": {"team": "etl"}}
    ensure(**wanted)
    iam.put_role_permissions_boundary(RoleName=NAME, PermissionsBoundary=OTHER_POLICY)
    iam.update_role_description(RoleName=NAME, Description="Wrong")
    iam.untag_role(RoleName=NAME, TagKeys=["team"])
    iam.tag_role(RoleName=NAME, Tags=[{"Key": "cost", "Value": "data"}])
    ensure(**wanted)
    assert converge.plans[0]["reasons"] == [
        f"bounded by {OTHER_POLICY}, not by {POLICY}",
        "another description",
        "tags missing or different: team",
    ]
    found = role()
    assert found["boundary"] == POLICY
    assert found["description"] == "Right"
    assert found["tags"] == {TAG: "pipelines", "team": "etl", "cost": "data"}


def test_a_boundary_and_a_description_that_are_not_said_are_left(ensure, iam, role):
    ensure()
    iam.put_role_permissions_boundary(RoleName=NAME, PermissionsBoundary=OTHER_POLICY)
    iam.update_role_description(RoleName=NAME, Description="By hand")
    ensure()
    assert role()["boundary"] == OTHER_POLICY
    assert role()["description"] == "By hand"


def test_a_role_that_was_deleted_is_made_anew(ensure, delete, role):
    ensure()
    delete()
    ensure()
    assert role()["attached"] == [POLICY]


@pytest.mark.parametrize("tags", [[], [{"Key": TAG, "Value": "others"}]], ids=["no tag", "another cluster"])
def test_a_foreign_role_is_refused_and_untouched(ensure, delete, iam, role, simulation, tags):
    iam.create_role(RoleName=NAME, AssumeRolePolicyDocument=json.dumps(trust()), Tags=tags)
    before = role()
    simulation.forget_calls()
    with pytest.raises(ResourceError, match="has not the tag airflow-eks-dask/cluster=pipelines"):
        ensure()
    with pytest.raises(ResourceError, match="has not the tag"):
        delete()
    assert simulation.writes() == []
    assert role() == before


def test_deleting_it_takes_its_policies_and_profiles_and_twice_is_no_error(ensure, delete, iam, role, simulation):
    ensure()
    iam.create_instance_profile(InstanceProfileName="nodes")
    iam.add_role_to_instance_profile(InstanceProfileName="nodes", RoleName=NAME)
    assert delete() == {"kind": "IAM role", "name": NAME, "action": "leave", "reasons": ["it is gone"]}
    assert role() is None
    assert iam.get_instance_profile(InstanceProfileName="nodes")["InstanceProfile"]["Roles"] == []
    simulation.forget_calls()
    assert delete()["reasons"] == ["it is gone"]
    assert simulation.writes() == []


def test_an_existing_role_is_used_and_left_alone(converge, iam, role, simulation):
    iam.create_role(RoleName="theirs", AssumeRolePolicyDocument=json.dumps(trust()))
    iam.attach_role_policy(RoleName="theirs", PolicyArn=OTHER_POLICY)
    before = role("theirs")
    simulation.forget_calls()
    use = EnsureIamRoleOperator(task_id="use", cluster_name="pipelines", role_name="theirs", existing=True)
    assert converge(use)["role_arn"] == "arn:aws:iam::123456789012:role/theirs"
    assert converge.plans[0]["reasons"] == []
    leave = DeleteIamRoleOperator(task_id="leave", cluster_name="pipelines", role_name="theirs", existing=True)
    assert converge(leave)["reasons"] == ["it is not ours to delete"]
    assert simulation.writes() == []
    assert role("theirs") == before


def test_what_an_existing_role_lacks_is_said(converge, iam, simulation):
    iam.create_role(RoleName="theirs", AssumeRolePolicyDocument=json.dumps(trust()))
    simulation.forget_calls()
    use = EnsureIamRoleOperator(
        task_id="use",
        cluster_name="pipelines",
        role_name="theirs",
        existing=True,
        trusted_service="ec2.amazonaws.com",
        policies=[POLICY],
    )
    converge(use)
    assert converge.plans[0]["reasons"] == [
        "not ours to change: others than wanted may take it",
        f"not ours to change: not attached: {POLICY}",
    ]
    assert simulation.writes() == []


def test_an_existing_role_has_to_be_there(converge):
    use = EnsureIamRoleOperator(task_id="use", cluster_name="pipelines", role_name="theirs", existing=True)
    with pytest.raises(ResourceError, match="is to be there already, and is not"):
        converge(use)


def test_a_dry_run_changes_nothing(ensure, role, converge, simulation):
    simulation.forget_calls()
    result = ensure(dry_run=True, policies=[UNKNOWN])
    assert result == {"role_name": NAME, "role_arn": UNKNOWN}
    assert converge.actions == ["create"]
    assert simulation.writes() == []
    assert role() is None


def test_a_dry_run_shows_drift_and_mends_none(ensure, delete, iam, converge, simulation):
    ensure()
    iam.detach_role_policy(RoleName=NAME, PolicyArn=POLICY)
    simulation.forget_calls()
    ensure(dry_run=True)
    assert converge.plans[0]["action"] == "change"
    assert converge.plans[0]["reasons"] == [f"not attached: {POLICY}"]
    assert delete(dry_run=True)["action"] == "delete"
    assert simulation.writes() == []


def test_bad_input_is_refused_at_once_and_all_of_it(converge, simulation):
    operator = EnsureIamRoleOperator(
        task_id="bad",
        cluster_name="no spaces",
        role_name="no/slash",
        trusted_service="lambda.amazonaws.com",
        trust_policy={"Version": "2012-10-17"},
        policies=["no spaces"],
        inline_policies={"empty": {}},
        permissions_boundary="boundary",
    )
    with pytest.raises(ResourceError) as error:
        converge(operator)
    for words in (
        "cluster_name = 'no spaces'",
        "role_name = 'no/slash'",
        "give either trusted_service or trust_policy",
        "trusted_service = 'lambda.amazonaws.com'",
        "policies = 'no spaces'",
        "trust_policy: must be a policy document",
        "inline_policies[empty]: must be a policy document",
        "permissions_boundary = 'boundary': must be an ARN",
    ):
        assert words in str(error.value)
    assert simulation.calls() == []


def test_somebody_has_to_be_trusted():
    role = IamRole(cluster_name="pipelines", role_name=NAME)
    assert role.problems() == ["give either trusted_service or trust_policy"]


@pytest.mark.parametrize(
    ("code", "message", "transient"),
    [
        ("MalformedPolicyDocument", 'Invalid principal in policy: "AWS":"arn"', True),
        ("MalformedPolicyDocument", "Syntax errors in policy", False),
        ("ConcurrentModification", "", True),
        ("DeleteConflict", "", True),
        ("AccessDenied", "", False),
    ],
)
def test_what_goes_away_by_itself_is_tried_again(code, message, transient):
    error = ClientError({"Error": {"Code": code, "Message": message}}, "CreateRole")
    assert IamRole(cluster_name="pipelines", role_name=NAME).is_transient(error) is transient
