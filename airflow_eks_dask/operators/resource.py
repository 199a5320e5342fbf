"""What all operators for AWS resources have in common: plan, apply, wait, and again until there is nothing to do."""

from __future__ import annotations

import inspect
import time
from abc import abstractmethod
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from botocore.exceptions import ClientError
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random_exponential

from airflow_eks_dask.hooks.aws import AwsClients
from airflow_eks_dask.hooks.pricing import Prices
from airflow_eks_dask.links.aws import AwsConsoleLink
from airflow_eks_dask.operators._deferral import is_deferrable
from airflow_eks_dask.operators._denial import failing_for_good_if_denied
from airflow_eks_dask.operators._text import TextOperator, is_true
from airflow_eks_dask.resources import validation
from airflow_eks_dask.resources.base import Action, Plan, Progress, Resource, ResourceError, State
from airflow_eks_dask.resources.waiting import Watcher
from airflow_eks_dask.resources.wanted_state import needed_fields, read_wanted
from airflow_eks_dask.triggers.resource import ResourceTrigger

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from airflow.sdk import Context

PLAN_KEY = "plan"
"""The XCom key under which each operator leaves its plan."""

_PATIENCE = 120.0
"""Seconds for which something that goes away by itself is tried again, such as a role that not all of AWS knows yet."""

_ROUNDS_WITHOUT_EFFECT = 5
"""How often a change is made again that AWS took and does not show: what it tells may be older than what it did."""


