"""From a request to the method of the backend that has the operation's name, and back."""

from __future__ import annotations

from typing import Any

from botocore import xform_name
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, BaseResponse
from moto.eks.models import eks_backends


class EksResponse(BaseResponse):
    """Answers any operation that the backend has; the parameters are those of the API, in Python's case."""

    def __init__(self) -> None:
        super().__init__(service_name="eks")
        self.automated_parameter_parsing = True

    def call_action(self) -> Any:
        """Call it, and give back what it returns or raises."""
        backend = eks_backends[self.current_account][self.region]
        operation = getattr(backend, xform_name(self._get_action()))
        parameters = {xform_name(name): value for name, value in self.params.items() if value is not None}
        try:
            result = operation(**parameters)
        except ServiceException as error:
            result = error
        return self.serialized(ActionResult(result))
