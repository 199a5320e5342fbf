"""
What a template means to CloudFormation, where moto forgets it.

In an update: conditions, parameters and tags; in a deletion: all kinds of resources of a network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.cloudformation import parsing
from moto.cloudformation.models import Change, ChangeSet, CloudFormationBackend, Stack
from moto.cloudformation.parsing import ResourceMap, clean_json, parse_and_update_resource
from moto.cloudformation.responses import CloudFormationResponse
from moto.ec2.models import EC2Backend, ec2_backends
from moto.ec2.models.core import TaggedEC2Resource

if TYPE_CHECKING:
    from collections.abc import Callable

PASSES = 6
"""How often to try what depends on each other, in whatever order."""

IMAGES = "/aws/service/eks/optimized-ami/"
IMAGE = "ami-0123456789abcdef0"
"""What all public parameters of EKS stand for."""

_create_change_set = CloudFormationBackend.create_change_set
_create_subnet_association = EC2Backend.create_subnet_association
_clean_json = clean_json
_delete_resource_of_moto = ResourceMap._delete_resource
_parse_ssm_parameter = ResourceMap.parse_ssm_parameter


class _Known(dict[str, Any]):
    """Resources and parameters as far as they are known; what is yet to be made is called by its name."""

    def __init__(self, resources: ResourceMap, made: dict[str, Any]) -> None:
        super().__init__(made)
        self.lazy_condition_map = resources.lazy_condition_map

    def __missing__(self, name: str) -> Any:
        return _Unmade(name)

    def get(self, name: str, default: Any = None) -> Any:
        return self[name]


class _Unmade:
    def __init__(self, name: str) -> None:
        self.physical_resource_id = f"({name})"

    def get_cfn_attribute(self, name: str) -> str:
        return f"{self.physical_resource_id}.{name}"


def _clean_without_gaps(value: Any, resources: ResourceMap) -> Any:
    """Leave out of lists what is ``AWS::NoValue``."""
    cleaned = _clean_json(value, resources)
    return [each for each in cleaned if each is not None] if isinstance(value, list) else cleaned


def _present(resources: ResourceMap) -> set[str]:
    """Return the names of the resources that are to be there."""
    return {
        name
        for name, each in resources._resource_json_map.items()
        if "Condition" not in each or resources.lazy_condition_map[each["Condition"]]
    }


def _properties(resources: ResourceMap, name: str, made: dict[str, Any] | None = None) -> Any:
    known = _Known(resources, (made or {}) | resources._parsed_resources)
    return clean_json(resources._resource_json_map[name].get("Properties", {}), known)  # type: ignore[arg-type]


def _stack_resources(stack: Stack) -> list[Any]:
    """Return those that are there: not those whose condition doesn't hold."""
    made, names = stack.resource_map._parsed_resources, stack.resource_map._resource_json_map
    return [made[name] for name in names if made.get(name) is not None]


def _parameter_list(stack: Stack) -> list[dict[str, Any]]:
    """Return parameters as they were given, and what those of SSM stand for."""
    slots = stack.template_dict.get("Parameters", {})
    given = {name: slot.get("Default", "") for name, slot in slots.items()} | stack.resource_map.input_parameters
    resolved = stack.resource_map.resolved_parameters
    return [
        {"ParameterKey": name, "ParameterValue": str(given[name])}
        | ({"ResolvedValue": resolved[name]} if "SSM" in slot["Type"] else {})
        for name, slot in slots.items()
    ]


def _parse_public_parameter(resources: ResourceMap, value: str, value_type: str) -> str:
    if not value.startswith(IMAGES):
        return _parse_ssm_parameter(resources, value, value_type)
    return IMAGE


def _diff(change_set: ChangeSet) -> list[Change]:
    """Compare what a stack has with what it is to have, property by property."""
    stack = change_set.stack
    then = ResourceMap(
        stack.stack_id,
        stack.name,
        change_set.parameters,
        change_set.tags or {},
        stack.region_name,
        stack.account_id,
        change_set.template_dict,
        {},
    )
    then.load()
    now = stack.resource_map
    if not now._resource_json_map:
        now.load()
    before, after = _present(now), _present(then)
    made = {name: now._parsed_resources[name] for name in before if name in now._parsed_resources}
    kinds = {name: each["Type"] for name, each in {**now._resource_json_map, **then._resource_json_map}.items()}
    changed = dict.fromkeys(before - after, "Remove") | dict.fromkeys(after - before, "Add")
    for name in before & after:
        if change_set.tags != stack.tags or _properties(now, name) != _properties(then, name, made):
            changed[name] = "Modify"
    return [Change(action, name, kinds[name]) for name, action in sorted(changed.items())]


