"""What was done to the resources of a stack behind CloudFormation's back: moto doesn't know."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from moto.core.exceptions import ServiceException
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import ec2_backends

if TYPE_CHECKING:
    from moto.cloudformation.models import Stack

Facts = dict[str, Any]
ATTRIBUTES = {
    "AWS::EC2::Subnet": {"map_public_ip_on_launch": "MapPublicIpOnLaunch"},
    "AWS::EC2::VPC": {"enable_dns_support": "EnableDnsSupport", "enable_dns_hostnames": "EnableDnsHostnames"},
}
"""By type: what may be changed of a resource, by moto's and by CloudFormation's name."""


def resource_type(stack: Stack, name: str) -> str:
    """Return the type of a resource of a stack."""
    return str(stack.template_dict["Resources"][name]["Type"])


def facts(stack: Stack) -> dict[str, Facts | None]:
    """Return how the resources of a stack are, by their names in the template; None for what is gone."""
    made = stack.resource_map._parsed_resources
    return {name: _facts(stack, name, made[name]) for name in stack.template_dict["Resources"] if name in made}


def _facts(stack: Stack, name: str, resource: Any) -> Facts | None:
    ec2 = ec2_backends[stack.account_id][stack.region_name]
    identity = getattr(resource, "physical_resource_id", None)
    kind = resource_type(stack, name)
    if not kind.startswith("AWS::EC2::") or not isinstance(identity, str):
        return {}
    if not _is_there(ec2, kind, resource, identity):
        return None
    tags = {tag["key"]: tag["value"] for tag in ec2.describe_tags(filters={"resource-id": [identity]})}
    own = {key: value for key, value in tags.items() if not key.startswith("aws:")}
    return {"Tags": own, **{name: getattr(resource, key) for key, name in ATTRIBUTES.get(kind, {}).items()}}


def _is_there(ec2: Any, kind: str, resource: Any, identity: str) -> bool:
    if kind == "AWS::EC2::Route":
        table = ec2.route_tables.get(resource.route_table.id)
        return table is not None and resource.id in table._routes
    if kind == "AWS::EC2::NatGateway":
        found = ec2.nat_gateways.get(identity)
        return found is not None and found.state == "available"
    if kind == "AWS::EC2::EIP":
        return resource in ec2.describe_addresses()
    if kind not in ("AWS::EC2::VPC", "AWS::EC2::Subnet", "AWS::EC2::RouteTable", "AWS::EC2::InternetGateway"):
        return True
    try:
        return bool(ec2.do_resources_exist([identity]))
    except (EC2ClientError, ServiceException):
        return False


def drifts(stack: Stack) -> list[dict[str, Any]]:
    """Return the resources that aren't as CloudFormation left them, as ``DescribeStackResourceDrifts`` gives them."""
    found = facts(stack)
    return [
        _drift(stack, name, expected, found.get(name))
        for name, expected in stack.left_as.items()
        if found.get(name) != expected
    ]


def _drift(stack: Stack, name: str, expected: Facts | None, found: Facts | None) -> dict[str, Any]:
    differences = [
        {
            "PropertyPath": f"/{key}",
            "ExpectedValue": json.dumps(value),
            "ActualValue": json.dumps((found or {})[key]),
            "DifferenceType": "NOT_EQUAL",
        }
        for key, value in (expected or {}).items()
        if found is not None and found[key] != value
    ]
    return {
        "StackId": stack.stack_id,
        "LogicalResourceId": name,
        "PhysicalResourceId": stack.resource_map._parsed_resources[name].physical_resource_id,
        "ResourceType": resource_type(stack, name),
        "StackResourceDriftStatus": "DELETED" if found is None else "MODIFIED",
        "PropertyDifferences": differences,
        "Timestamp": stack.creation_time,
    }


def revert(stack: Stack) -> None:
    """Make all resources of a stack as CloudFormation left them."""
    ec2 = ec2_backends[stack.account_id][stack.region_name]
    found = facts(stack)
    gone = {name for name, fact in found.items() if fact is None}
    for name in found.keys() - gone:
        _mend(ec2, stack, name, stack.left_as[name] or {}, found[name] or {})
    _make_anew(stack, gone)


def _mend(ec2: Any, stack: Stack, name: str, wanted: Facts, found: Facts) -> None:
    if wanted == found:
        return
    resource = stack.resource_map._parsed_resources[name]
    surplus = dict.fromkeys(found["Tags"].keys() - wanted["Tags"].keys())
    ec2.delete_tags([resource.physical_resource_id], surplus)
    ec2.create_tags([resource.physical_resource_id], wanted["Tags"])
    for key, property_name in ATTRIBUTES.get(resource_type(stack, name), {}).items():
        setattr(resource, key, wanted[property_name])


def _make_anew(stack: Stack, gone: set[str]) -> None:
    resources = stack.template_dict["Resources"]
    anew = set(gone)
    while more := {name for name in resources if any(_refers(resources[name], to) for to in anew)} - anew:
        anew |= more
    made = stack.resource_map._parsed_resources
    for name in anew & made.keys():
        resource = made.pop(name)
        if name not in gone:
            try:
                stack.resource_map._delete_resource(resource, stack.resource_map._resource_json_map[name])
            except (EC2ClientError, ServiceException):
                # It went with what it belonged to.
                continue
    for name in anew & set(stack.resource_map):
        stack.resource_map[name]


def _refers(value: Any, name: str) -> bool:
    if isinstance(value, dict):
        if value.get("Ref") == name or name in str(value.get("Fn::GetAtt", "")).split("'"):
            return True
        return any(_refers(each, name) for each in value.values())
    return isinstance(value, list) and any(_refers(each, name) for each in value)
