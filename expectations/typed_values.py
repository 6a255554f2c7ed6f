"""Values written in a rule, as text that Spark casts to the column's type without loss.

A value goes from YAML to Spark as text and never through a float: `0.10` in a rule on a
`decimal(18,2)` column is compared as the decimal 0.10.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from typing import Literal

Scalar = bool | int | Decimal | str
"""The values of a rule: YAML floats arrive as decimals, dates and times as text."""
Kind = Literal["integer", "decimal", "floating", "string", "date", "timestamp", "timestamp_ntz", "boolean", "other"]

_INTEGER_BITS = {
    **{"tinyint": 8, "byte": 8, "smallint": 16, "short": 16},
    **{"int": 32, "integer": 32, "bigint": 64, "long": 64},
}
_DECIMAL = re.compile(r"(?:decimal|numeric|dec)(?:\(\s*(\d+)\s*(?:,\s*(-?\d+)\s*)?\))?")
_LARGEST_EXPONENT = 400
"""An exponent beyond the range of a double, and small enough to write the number out in digits."""
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


def kind(spark_type: str) -> Kind:
    """Returns the family of a Spark DDL type (`decimal(18,2)`, `timestamp_ntz`)."""
    name = spark_type.strip().lower()
    if name in _INTEGER_BITS:
        return "integer"
    if _DECIMAL.fullmatch(name):
        return "decimal"
    if name in ("double", "float", "real"):
        return "floating"
    if name == "string" or re.fullmatch(r"(var)?char\(\d+\)", name):
        return "string"
    if name == "date":
        return "date"
    if name == "timestamp_ntz":
        return "timestamp_ntz"
    if name in ("timestamp", "timestamp_ltz"):
        return "timestamp"
    if name == "boolean":
        return "boolean"
    return "other"


def decimal_shape(spark_type: str) -> tuple[int, int]:
    """Returns precision and scale of a decimal or integer type."""
    name = spark_type.strip().lower()
    if name in _INTEGER_BITS:
        return len(str(2 ** (_INTEGER_BITS[name] - 1))), 0
    match = _DECIMAL.fullmatch(name)
    if match is None:
        raise ValueError(f"{spark_type} is not an exact number type")
    return int(match[1] or 10), int(match[2] or 0)


def canonical(value: Scalar, spark_type: str) -> str:
    """Returns the value as text in the form in which Spark writes that type; equal values give equal text.

    Timestamps are instants: ISO 8601, UTC if they have no offset. `timestamp_ntz` is a wall clock and takes no offset.

    Raises:
        ValueError: the value does not have that type; the message ends the sentence "the value …".
    """
    family = kind(spark_type)
    if family == "boolean":
        if not isinstance(value, bool):
            raise ValueError(f"{value!r} is not true or false")
        return "true" if value else "false"
    if isinstance(value, bool):
        raise ValueError(
            f"{value!r} is a boolean in YAML, and the column is {spark_type}: quote it if it is text "
            "(YAML reads yes, no, on and off as booleans)"
        )
    if family == "string":
        if not isinstance(value, str):
            raise ValueError(f"{value} is a number in YAML, and the column is {spark_type}: quote it")
        return value
    if family in ("integer", "decimal"):
        return _exact_number(value, spark_type)
    if family == "floating":
        return str(float(_number(value)))
    if family == "date":
        return _date(value).isoformat()
    if family in ("timestamp", "timestamp_ntz"):
        return _moment(value, wall_clock=family == "timestamp_ntz")
    raise ValueError(f"{value!r} cannot be compared with a column of type {spark_type}")


def _number(value: Scalar) -> Decimal:
    text = str(value).strip()
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{value!r} is not a number")
    number = Decimal(text)
    if abs(number.adjusted()) > _LARGEST_EXPONENT:
        raise ValueError(f"{value!r} is beyond every type of number")
    return number


def _exact_number(value: Scalar, spark_type: str) -> str:
    number = _number(value)
    precision, scale = decimal_shape(spark_type)
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    whole = f"{number:f}".lstrip("+-").partition(".")[0].lstrip("0")
    fraction = f"{number:f}".partition(".")[2].rstrip("0")
    if len(fraction) > max(scale, 0):
        raise ValueError(f"{value} has more decimals than the column's type {spark_type} holds")
    if len(whole) > precision - scale:
        raise ValueError(f"{value} has more digits than the column's type {spark_type} holds")
    if spark_type.strip().lower() in _INTEGER_BITS:
        limit = 2 ** (_INTEGER_BITS[spark_type.strip().lower()] - 1)
        if not -limit <= number < limit:
            raise ValueError(f"{value} is outside the column's type {spark_type}")
    text = (whole or "0") + (f".{fraction.ljust(scale, '0')}" if scale > 0 else "")
    return f"-{text}" if sign and any(digits) else text


def _date(value: Scalar) -> date:
    try:
        return date.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is not a date (YYYY-MM-DD)") from None


def _moment(value: Scalar, *, wall_clock: bool) -> str:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is not a time (2026-11-20T01:02:03)") from None
    if wall_clock:
        if moment.tzinfo is not None:
            raise ValueError(f"{value!r} has an offset, and the column is a wall clock (timestamp_ntz): leave it out")
        return moment.isoformat(sep=" ", timespec="microseconds")
    instant = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    return instant.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds") + "Z"


def shown(value: Scalar) -> str:
    """Returns the value for messages, in the form in which it was written."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def parsed_decimal(text: str) -> Decimal | str:
    """Returns a YAML float's text as a decimal; text that is not a finite number (`.inf`, `1:30.5`) stays text."""
    try:
        number = Decimal(text.replace("_", ""))
    except InvalidOperation:
        return text
    return number if number.is_finite() and abs(number.adjusted()) <= _LARGEST_EXPONENT else text
