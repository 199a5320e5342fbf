"""The AWS half of the DAG that builds a cluster, against a simulated AWS."""

from __future__ import annotations

import json

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_eks_dask.resources.base import ResourceError
from tests.aws import account, iam_policy

BROKEN = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    # What is polled is there already.
    monkeypatch.setattr("time.sleep", lambda _: None)


def test_a_plan_changes_nothing_and_is_in_the_note(simulation, start, api, variables):
    run = start(plan_only=True).run()
    assert simulation.writes() == []
    assert variables == {}
    ran = set(run.results)
    assert ran == {"preflight.form", "preflight.check", "plan.plan", "plan.go_on"}
    plan = run.results["plan.plan"]
    assert plan["totals"]["create"] == len(plan["plans"]) > 15
    assert api.runs[0]["note"].startswith("**Plan for pipelines (eu-central-1)**: ")
    assert "Nothing was changed" in api.runs[0]["note"]


def test_what_was_planned_is_built_and_nothing_is_left_to_do(simulation, start, variables):
    first = start().run()
    planned = first.results["plan.plan"]["plans"]
    built = [name for name in first.results if name.split(".")[0] not in ("preflight", "plan")]
    gates = {"database.choose", "bucket.is_wanted", "access.each_admin", "access.former_admins"}
    assert len(set(built) - gates) == len(planned)
    assert first.skipped == {"database.existing", "access.admins", "access.no_admins"}
    assert variables["eks_dask_eu-central-1_pipelines"]["cidr"] == "10.20.0.0/16"
    simulation.forget_calls()
    again = start().run()
    assert again.results["plan.plan"]["totals"]["leave"] == len(planned)
    assert simulation.writes() == []


@pytest.mark.parametrize("operation", ["DescribeStacks", "CreateStack"])
def test_what_aws_denies_is_asked_for_again_only_by_somebody(simulation, start, operation):
    simulation.fail("denied", operation=operation)
    with pytest.raises(AirflowFailException, match="Allow that to the credentials of aws_conn_id, and clear the task"):
        start().run()
    start().run()


def test_parts_that_are_not_wanted_are_skipped_and_hold_up_nothing(simulation, start):
    run = start(database="none", bucket=False).run()
    assert {name for name in run.skipped if name.startswith(("database", "bucket"))} == {
        "database.subnets",
        "database.security_group",
        "database.instance",
        "database.existing",
        "bucket.bucket",
    }
    assert {"nodes.nodes", "addons.coredns", "access.worker_role"} <= set(run.results)
    assert simulation.boto("rds").describe_db_instances()["DBInstances"] == []
    assert simulation.boto("s3").list_buckets()["Buckets"] == []


def test_an_existing_network_is_used_and_left_as_it_is(simulation, start, aws):
    made = start(cluster_name="other", database="none", bucket=False).run(until="cluster")
    network = made.results["network.network"]
    # The simulation forgets what the template says about it.
    simulation.boto("ec2").modify_vpc_attribute(VpcId=network["vpc_id"], EnableDnsHostnames={"Value": True})
    form = {"vpc_id": network["vpc_id"], "private_subnet_ids": network["private_subnet_ids"]}
    simulation.forget_calls()
    run = start(**form, database="none").run()
    assert run.results["network.network"]["vpc_id"] == network["vpc_id"]
    assert not [call for call in simulation.writes() if call.startswith("cloudformation")]
    cluster = simulation.boto("eks").describe_cluster(name="pipelines")["cluster"]
    assert sorted(cluster["resourcesVpcConfig"]["subnetIds"]) == sorted(network["private_subnet_ids"])


def test_an_existing_database_is_looked_at(start):
    start(cluster_name="other").run()
    run = start(database="existing", database_identifier="other").run()
    assert run.results["database.existing"]["database_identifier"] == "other"
    with pytest.raises(ResourceError, match="is to be there already, and is not"):
        start(cluster_name="third", database="existing", database_identifier="nowhere").run()


def test_two_clusters_side_by_side_share_nothing(simulation, start):
    start().run()
    before = account.contents(simulation)
    start(cluster_name="second", connection_id="dask_second").run()
    after = account.contents(simulation)
    roles = [role["RoleName"] for role in simulation.boto("iam").list_roles()["Roles"]]
    assert len([name for name in roles if name.startswith("pipelines-eu-central-1-")]) == 4
    assert len([name for name in roles if name.startswith("second-eu-central-1-")]) == 4
    assert before != after
    simulation.forget_calls()
    start().run()
    assert simulation.writes() == []


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"vpc_id": "vpc-0123456789abcdef0"}, "private_subnet_ids: an existing network needs two"),
        ({"private_subnet_ids": ["subnet-0123456789abcdef0"]}, "vpc_id: is needed with private_subnet_ids"),
        ({"cidr": "10.20.0.1/16"}, "cidr = '10.20.0.1/16': must be an IPv4 network"),
        ({"cidr": "10.0.0.0/8"}, "must be from /16 to /24"),
        ({"min_nodes": 5, "max_nodes": 4}, "max_nodes = 4: must be min_nodes = 5 or more"),
        ({"database": "existing"}, "database_identifier: is needed"),
        ({"dask_source_ranges": ["0.0.0.0/0"]}, "is everybody; name the addresses of Airflow"),
        ({"execution_api_url": "http://localhost:8080/execution/"}, "workers on other machines can't reach that"),
        ({"execution_api_url": "http://127.0.0.1:8080/execution/"}, "workers on other machines can't reach that"),
        ({"execution_api_ca": BROKEN}, "execution_api_ca: is no certificate in PEM"),
        (
            {"execution_api_ca": BROKEN, "execution_api_url": "http://airflow.example.com/execution/"},
            "execution_api_ca: is of no use with http://airflow.example.com/execution/, which is not https",
        ),
    ],
)
def test_a_form_that_can_not_be_is_refused_before_anything_is_made(simulation, start, form, words):
    with pytest.raises(AirflowFailException) as error:
        start(**form).run()
    assert words in str(error.value)
    assert simulation.writes() == []


