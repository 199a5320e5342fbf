"""Answers for operations that the simulated AWS lacks. Requests and answers are checked against botocore's models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

from botocore.validate import validate_parameters

if TYPE_CHECKING:
    from collections.abc import Callable

    from airflow_eks_dask.hooks.aws import AwsClients


_answered: WeakKeyDictionary[AwsClients, dict[tuple[str, ...], Callable[[], None]]] = WeakKeyDictionary()
"""How to forget each answer."""


class _Response(NamedTuple):
    status_code: int


def answer(
    aws: AwsClients,
    service: str,
    operation: str,
    respond: Callable[..., dict[str, Any]],
    region_name: str | None = None,
) -> list[dict[str, Any]]:
    """
    Answer an operation of one client instead of sending it anywhere; of several answers the last holds.

    :param respond: Gets the request's parameters; returns the answer, or raises a ClientError.
    :return: The requests' parameters, as they come.
    """
    events = aws.client(service, region_name).meta.events
    asked: list[dict[str, Any]] = []

    def before_call(model: Any, **_: Any) -> tuple[_Response, dict[str, Any]]:
        response = respond(**asked[-1])
        validate_parameters(response, model.output_shape)
        return _Response(200), {**response, "ResponseMetadata": {"HTTPStatusCode": 200}}

    def before_parameter_build(params: dict[str, Any], **_: Any) -> None:
        asked.append(dict(params))

    # Fails here and now if there is no such operation.
    aws.client(service, region_name).meta.service_model.operation_model(operation)
    name = aws.client(service, region_name).meta.service_model.service_id.hyphenize()
    build, call = f"before-parameter-build.{name}.{operation}", f"before-call.{name}.{operation}"
    answered = _answered.setdefault(aws, {})
    key = (service, region_name or "", operation)
    if key in answered:
        answered[key]()
    events.register(build, before_parameter_build)
    events.register(call, before_call)

    def forget() -> None:
        events.unregister(build, before_parameter_build)
        events.unregister(call, before_call)

    answered[key] = forget
    return asked


def forget_answers(aws: AwsClients) -> None:
    """Ask AWS again for everything."""
    for forget in _answered.pop(aws, {}).values():
        forget()
