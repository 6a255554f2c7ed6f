"""The limits of EMR Serverless on the values of a request, from the model of the service that botocore has.

botocore checks a part of them before it sends a request: the types and the shortest lengths, not the longest lengths,
the patterns and the enumerations. The service checks all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from botocore import xform_name
from botocore.model import OperationModel, Shape
from botocore.session import Session
from moto.emrserverless.exceptions import ValidationException


def check_value_ranges(operation: str, request: dict[str, Any]) -> None:
    """Refuse a request as the service does, all its values at once.

    Args:
        operation: the operation of the API, such as `StartJobRun`.
        request: its parameters, by the names that boto3's conventions give them (`client_token`); None is left out.

    Raises:
        ValidationException: a value is outside the limits of the model.
    """
    shape = _operation(operation).input_shape
    problems = list(_problems(shape, {name: request.get(xform_name(name)) for name in shape.members}, ""))
    if problems:
        count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected"
        raise ValidationException(f"{count}: {'; '.join(problems)}")


@cache
def _operation(name: str) -> OperationModel:
    return Session().get_service_model("emr-serverless").operation_model(name)


def _problems(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if shape.type_name == "structure":
        for name in shape.required_members:
            if value.get(name) is None:
                yield _problem(f"{path}{name}", "Member must not be null")
        for name, member in shape.members.items():
            if value.get(name) is not None:
                yield from _problems(member, value[name], f"{path}{name}.")
        return
    limits = shape.metadata
    place = path.removesuffix(".")
    size = value if shape.type_name in ("integer", "long") else len(value) if hasattr(value, "__len__") else None
    noun = "value" if shape.type_name in ("integer", "long") else "length"
    if size is not None and size < limits.get("min", size):
        yield _problem(place, f"Member must have {noun} greater than or equal to {limits['min']}")
    if size is not None and size > limits.get("max", size):
        yield _problem(place, f"Member must have {noun} less than or equal to {limits['max']}")
    if "pattern" in limits and not re.fullmatch(limits["pattern"], value, re.ASCII):
        yield _problem(place, f"Member must satisfy regular expression pattern: {limits['pattern']}")
    if limits.get("enum") and value not in limits["enum"]:
        yield _problem(place, f"Member must satisfy enum value set: [{', '.join(limits['enum'])}]")
    if shape.type_name == "list":
        for number, item in enumerate(value, start=1):
            yield from _problems(shape.member, item, f"{place}.{number}.member.")
    if shape.type_name == "map":
        for key, item in value.items():
            yield from _problems(shape.key, key, f"{place}.key.")
            yield from _problems(shape.value, item, f"{place}.{key}.member.")


def _problem(place: str, constraint: str) -> str:
    return f"Value at '{place}' failed to satisfy constraint: {constraint}"
