"""The base of every model that a person fills in YAML: unknown keys and mistaken booleans are errors."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

_NUMBERS: tuple[Any, ...] = (int, float, int | None, float | None)


class YamlModel(BaseModel):
    """Keys that are not declared are refused, and so is a boolean where a number is expected."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        """pydantic takes true for 1, and YAML reads the words `yes` and `on` as true."""
        if isinstance(value, bool) and info.field_name and cls.model_fields[info.field_name].annotation in _NUMBERS:
            raise PydanticCustomError("int_type", "a number is expected")
        return value
