"""Stacks of CloudFormation that are made from the package's own templates."""

from __future__ import annotations

import re
from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from botocore.exceptions import ClientError

from airflow_eks_dask.hooks.aws import error_code
from airflow_eks_dask.resources import (
    change_set,
    cloudformation_template,
    ownership,
    stack_drift,
    stack_events,
    validation,
)
from airflow_eks_dask.resources.base import UNKNOWN, Action, Plan, Progress, Resource, ResourceError, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from airflow_eks_dask.hooks.aws import AwsClients

STACK_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,127}")
_LONGEST_SHOWN = 80
"""Characters of a parameter's value up to which it is shown."""


@dataclass(frozen=True, kw_only=True)
class Stack(Resource):
    """
    A stack, compared by template, parameters and tags; what was changed behind its back is found and set right.

    A change set shows what an update would do to each resource, in a dry run too, and is what is executed. A stack
    whose creation failed is deleted and made anew. The provider's ``CloudFormationCreateStackOperator`` raises for a
    stack that is there, and knows neither updates nor events; its hook only wraps three calls: botocore is used.
    Source: https://docs.aws.amazon.com/AWSCloudFormation/latest/APIReference/API_CreateChangeSet.html.

    :param stack_name: What it is called; by default after the cluster.
    :param detect_drift: Whether to look for changes that were not made by CloudFormation, and to take them back.
    """

    timeout: ClassVar[float] = 3600
    template_name: ClassVar[str]
    """The file of the package's template."""
    suffix: ClassVar[str]
    """What the stack's name has behind the cluster's."""
    capabilities: ClassVar[tuple[str, ...]] = ()
    """What CloudFormation wants to be told that the template does."""
    irreplaceable: ClassVar[frozenset[str]] = frozenset()
    """Types of resources that AWS must not make anew: what is in them would be lost."""

    stack_name: str = ""
    detect_drift: bool = True

    @property
    def name(self) -> str:
        """The stack's name."""
        return self.stack_name or f"{self.cluster_name.replace('_', '-')}-{self.suffix}"

    def console_path(self, region: str) -> str:
        """Return the path of its page in the AWS console."""
        return f"cloudformation/home?region={region}#/stacks/events?stackId={self.name}"

    def identity_problems(self) -> list[str]:
        """Return what is wrong with its names."""
        return [
            *validation.cluster_name(self.cluster_name),
            *validation.matches("stack_name", self.name, STACK_NAME, "1 to 128 letters, digits and -, first a letter"),
        ]

    @abstractmethod
    def parameters(self, aws: AwsClients, found: Mapping[str, str]) -> dict[str, str]:
        """
        Return the parameters that the template is to get.

        :param found: Those of the stack that is there; empty if there is none.
        """

    def irreconcilable(self, found: Mapping[str, str], wanted: Mapping[str, str]) -> str | None:
        """Say why the stack can't be changed from some parameters to others; None if it can."""
        return None

    def plan(self, aws: AwsClients) -> Plan:
        """Compare template, parameters and tags; if they agree, look for drift."""
        stack = self._find(aws)
        if stack is None:
            return self._plan_creation(aws)
        if refused := self.refused(ownership.as_mapping(stack.get("Tags"))):
            return refused
        status = stack["StackStatus"]
        if status in stack_events.NEVER_MADE or status == "DELETE_FAILED":
            return self._plan_anew(aws, stack)
        if status in stack_events.STUCK:
            return self._plan_rescue(aws, stack)
        if self.existing:
            return self.a_plan(Action.LEAVE)
        if stack_events.state_of(status) is State.PENDING:
            return self.a_plan(Action.LEAVE, f"something is being done to it already: it is {status}")
        return self._plan_update(aws, stack)

    def _find(self, aws: AwsClients) -> dict[str, Any] | None:
        try:
            return dict(aws.client("cloudformation").describe_stacks(StackName=self.name)["Stacks"][0])
        except ClientError as error:
            if error_code(error) == "ValidationError" and "does not exist" in str(error):
                return None
            raise

    def _plan_creation(self, aws: AwsClients) -> Plan:
        parameters = self.parameters(aws, {})
        made = cloudformation_template.resources(self._template, parameters)
        return self.a_plan(
            Action.CREATE, "there is none", f"it will have {_counted(made.values())}", parameters=parameters
        )

    @property
    def _template(self) -> dict[str, Any]:
        return cloudformation_template.parse(cloudformation_template.shipped(self.template_name))

    def _plan_anew(self, aws: AwsClients, stack: Mapping[str, Any]) -> Plan:
        return self.a_plan(
            Action.DELETE,
            f"it is {stack['StackStatus']}, which AWS can only delete: made anew",
            *self._failures(aws, stack),
            stack_id=stack["StackId"],
        )

    def _plan_rescue(self, aws: AwsClients, stack: Mapping[str, Any]) -> Plan:
        what = "AWS could neither make the last change nor take it back. Mend what it says, then"
        how = f"`aws cloudformation continue-update-rollback --stack-name {self.name}`"
        return self.a_plan(
            Action.REFUSE, f"stack {self.name} is {stack['StackStatus']}: {what} {how}", *self._failures(aws, stack)
        )

    def _plan_update(self, aws: AwsClients, stack: Mapping[str, Any]) -> Plan:
        found = {each["ParameterKey"]: each["ParameterValue"] for each in stack.get("Parameters", ())}
        wanted = self.parameters(aws, found)
        if reason := self.irreconcilable(found, wanted):
            return self.a_plan(Action.REFUSE, f"stack {self.name}: {reason}")
        changes: dict[str, Any] = {"parameters": wanted, "tags": ownership.as_mapping(stack.get("Tags"))}
        reasons = self._differences(aws, stack, found, wanted)
        if not reasons and self.detect_drift:
            reasons = stack_drift.find(aws, self.name)
            changes["revert"] = bool(reasons)
        if not reasons:
            return self.a_plan(Action.LEAVE)
        if any(UNKNOWN in value for value in wanted.values()):
            return self.a_plan(Action.CHANGE, *reasons, **changes)
        return self._preview(aws, reasons, changes)

    def _differences(
        self, aws: AwsClients, stack: Mapping[str, Any], found: Mapping[str, str], wanted: Mapping[str, str]
    ) -> list[str]:
        reasons = []
        text = aws.client("cloudformation").get_template(StackName=self.name)["TemplateBody"]
        if cloudformation_template.parse(text) != self._template:
            reasons.append("its template is another")
        for name, value in wanted.items():
            if found.get(name) != value and UNKNOWN not in value:
                shown = len(f"{found.get(name)}{value}") <= _LONGEST_SHOWN
                reasons.append(f"{name} is {found.get(name)}, not {value}" if shown else f"{name} is another")
        if tags := ownership.tag_changes(self.wanted_tags, ownership.as_mapping(stack.get("Tags"))):
            reasons.append(f"tags missing or different: {', '.join(sorted(tags))}")
        return reasons

    def _preview(self, aws: AwsClients, reasons: list[str], changes: dict[str, Any]) -> Plan:
        """Have AWS say what it would do to each resource."""
        prepared, steps = change_set.create(aws, **self._update(changes))
        change_set.delete(aws, prepared)
        if not steps:
            return self.a_plan(Action.LEAVE, *reasons, "CloudFormation sees nothing that it could change")
        lines = [stack_events.change_line(step) for step in steps]
        if any(self._would_lose(step) for step in steps):
            what = f"what is in a {' or '.join(sorted(self.irreplaceable))} would be lost"
            return self.a_plan(Action.REFUSE, f"stack {self.name} is not as wanted, but {what}", *reasons, *lines)
        return self.a_plan(Action.CHANGE, *reasons, *lines, **changes)

    def _would_lose(self, step: Mapping[str, Any]) -> bool:
        return (
            step["ResourceType"] in self.irreplaceable
            and step.get("Replacement") == "True"
            and step.get("ResourceDriftStatus") != "DELETED"
        )

    def _update(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Return the parameters of ``CreateChangeSet``."""
        request = self._request(changes["parameters"], changes["tags"])
        return request | ({"DeploymentMode": "REVERT_DRIFT"} if changes.get("revert") else {})

    def _request(self, parameters: Mapping[str, str], tags: Mapping[str, str]) -> dict[str, Any]:
        return {
            "StackName": self.name,
            "TemplateBody": cloudformation_template.shipped(self.template_name),
            "Parameters": [
                {"ParameterKey": name, "ParameterValue": value} for name, value in sorted(parameters.items())
            ],
            "Tags": ownership.as_list({**tags, **self.wanted_tags}),
            "Capabilities": list(self.capabilities),
        }

    def apply(self, aws: AwsClients, plan: Plan) -> None:
        """Begin to create it, with its tags; or to change it."""
        if unknown := [name for name, value in plan.changes["parameters"].items() if UNKNOWN in value]:
            raise ResourceError(
                f"{self.kind} {self.name}: {', '.join(unknown)}: not known, as what tells it isn't there"
            )
        if plan.action is Action.CREATE:
            cloudformation = aws.client("cloudformation")
            try:
                cloudformation.create_stack(**self._request(plan.changes["parameters"], {}))
            except cloudformation.exceptions.AlreadyExistsException:
                return
        else:
            prepared, steps = change_set.create(aws, **self._update(plan.changes))
            (change_set.execute if steps else change_set.delete)(aws, prepared)

    def progress(self, aws: AwsClients) -> Progress:
        """Tell the events of what is being done to the stack; of what failed, why."""
        stack = self._find(aws)
        if stack is None:
            return Progress(State.ABSENT)
        state = stack_events.state_of(stack["StackStatus"])
        if state is State.PENDING:
            return Progress(state, tuple(stack_events.as_line(event) for event in self._events(aws, stack)))
        reasons = self._failures(aws, stack) if state is State.FAILED else []
        return Progress(state, (stack["StackStatus"], *reasons))

    def _events(self, aws: AwsClients, stack: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        pages = aws.client("cloudformation").get_paginator("describe_stack_events").paginate(StackName=stack["StackId"])
        return stack_events.last_operation(event for page in pages for event in page["StackEvents"])

    def _failures(self, aws: AwsClients, stack: Mapping[str, Any]) -> list[str]:
        return stack_events.failures(self._events(aws, stack))

    def stack_outputs(self, aws: AwsClients) -> dict[str, str]:
        """Return the stack's outputs, as far as there are any."""
        stack = self._find(aws) or {}
        return {each["OutputKey"]: each["OutputValue"] for each in stack.get("Outputs", ())}

    def plan_deletion(self, aws: AwsClients) -> Plan:
        """Delete it if it is ours and not protected."""
        stack = self._find(aws)
        if stack is None:
            return self.a_plan(Action.LEAVE, "it is gone")
        if refused := self.refused(ownership.as_mapping(stack.get("Tags"))):
            return refused
        if stack.get("EnableTerminationProtection"):
            what = "is protected against being deleted: take that from it in the AWS console"
            return self.a_plan(Action.REFUSE, f"stack {self.name} {what}")
        failed = self._failures(aws, stack) if stack["StackStatus"] == "DELETE_FAILED" else []
        return self.a_plan(Action.DELETE, *failed, stack_id=stack["StackId"])

    def delete(self, aws: AwsClients, plan: Plan) -> None:
        """Begin to delete it, with all that it made."""
        aws.client("cloudformation").delete_stack(StackName=plan.changes["stack_id"])


def _counted(types: Iterable[str]) -> str:
    names = sorted(each.rpartition("::")[2] for each in types)
    return ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names))
