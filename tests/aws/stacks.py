"""CloudFormation that takes time, tells of each resource, and fails: moto's is done at once and always succeeds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from moto.cloudformation import urls
from moto.cloudformation.exceptions import AlreadyExistsException, ValidationError
from moto.cloudformation.models import (
    Change,
    ChangeSet,
    CloudFormationBackend,
    Event,
    Stack,
    cloudformation_backends,
)
from moto.cloudformation.responses import CloudFormationResponse
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult
from moto.ec2.models import ec2_backends
from moto.eks.models import eks_backends
from moto.elbv2.models import elbv2_backends
from moto.rds.models import rds_backends

from tests.aws import drift
from tests.aws.clock import CLOCK

if TYPE_CHECKING:
    from types import ModuleType

_outputs = Stack.outputs.fget
_WITH_OUTPUTS = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_IN_PROGRESS", "UPDATE_ROLLBACK_COMPLETE")


class Stacks(CloudFormationBackend):
    """moto's, in the states that a stack goes through."""

    @property
    def _url_module(self) -> ModuleType:
        return urls

    def create_stack(self, *args: Any, **kwargs: Any) -> Stack:
        stack = super().create_stack(*args, **kwargs)
        trouble = CLOCK.trouble("stack")
        self._begin(stack, "CREATE", *stack.stack_resources)

        def happen() -> None:
            if trouble is None:
                self._end(stack, "CREATE_COMPLETE", *stack.stack_resources)
                return
            first, *_ = stack.stack_resources
            self._tell(stack, "CREATE_FAILED", first, trouble)
            stack.resource_map.delete()
            # Or else moto would make them again as soon as one looks.
            stack.resource_map._resource_json_map.clear()
            self._end(stack, "ROLLBACK_COMPLETE")

        CLOCK.after("stack", happen)
        return stack

    def update_stack(self, name: str, *args: Any, **kwargs: Any) -> Stack:
        stack = self.get_stack(name)
        self._must_rest(stack)
        trouble = CLOCK.trouble("stack")
        if trouble is None:
            before = set(stack.resource_map)
            stack = super().update_stack(name, *args, **kwargs)
            changed = [each for each in stack.stack_resources if each.logical_resource_id not in before]
            self._begin(stack, "UPDATE", *changed)
            CLOCK.after("stack", lambda: self._end(stack, "UPDATE_COMPLETE", *changed))
        else:
            self._fail_update(stack, trouble)
        return stack

    def _fail_update(self, stack: Stack, trouble: str) -> None:
        first, *_ = stack.stack_resources
        self._begin(stack, "UPDATE", first)
        self._tell(stack, "UPDATE_FAILED", first, trouble)
        CLOCK.after("stack", lambda: self._end(stack, "UPDATE_ROLLBACK_COMPLETE"))

    def create_change_set(self, stack_name: str, change_set_name: str, *args: Any, **kwargs: Any) -> tuple[str, str]:
        if self._change_set(change_set_name, stack_name) is not None:
            raise AlreadyExistsException(f"ChangeSet {change_set_name} already exists")
        return super().create_change_set(stack_name, change_set_name, *args, **kwargs)

    def create_reverting_change_set(self, **kwargs: Any) -> tuple[str, str]:
        """Prepare to take back what was done to a stack's resources behind CloudFormation's back."""
        change_set_id, stack_id = self.create_change_set(**kwargs)
        change_set, stack = self.change_sets[change_set_id], self.stacks[stack_id]
        found = drift.drifts(stack)
        change_set.reverts = True
        change_set.changes += [
            Change(
                "Add" if each["StackResourceDriftStatus"] == "DELETED" else "Modify",
                each["LogicalResourceId"],
                each["ResourceType"],
            )
            for each in found
        ]
        if change_set.changes:
            change_set.status, change_set.execution_status, change_set.status_reason = (
                "CREATE_COMPLETE",
                "AVAILABLE",
                None,
            )
        return change_set_id, stack_id

    def _change_set(self, name: str, stack_name: str | None = None) -> ChangeSet | None:
        for change_set_id, change_set in self.change_sets.items():
            if change_set_id == name or (change_set.change_set_name, change_set.stack_name) == (name, stack_name):
                return change_set
        return None

    def describe_change_set(self, change_set_name: str) -> ChangeSet:
        change_set = self._change_set(change_set_name) or self._change_set_named(change_set_name)
        if change_set is None:
            raise ServiceException("ChangeSetNotFound", f"ChangeSet [{change_set_name}] does not exist")
        return change_set

    def _change_set_named(self, name: str) -> ChangeSet | None:
        return next((each for each in self.change_sets.values() if each.change_set_name == name), None)

    def delete_change_set(self, change_set_name: str) -> None:
        del self.change_sets[self.describe_change_set(change_set_name).change_set_id]

    def execute_change_set(self, change_set_name: str, stack_name: str | None = None) -> None:
        change_set = self.describe_change_set(change_set_name)
        if change_set.execution_status != "AVAILABLE":
            raise ServiceException("InvalidChangeSetStatus", f"ChangeSet [{change_set_name}] cannot be executed")
        stack = self.stacks[change_set.stack_id]
        if change_set.change_set_type == "UPDATE" and (trouble := CLOCK.trouble("stack")):
            del self.change_sets[change_set.change_set_id]
            self._fail_update(stack, trouble)
            return
        super().execute_change_set(change_set_name, stack_name)
        if getattr(change_set, "reverts", False):
            drift.revert(stack)
        del self.change_sets[change_set.change_set_id]
        stack.parameters, stack.tags = change_set.parameters, change_set.tags
        stack._parse_template()
        stack.output_map = stack._create_output_map()
        operation = stack.status.partition("_")[0]
        self._begin(stack, operation)
        CLOCK.after("stack", lambda: self._end(stack, f"{operation}_COMPLETE", *stack.stack_resources))

    def delete_stack(self, name_or_stack_id: str) -> None:
        stack = next((each for each in self.stacks.values() if name_or_stack_id in (each.name, each.stack_id)), None)
        if stack is None or stack.status == "DELETE_IN_PROGRESS":
            return
        if stack.enable_termination_protection:
            raise ValidationError(
                message=f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled"
            )
        self._begin(stack, "DELETE", *stack.stack_resources)
        CLOCK.after("stack", lambda: self._finish_deletion(stack))

    def _finish_deletion(self, stack: Stack) -> None:
        trouble = CLOCK.trouble("stack") or self._what_uses(stack)
        if trouble is None:
            super().delete_stack(stack.stack_id)
            return
        first, *_ = stack.stack_resources
        self._tell(stack, "DELETE_FAILED", first, trouble)
        self._end(stack, "DELETE_FAILED")

    def _what_uses(self, stack: Stack) -> str | None:
        """Say what else is in the subnets of a stack: AWS won't delete those."""
        where = (self.account_id, self.region_name)
        eks, rds, elbv2, ec2 = (
            backends[where[0]][where[1]] for backends in (eks_backends, rds_backends, elbv2_backends, ec2_backends)
        )
        mine = {each.physical_resource_id for each in stack.stack_resources if hasattr(each, "physical_resource_id")}
        users = {
            **{f"cluster {name}": each.of["resourcesVpcConfig"]["subnetIds"] for name, each in eks.clusters.items()},
            **{
                f"database {name}": [subnet.id for subnet in each.db_subnet_group.subnets]
                for name, each in rds.databases.items()
                if each.db_subnet_group
            },
            **{f"load balancer {each.name}": each.subnets for each in elbv2.load_balancers.values()},
            **{
                f"security group {group.name}": [group.vpc_id]
                for groups in ec2.groups.values()
                for group in groups.values()
                if group.name != "default" and group.id not in mine
            },
        }
        using = [user for user, places in users.items() if mine & set(places)]
        return f"has dependencies and cannot be deleted: {', '.join(using)}" if using else None

    def _must_rest(self, stack: Stack) -> None:
        if stack.status.endswith("IN_PROGRESS") or stack.status == "ROLLBACK_COMPLETE":
            raise ValidationError(message=f"Stack:{stack.stack_id} is in {stack.status} state and can not be updated.")

    def _begin(self, stack: Stack, operation: str, *resources: Any) -> None:
        stack.status = f"{operation}_IN_PROGRESS"
        for resource in resources:
            self._tell(stack, stack.status, resource)

    def _end(self, stack: Stack, status: str, *resources: Any) -> None:
        for resource in resources:
            self._tell(stack, status, resource)
        stack.status = status
        stack._add_stack_event(status)
        if status in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            stack.left_as = drift.facts(stack)

    def _tell(self, stack: Stack, status: str, resource: Any, reason: str | None = None) -> None:
        stack.events.append(
            Event(
                stack_id=stack.stack_id,
                stack_name=stack.name,
                logical_resource_id=resource.logical_resource_id,
                physical_resource_id=getattr(resource, "physical_resource_id", ""),
                resource_type=drift.resource_type(stack, resource.logical_resource_id),
                resource_status=status,
                resource_status_reason=reason,
                resource_properties=None,
            )
        )