def test_what_would_leave_something_behind_is_refused(simulation, start):
    start().run()
    simulation.forget_calls()
    with pytest.raises(AirflowFailException) as error:
        start(namespace="other", connection_id="dask_other").run()
    assert "namespace = 'other': the cluster was built with 'dask'" in str(error.value)
    assert "connection_id = 'dask_other': the cluster was built with 'dask_default'" in str(error.value)
    assert simulation.writes() == []


def test_all_that_is_wrong_is_told_at_once(start, api):
    api.connections["dask_default"] = {"connection_id": "dask_default", "description": "mine"}
    with pytest.raises(AirflowFailException) as error:
        start(min_nodes=9, database="existing").run()
    for words in ("max_nodes = 4", "database_identifier: is needed", "was not written for pipelines (eu-central-1)"):
        assert words in str(error.value)


def test_nothing_is_begun_that_could_not_be_handed_over(simulation, start, api):
    api.logins = {}
    with pytest.raises(AirflowFailException, match=r"airflow_api_conn_id: .* answered 401"):
        start().run()
    assert simulation.writes() == []


def test_an_image_that_is_not_in_the_registry_is_missed_at_once(simulation, start):
    with pytest.raises(ResourceError, match=r"There is no image 123456789012\.dkr\.ecr\.eu-central-1"):
        start(image_repository="").run()
    ecr = simulation.boto("ecr")
    ecr.create_repository(repositoryName="airflow-eks-dask")
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": {"digest": "sha256:0"}, "layers": []})
    ecr.put_image(repositoryName="airflow-eks-dask", imageTag="blue", imageManifest=manifest)
    run = start(image_repository="", image_tag="blue", plan_only=True).run()
    assert "plan.plan" in run.results
    start(image_repository="", image_tag="blue").run(until="plan")


def test_each_task_that_works_in_aws_leads_to_the_console(start):
    run = start().run()
    made = {name for name in run.results if name.split(".")[1] not in ("choose", "is_wanted", "go_on", "remember")}
    assert run.links.keys() == made - {"access.each_admin", "access.former_admins"}
    assert all(link.startswith("https://console.aws.amazon.com/") for link in run.links.values())


def test_administrators_are_those_of_the_form_and_no_others(simulation, start, remove):
    eks = simulation.boto("eks")
    ada, ben = (f"arn:aws:iam::123456789012:role/{name}" for name in ("ada", "ben"))

    def admitted():
        return set(eks.list_access_entries(clusterName="pipelines")["accessEntries"])

    for arn in (ada, ben):
        simulation.boto("iam").create_role(RoleName=arn.rpartition("/")[2], AssumeRolePolicyDocument="{}")
    start(admins=[ada, ben]).run()
    others = admitted() - {ada, ben}
    eks.create_access_entry(clusterName="pipelines", principalArn="arn:aws:iam::123456789012:role/pipelines-by-hand")
    start(admins=[ben]).run()
    assert admitted() == others | {ben, "arn:aws:iam::123456789012:role/pipelines-by-hand"}
    assert remove(**GONE).run().results["nodes.each_admin"] == [ben]


def test_the_note_says_what_was_made_and_what_comes_next(start, api):
    run = start().run()
    run.results["hand_over.publish"] = {"address": "tls://10.20.0.9:8786", "slots": 8}
    note = run.execute(run.dag.get_task("hand_over.summary"))
    assert api.runs[0]["note"] == note
    assert len(note) < 1000
    for words in (
        "**pipelines (eu-central-1) runs Airflow's tasks**: 8 slots at `tls://10.20.0.9:8786`, Kubernetes 1.",
        "airflow eks-dask kubeconfig --cluster pipelines --region eu-central-1",
        "airflow eks-dask dashboard",
        ".rds.amazonaws.com`",
        "`pipelines-123456789012-eu-central-1-data`",
        "`eks_dask_teardown`",
    ):
        assert words in note


