"""The bounds of a window as a trigger writes them: times or whole numbers, as on the command line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from connectors.errors import UsageError

_WHOLE = re.compile("-?[0-9]{1,20}")
"""The longest number of a BIGINT UNSIGNED has 20 digits."""


@dataclass(frozen=True)
class Bound:
    """One bound. `20261120` is a number to a cursor of numbers and a day to one of times: it has both.

    `text` is what planning gets: an instant in UTC, ISO 8601; a time without an offset as it was, since a cursor of
    days reads it in its own time zone; or a whole number.
    """

    text: str
    number: int | None
    time: datetime | None

    @classmethod
    def read(cls, pipeline: str, key: str, value: object) -> Self | None:
        """The bound that the value of `key` is; None where it is left open.

        Raises:
            UsageError: the value is neither a time nor a whole number.
        """
        if value is None or value == "":
            return None
        # Apart from text, only whole numbers of JSON can be bounds; a `bool` is an `int` in Python.
        text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
        number = int(text) if _WHOLE.fullmatch(text) else None
        time = _time(text)
        if time is not None:
            return cls(text if number is not None else _written(time), number, time)
        if number is not None:
            return cls(str(number), number, None)
        raise UsageError(
            f"{key} is {value!r}, neither a time nor a whole number",
            pipeline=pipeline,
            fix=f"Write {key} as 2026-01-31T00:00:00Z, or as 1000 where the cursor is a number",
        )

    @classmethod
    def at(cls, moment: datetime) -> Self:
        moment = moment.astimezone(UTC)
        return cls(_written(moment), None, moment)


def check_bounds_order(pipeline: str, start: Bound, end: Bound) -> None:
    """Check that two bounds make a window.

    Raises:
        UsageError: they are of two kinds, or the end is not after the start.
    """
    if start.number is not None and end.number is not None:
        ordered = start.number < end.number
    elif start.time is not None and end.time is not None:
        # An offset that is missing may be that of the cursor's time zone: only the source can compare the two then.
        ordered = (start.time.tzinfo is None) != (end.time.tzinfo is None) or start.time < end.time
    else:
        number, time = (("start", start), ("end", end)) if start.time is None else (("end", end), ("start", start))
        raise UsageError(
            f"{number[0]} {number[1].text} is a number, and {time[0]} {time[1].text} a time",
            pipeline=pipeline,
            fix="Give two numbers or two times",
        )
    if not ordered:
        raise UsageError(
            f"the window is empty: end {end.text} is not after start {start.text}",
            pipeline=pipeline,
            fix="Give an end after the start",
        )


def _time(text: str) -> datetime | None:
    try:
        read = datetime.fromisoformat(text)
        return read if read.tzinfo is None else read.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _written(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