class StacksResponse(CloudFormationResponse):
    """moto's, with drift."""

    def create_change_set(self) -> ActionResult:
        if self._get_param("DeploymentMode") != "REVERT_DRIFT":
            return super().create_change_set()
        change_set_id, stack_id = self.cloudformation_backend.create_reverting_change_set(
            stack_name=self._get_param("StackName"),
            change_set_name=self._get_param("ChangeSetName"),
            template=self._get_param("TemplateBody"),
            parameters={each["ParameterKey"]: each["ParameterValue"] for each in self._get_param("Parameters", [])},
            description=self._get_param("Description"),
            tags={each["Key"]: each["Value"] for each in self._get_param("Tags", [])},
            change_set_type="UPDATE",
        )
        return ActionResult({"Id": change_set_id, "StackId": stack_id})

    def detect_stack_drift(self) -> ActionResult:
        stack = self.cloudformation_backend.get_stack(self._get_param("StackName"))
        return ActionResult({"StackDriftDetectionId": stack.stack_id})

    def describe_stack_drift_detection_status(self) -> ActionResult:
        stack = self.cloudformation_backend.get_stack(self._get_param("StackDriftDetectionId"))
        found = drift.drifts(stack)
        return ActionResult(
            {
                "StackId": stack.stack_id,
                "StackDriftDetectionId": stack.stack_id,
                "StackDriftStatus": "DRIFTED" if found else "IN_SYNC",
                "DetectionStatus": "DETECTION_COMPLETE",
                "DriftedStackResourceCount": len(found),
                "Timestamp": stack.creation_time,
            }
        )

    def describe_stack_resource_drifts(self) -> ActionResult:
        stack = self.cloudformation_backend.get_stack(self._get_param("StackName"))
        return ActionResult({"StackResourceDrifts": drift.drifts(stack)})


def install() -> None:
    """Take the place of moto's."""
    cloudformation_backends.backend = Stacks
    urls.url_paths.update(dict.fromkeys(urls.url_paths, StacksResponse.dispatch))
    Stack.outputs = property(lambda stack: _outputs(stack) if stack.status in _WITH_OUTPUTS else None)