def _create(backend: CloudFormationBackend, *args: Any, **kwargs: Any) -> tuple[str, str]:
    """Let other tags be a change too."""
    change_set_id, stack_id = _create_change_set(backend, *args, **kwargs)
    change_set = backend.change_sets[change_set_id]
    if change_set.changes:
        change_set.status, change_set.execution_status, change_set.status_reason = "CREATE_COMPLETE", "AVAILABLE", None
    return change_set_id, stack_id


def _apply(change_set: ChangeSet) -> None:
    stack = change_set.stack
    stack.resource_map.update(change_set.template_dict, change_set.parameters)
    ec2 = ec2_backends[stack.account_id][stack.region_name]
    for resource in _stack_resources(stack):
        if isinstance(resource, TaggedEC2Resource):
            own = _properties(stack.resource_map, resource.logical_resource_id).get("Tags", [])
            tags = {**(change_set.tags or {}), **{tag["Key"]: tag["Value"] for tag in own}}
            ec2.create_tags([resource.physical_resource_id], tags)


def _update(self: ResourceMap, template: dict[str, Any], parameters: dict[str, Any] | None = None) -> None:
    """Make, change and remove resources as template, parameters and conditions want it."""
    if not self._resource_json_map:
        self.load()
    before = {name: _properties(self, name) for name in _present(self)}
    old = dict(self._resource_json_map)
    self._template, self.input_parameters = template, parameters or self.input_parameters
    self.load_mapping()
    self.load_parameters()
    self.load_conditions()
    self._resource_json_map = template["Resources"]
    after = _present(self)

    def remove(name: str) -> None:
        self._delete_resource(self._parsed_resources[name], old[name])
        del self._parsed_resources[name]

    def change(name: str) -> None:
        changed = parse_and_update_resource(
            name, self._resource_json_map[name], self, account_id=self._account_id, region_name=self._region_name
        )
        if changed is not None:
            self._parsed_resources[name] = changed

    for name in after:
        self[name]
    _in_some_order({name for name in before.keys() & after if before[name] != _properties(self, name)}, change)
    _in_some_order(before.keys() - after, remove)


def _associate(ec2: EC2Backend, route_table_id: str, subnet_id: str) -> Any:
    ec2.associate_route_table(route_table_id, subnet_id=subnet_id)
    return _create_subnet_association(ec2, route_table_id, subnet_id)


def _delete_resource(self: ResourceMap, resource: Any, resource_json: dict[str, Any]) -> None:
    delete = _DELETIONS.get(resource_json["Type"].removeprefix("AWS::EC2::"))
    if delete is None:
        _delete_resource_of_moto(self, resource, resource_json)
    else:
        delete(ec2_backends[self._account_id][self._region_name], resource)


def _delete_association(ec2: Any, association: Any) -> None:
    for table in ec2.route_tables.values():
        for association_id, target in list(table._associations.items()):
            if (table.id, target) == (association.route_table_id, association.subnet_id):
                ec2.disassociate_route_table(association_id)


def _delete_nat_gateway(ec2: Any, gateway: Any) -> None:
    ec2.delete_nat_gateway(gateway.id)
    ec2.delete_network_interface(gateway._eni.id)


_DELETIONS: dict[str, Callable[[Any, Any], Any]] = {
    "RouteTable": lambda ec2, table: ec2.delete_route_table(table.id),
    "SubnetRouteTableAssociation": _delete_association,
    "InternetGateway": lambda ec2, gateway: ec2.delete_internet_gateway(gateway.id),
    "VPCGatewayAttachment": lambda ec2, each: ec2.detach_internet_gateway(each.gateway_id, each.vpc_id),
    "VPCEndpoint": lambda ec2, endpoint: ec2.vpc_end_points.pop(endpoint.id),
    "NatGateway": _delete_nat_gateway,
    "EIP": lambda ec2, address: ec2.release_address(allocation_id=address.allocation_id),
    "SecurityGroup": lambda ec2, group: ec2.delete_security_group(group_id=group.id),
}
"""What moto leaves where it is."""


def _in_some_order(names: set[str], act: Callable[[str], None]) -> None:
    for attempt in range(PASSES):
        for name in sorted(names):
            try:
                act(name)
            except Exception:
                # Another one uses it, whose turn is yet to come.
                if attempt == PASSES - 1:
                    raise
            else:
                names = names - {name}


def install() -> None:
    """Take the place of moto's."""
    parsing.clean_json = _clean_without_gaps
    ResourceMap.update = _update
    ResourceMap._delete_resource = _delete_resource
    ResourceMap.parse_ssm_parameter = _parse_public_parameter
    Stack.parameter_list = property(_parameter_list)
    Stack.stack_resources = property(_stack_resources)
    ChangeSet.diff = _diff
    ChangeSet.apply = _apply
    CloudFormationBackend.create_change_set = _create
    EC2Backend.create_subnet_association = _associate
    # AWS says in the change set's status that nothing would change.
    CloudFormationResponse._validate_different_update = lambda *_: None