def test_the_note_is_silent_about_what_is_not_there(start):
    run = start(database="none", bucket=False, dashboard=False).run()
    run.results["hand_over.publish"] = {"address": "tls://10.20.0.9:8786", "slots": 8}
    note = run.execute(run.dag.get_task("hand_over.summary"))
    assert not [word for word in ("PostgreSQL", "Bucket", "Headlamp") if word in note]


def test_a_note_that_can_not_be_written_fails_nothing(start, api, caplog):
    run = start(plan_only=True)
    api.runs = []
    run.run()
    assert "The note of the run could not be written" in caplog.text


GONE = {"database": "delete", "keep_bucket": False}


def test_nothing_is_left_and_the_cluster_forgotten(simulation, start, remove, api, variables):
    empty = account.contents(simulation)
    start(connection_id="dask_pipelines").run()
    run = remove(**GONE).run()
    assert run.results["end.leftovers"] == {"left": [], "kept": []}
    assert account.differences(empty, account.contents(simulation)) == []
    assert variables == {}
    assert api.runs[1]["note"].startswith("**pipelines (eu-central-1) is gone**")


def test_data_is_kept_unless_told_otherwise(simulation, start, remove, api):
    start().run()
    run = remove().run()
    assert run.results["end.leftovers"]["left"] == []
    kept = {each["kind"] for each in run.results["end.leftovers"]["kept"]}
    assert {"rds:db", "s3:bucket"} <= kept
    assert "network.network" in run.skipped
    assert simulation.boto("eks").list_clusters()["clusters"] == []
    assert simulation.boto("rds").describe_db_instances()["DBInstances"][0]["DBInstanceStatus"] == "available"
    assert "- kept: `arn:aws:rds:" in api.runs[1]["note"]


def test_a_database_that_a_later_form_does_without_is_kept_as_well(simulation, start, remove):
    start(bucket=False).run()
    start(bucket=False, database="none").run()
    run = remove().run()
    assert run.results["end.leftovers"]["left"] == []
    assert simulation.boto("rds").describe_db_instances()["DBInstances"]


def test_a_snapshot_outlives_a_database_that_goes(simulation, start, remove):
    start(bucket=False).run()
    run = remove(database="snapshot").run()
    (snapshot,) = simulation.boto("rds").describe_db_snapshots()["DBSnapshots"]
    assert snapshot["DBSnapshotIdentifier"].startswith("pipelines-final")
    assert [each["kind"] for each in run.results["end.leftovers"]["kept"]] == ["rds:snapshot"]


def test_a_removal_that_was_cut_short_goes_on(simulation, start, remove):
    start().run()
    remove(**GONE).run(until="cluster")
    assert simulation.boto("eks").list_clusters()["clusters"] == ["pipelines"]
    assert remove(**GONE).run().results["end.leftovers"] == {"left": [], "kept": []}


def test_what_was_half_built_is_removed(start, remove):
    start().run(until="nodes")
    assert remove(**GONE).run().results["end.leftovers"] == {"left": [], "kept": []}


def test_what_others_have_made_stays(simulation, start, remove):
    made = start(cluster_name="other", database="none", bucket=False).run(until="cluster")
    network = made.results["network.network"]
    simulation.boto("ec2").modify_vpc_attribute(VpcId=network["vpc_id"], EnableDnsHostnames={"Value": True})
    form = {"vpc_id": network["vpc_id"], "private_subnet_ids": network["private_subnet_ids"]}
    start(**form, connection_id="dask_pipelines").run()
    assert remove(**GONE).run().results["end.leftovers"] == {"left": [], "kept": []}
    assert simulation.boto("ec2").describe_vpcs(VpcIds=[network["vpc_id"]])["Vpcs"]
    roles = [role["RoleName"] for role in simulation.boto("iam").list_roles()["Roles"]]
    assert "other-eu-central-1-cluster" in roles


def test_a_name_that_is_typed_in_two_ways_removes_nothing(simulation, start, remove):
    start().run()
    simulation.forget_calls()
    with pytest.raises(AirflowFailException, match="The names 'pipelines' and 'pipeline' differ: nothing is removed"):
        remove(cluster_name_again="pipeline").run()
    assert simulation.writes() == []


def test_a_cluster_that_is_not_known_is_not_guessed_at(remove):
    with pytest.raises(AirflowFailException, match="Nothing is known of a cluster nowhere in eu-central-1"):
        remove(cluster_name="nowhere").run()


OF_CHECKS = {
    *("ec2:DescribeInstanceTypeOfferings", "ec2:DescribeRegions", "service-quotas:GetServiceQuota"),
    "sts:GetCallerIdentity",
}
"""What the preflight asks; it warns of what it may not ask."""


def test_the_policy_allows_all_that_building_and_removing_call(simulation, start, remove):
    start().run()
    calls = simulation.calls()
    simulation.forget_calls()
    remove(**GONE).run()
    needed = {action for call in [*calls, *simulation.calls()] for action in iam_policy.actions_of(call)}
    allowed: set[str] = set()
    for statement in json.loads(iam_policy.FILE.read_text())["Statement"]:
        actions = statement["Action"]
        allowed |= {actions} if isinstance(actions, str) else set(actions)
    assert needed - allowed <= OF_CHECKS