class ResourceOperator(TextOperator):
    """
    Looks after one AWS resource; its further parameters are those of :attr:`resource_class`.

    :param aws_conn_id: Airflow connection of type AWS; None for what boto3 finds by itself.
    :param region_name: Region; None for the connection's own.
    :param dry_run: Whether to say only what would be done, and why.
    :param deferrable: Whether to wait in the triggerer, without a slot. Default: ``[operators] default_deferrable``.
    :param poll_interval: Seconds between two looks while waiting.
    :param timeout: Seconds that all of it may take. Default: those of the resource's class.
    """

    resource_class: ClassVar[type[Resource]]

    template_fields: Sequence[str] = ("aws_conn_id", "region_name", "is_dry_run", "wanted")
    template_fields_renderers: ClassVar[dict[str, str]] = {"wanted": "json"}
    operator_extra_links = (AwsConsoleLink(),)
    ui_color = "#f5e6cc"

    def __init__(
        self,
        *,
        aws_conn_id: str | None = "aws_default",
        region_name: str | None = None,
        dry_run: bool | str = False,
        deferrable: bool | None = None,
        poll_interval: float = 15,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> None:
        names = self.resource_class.field_names()
        wanted = {name: kwargs.pop(name) for name in names if name in kwargs}
        super().__init__(**kwargs)
        self.aws_conn_id = aws_conn_id
        self.region_name = region_name
        self.is_dry_run = dry_run
        self.deferrable = is_deferrable(deferrable)
        self.poll_interval = poll_interval
        self.timeout = timeout
        self.wanted = wanted

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Give an operator the parameters of its resource, as Airflow reads them for default_args and mapping."""
        super().__init_subclass__(**kwargs)
        if "resource_class" in vars(cls):
            cls.__init__ = _initializer(cls)  # type: ignore[method-assign]

    @cached_property
    def aws(self) -> AwsClients:
        """Clients of AWS."""
        return AwsClients(self.aws_conn_id, self.region_name)

    @cached_property
    def resource(self) -> Resource:
        """
        The resource, once the templates are rendered.

        :raises ResourceError: What is wanted can't be read.
        """
        wanted, unread = read_wanted(self.resource_class, self.wanted)
        if unread:
            problems = [*self._region_problems(), *unread.values(), *self._problems_beside(wanted, unread)]
            raise ResourceError(f"{self.resource_class.kind}: " + "; ".join(problems))
        return self.resource_class.from_json(wanted)

    def _problems_beside(self, wanted: dict[str, Any], unread: Collection[str]) -> list[str]:
        """Return what is wrong with the fields that could be read, if that can be told without the others."""
        if needed_fields(self.resource_class) - set(wanted):
            return []
        problems = self._problems(self.resource_class.from_json(wanted))
        return [each for each in problems if not each.startswith(tuple(unread))]

    @failing_for_good_if_denied()
    def execute(self, context: Context) -> dict[str, Any]:
        """
        Converge, or say what that would take.

        :return: What others need of the resource.
        :raises ResourceError: Something is wrong with what is wanted, or AWS has given up.
        :raises AirflowFailException: AWS has denied a call.
        """
        if problems := self._region_problems() + self._problems(self.resource):
            raise ResourceError(f"{self.resource.kind} {self.resource.name}: " + "; ".join(problems))
        AwsConsoleLink.leave(context, self, self.aws, self.resource.console_path)
        if is_true(self.is_dry_run):
            return self._show(context, self._examine())
        return self._converge(context, time.time() + (self.timeout or self.resource.timeout))

    @failing_for_good_if_denied()
    def resume(self, context: Context, event: dict[str, Any], deadline: float, last: list[Any]) -> dict[str, Any]:
        """Go on after a wait in the triggerer; the parameters are those that :meth:`execute` left with it."""
        if "error" in event:
            raise ResourceError(f"{self.resource.kind} {self.resource.name}: {event['error']}")
        return self._converge(context, deadline, last=last, progress=_read_progress(event))

    def _converge(
        self, context: Context, deadline: float, last: list[Any] | None = None, progress: Progress | None = None
    ) -> dict[str, Any]:
        """
        Do one thing after the other until there is nothing to do.

        :param last: The plan that was carried out before, how many times in a row, and what AWS said before that; None:
            nothing was done yet.
        :param progress: Where the resource stands, if that has been found out.
        """
        watcher = Watcher(self.resource, self.aws, self.log)
        while True:
            if progress is None:
                progress = self._wait(watcher, deadline, last)
            if progress.state is State.PENDING:
                raise ResourceError(_late(self.resource, progress))
            # What was said already before the last change is of a failure before it: tags, for one, change none of it.
            if progress.state is State.FAILED and last is not None and list(progress.detail) != last[2]:
                raise ResourceError(f"{self.resource.kind} {self.resource.name}: {'; '.join(progress.detail)}")
            plan = self._examine()
            if plan.action in (Action.LEAVE, Action.REFUSE):
                return self._show(context, plan)
            last = self._count(plan, last, progress)
            if last[1] > 1:
                time.sleep(min(self.poll_interval, 2 ** last[1]))
            self._show(context, plan)
            self._carry_out(plan)
            progress = None

    def _count(self, plan: Plan, last: list[Any] | None, progress: Progress) -> list[Any]:
        summary = plan.summary()
        rounds = last[1] + 1 if last is not None and last[0] == summary else 1
        if rounds > _ROUNDS_WITHOUT_EFFECT:
            raise ResourceError(
                f"{plan.kind} {plan.name}: AWS took the change {_ROUNDS_WITHOUT_EFFECT} times and does not show it: "
                + "; ".join(plan.reasons)
            )
        return [summary, rounds, list(progress.detail)]

    def _wait(self, watcher: Watcher, deadline: float, last: list[Any] | None) -> Progress:
        progress = watcher.look()
        while progress.state is State.PENDING and time.time() < deadline:
            if self.deferrable:
                self.defer(
                    trigger=ResourceTrigger(
                        resource_class=f"{self.resource_class.__module__}.{self.resource_class.__qualname__}",
                        resource=self.resource.to_json(),
                        aws_conn_id=self.aws_conn_id,
                        region_name=self.region_name,
                        poll_interval=self.poll_interval,
                        deadline=deadline,
                    ),
                    method_name="resume",
                    kwargs={"deadline": deadline, "last": last},
                )
            time.sleep(self.poll_interval)
            progress = watcher.look()
        return progress

    def _carry_out(self, plan: Plan) -> None:
        """Make the changes, again for as long as AWS says that it will not take them yet."""
        for attempt in Retrying(
            retry=retry_if_exception(
                lambda error: isinstance(error, ClientError) and self.resource.is_transient(error)
            ),
            wait=wait_random_exponential(multiplier=1, max=20),
            stop=stop_after_delay(_PATIENCE),
            before_sleep=lambda state: self.log.info(
                "Not yet, will try again: %s", state.outcome and state.outcome.exception()
            ),
            reraise=True,
        ):
            with attempt:
                if plan.action is Action.DELETE:
                    self.resource.delete(self.aws, plan)
                else:
                    self.resource.apply(self.aws, plan)

    def _show(self, context: Context, plan: Plan) -> dict[str, Any]:
        """
        Log a plan and leave it where a summary of all plans finds it.

        :raises ResourceError: The plan is a refusal.
        """
        reasons = f": {'; '.join(plan.reasons)}" if plan.reasons else ""
        self.log.info("%s %s: %s%s", plan.kind, plan.name, plan.action.value, reasons)
        cost = {"monthly_cost": self._monthly_cost()} if is_true(self.is_dry_run) else {}
        context["ti"].xcom_push(key=PLAN_KEY, value=plan.summary() | cost)
        if plan.action is Action.REFUSE and not is_true(self.is_dry_run):
            raise ResourceError("; ".join(plan.reasons))
        return self._result(plan)

    def _region_problems(self) -> list[str]:
        return validation.region(self.region_name) if self.region_name else []

    @abstractmethod
    def _problems(self, resource: Resource) -> list[str]: ...

    @abstractmethod
    def _examine(self) -> Plan: ...

    @abstractmethod
    def _result(self, plan: Plan) -> dict[str, Any]: ...

    @abstractmethod
    def _monthly_cost(self) -> float | None:
        """Return what the resource costs in a month once the plan is carried out; None if that is unknown."""


class EnsureOperator(ResourceOperator):
    """Have a resource be there as it is wanted: create it, change it or leave it. Returns its outputs."""

    def _problems(self, resource: Resource) -> list[str]:
        return resource.problems()

    def _examine(self) -> Plan:
        return self.resource.examine(self.aws)

    def _result(self, plan: Plan) -> dict[str, Any]:
        return self.resource.outputs(self.aws)

    def _monthly_cost(self) -> float | None:
        return 0.0 if self.resource.existing else Prices(self.aws).monthly(self.resource.cost_items())


class DeleteOperator(ResourceOperator):
    """Have a resource be gone, if it is ours. Returns what was left, and why: nothing if all is gone."""

    ui_color = "#f0d0c8"

    def _problems(self, resource: Resource) -> list[str]:
        return resource.identity_problems()

    def _examine(self) -> Plan:
        return self.resource.examine_deletion(self.aws)

    def _result(self, plan: Plan) -> dict[str, Any]:
        return plan.summary()

    def _monthly_cost(self) -> float | None:
        return 0.0


def _initializer(cls: type[ResourceOperator]) -> Callable[..., None]:
    def initialize(self: ResourceOperator, **kwargs: Any) -> None:
        super(cls, self).__init__(**kwargs)

    named = inspect.Parameter.KEYWORD_ONLY
    own = [parameter.replace(kind=named) for parameter in inspect.signature(cls.resource_class).parameters.values()]
    inherited = [
        parameter
        for parameter in inspect.signature(ResourceOperator.__init__).parameters.values()
        if parameter.name not in cls.resource_class.field_names()
    ]
    initialize.__signature__ = inspect.Signature([inherited[0], *own, *inherited[1:]])  # type: ignore[attr-defined]
    return initialize


def _read_progress(event: dict[str, Any]) -> Progress:
    return Progress(State(event["state"]), tuple(event["detail"]))


def _late(resource: Resource, progress: Progress) -> str:
    said = f" AWS says: {'; '.join(progress.detail)}" if progress.detail else ""
    return f"{resource.kind} {resource.name} has not come to rest in time.{said} Run the task again to go on waiting"
