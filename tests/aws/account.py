"""What is in an AWS account, so that two can be compared: names, settings and tags, but neither ids nor times."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.aws.simulation import Simulation

LISTS = {
    "cloudformation": {"describe_stacks": "Stacks"},
    "ec2": {
        "describe_vpcs": "Vpcs",
        "describe_subnets": "Subnets",
        "describe_route_tables": "RouteTables",
        "describe_internet_gateways": "InternetGateways",
        "describe_nat_gateways": "NatGateways",
        "describe_addresses": "Addresses",
        "describe_security_groups": "SecurityGroups",
        "describe_network_interfaces": "NetworkInterfaces",
        "describe_vpc_endpoints": "VpcEndpoints",
        "describe_launch_templates": "LaunchTemplates",
    },
    "iam": {
        "list_roles": "Roles",
        "list_instance_profiles": "InstanceProfiles",
        "list_open_id_connect_providers": "OpenIDConnectProviderList",
    },
    "logs": {"describe_log_groups": "logGroups"},
    "rds": {
        "describe_db_instances": "DBInstances",
        "describe_db_subnet_groups": "DBSubnetGroups",
        "describe_db_snapshots": "DBSnapshots",
    },
    "s3": {"list_buckets": "Buckets"},
    "secretsmanager": {"list_secrets": "SecretList"},
}
OF_BUCKET = (
    "get_bucket_tagging",
    "get_bucket_encryption",
    "get_public_access_block",
    "get_bucket_lifecycle_configuration",
    "get_bucket_policy",
    "get_bucket_versioning",
)
RANDOM = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|(?<=-)\d{4}(?:-\d\d){4}\b"  # the minute in which an automated snapshot was made
    r"|(?<=-)[0-9a-f]{8,}\b|(?i:\b[0-9a-z]{12,}(?=\.gr7\.))|(?<=/id/)[0-9A-F]{16,}|\b(?:\d{1,3}\.){3}\d{1,3}\b(?!/)"
    r"|\bip(?:-\d{1,3}){4}\b|(?<=!)\S+|db-[A-Z0-9]{20,}|\b[A-Z]{4}[A-Z0-9]{12,}\b|(?:[0-9a-f]{2}:){5}[0-9a-f]{2}|(?<=-)[A-Za-z0-9]{6}\b(?=\"|$)"
)
"""What differs from one account to the next: ids, addresses, names that AWS makes up."""
FLEETING = {"ResponseMetadata", "CreateDate", "CreationTime", "createdAt", "modifiedAt", "RoleId", "DriftInformation"}


def contents(simulation: Simulation) -> dict[str, list[str]]:
    """Return all that is there by kind: each thing as text, in order."""
    found: dict[str, list[Any]] = {}
    for service, lists in LISTS.items():
        client = simulation.boto(service)
        for operation, key in lists.items():
            # AWS shows for a while what was deleted.
            there = [each for each in getattr(client, operation)()[key] if each.get("State") != "deleted"]
            found[operation] = _canonical(there)
    found["roles in full"] = [_canonical(each) for each in _roles(simulation.boto("iam"))]
    found["buckets in full"] = [_canonical(each) for each in _buckets(simulation.boto("s3"))]
    found["eks"] = [_canonical(each) for each in _eks(simulation.boto("eks"))]
    return {
        kind: sorted(RANDOM.sub("*", json.dumps(each, sort_keys=True)) for each in things)
        for kind, things in found.items()
    }


def differences(before: dict[str, list[str]], after: dict[str, list[str]]) -> list[str]:
    """Return what the one has and the other has not; what is there twice counts twice."""
    lines = []
    for kind in before:
        missing, surplus = list(before[kind]), list(after[kind])
        for each in before[kind]:
            if each in surplus:
                surplus.remove(each)
                missing.remove(each)
        lines += [f"missing in {kind}: {each}" for each in missing]
        lines += [f"too much in {kind}: {each}" for each in surplus]
    return lines


def _canonical(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _canonical(each) for key, each in value.items() if key not in FLEETING and _lasts(each)}
    if isinstance(value, list):
        return sorted((_canonical(each) for each in value), key=lambda each: json.dumps(each, sort_keys=True))
    return value


def _lasts(value: Any) -> bool:
    return isinstance(value, (dict, list, str, int, float, bool))


def _roles(iam: Any) -> Iterator[Any]:
    for role in iam.list_roles()["Roles"]:
        name = {"RoleName": role["RoleName"]}
        inline = iam.list_role_policies(**name)["PolicyNames"]
        yield {
            **iam.get_role(**name)["Role"],
            "attached": iam.list_attached_role_policies(**name)["AttachedPolicies"],
            "inline": [iam.get_role_policy(**name, PolicyName=each)["PolicyDocument"] for each in inline],
        }


def _buckets(s3: Any) -> Iterator[Any]:
    for bucket in s3.list_buckets()["Buckets"]:
        yield {
            "name": bucket["Name"],
            **{each: _or_none(getattr(s3, each), Bucket=bucket["Name"]) for each in OF_BUCKET},
        }


def _or_none(ask: Callable[..., Any], **parameters: Any) -> Any:
    try:
        return ask(**parameters)
    except ask.__self__.exceptions.ClientError as error:
        return str(error)


def _eks(eks: Any) -> Iterator[Any]:
    for name in eks.list_clusters()["clusters"]:
        of = {"clusterName": name}
        yield eks.describe_cluster(name=name)["cluster"]
        for each in eks.list_nodegroups(**of)["nodegroups"]:
            yield eks.describe_nodegroup(**of, nodegroupName=each)["nodegroup"]
        for each in eks.list_addons(**of)["addons"]:
            yield eks.describe_addon(**of, addonName=each)["addon"]
        for each in eks.list_access_entries(**of)["accessEntries"]:
            policies = eks.list_associated_access_policies(**of, principalArn=each)["associatedAccessPolicies"]
            yield {**eks.describe_access_entry(**of, principalArn=each)["accessEntry"], "policies": policies}
        yield from eks.list_pod_identity_associations(**of)["associations"]
