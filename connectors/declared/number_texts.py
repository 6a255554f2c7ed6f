"""Checks whether a decimal or a double holds exactly what a text of a number says.

The answer comes from the text's digits. No number is built whose size follows from an exponent, so `1e-400000000` costs
as much as its 12 characters. Usual texts are checked by one pattern for a whole column; the others one by one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

NUMBER = "^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?$"
"""A number in digits, with or without an exponent."""

_USUAL_DECIMAL = "^[+-]?[0-9]{0,40}([.][0-9]{0,40})?$"
"""Texts short enough for a cast, and without an exponent: patterns over the whole column check them."""
_USUAL_DOUBLE = "^[+-]?(0?[.])?[0-9.]{1,15}$"
"""Texts of at most 15 digits without exponent: every double holds so many (IEEE 754 binary64, DBL_DIG of C)."""
_PARTS = re.compile("([+-]?)([0-9]*)[.]?([0-9]*)(?:[eE]([+-]?)0*([0-9]*))?")
_EXPONENT_DIGITS = 12
"""An exponent of more digits is beyond every type, and beyond every text's own digits."""
_LARGEST_POWER, _SMALLEST_POWER = 308, -324
"""Powers of ten of a double's largest and smallest value (IEEE 754 binary64)."""
_DOUBLE_DIGITS = 767
"""The most significant digits of any double when it is written out (IEEE 754 binary64)."""


@dataclass(frozen=True)
class _Number:
    """`digits` × 10^`lowest`. `digits` do not begin or end with a zero; they are empty for zero."""

    sign: str
    digits: str
    lowest: int
    in_digits: bool
    """Whether the text has no exponent."""

    @property
    def highest(self) -> int:
        """The power of ten of the first digit."""
        return self.lowest + len(self.digits) - 1


def judged_numbers(text: pa.Array, kind: str) -> tuple[pa.Array, dict[int, str]]:
    """Rewrites unusual texts so that a cast reads them exactly, and finds those that the type cannot hold.

    Args:
        text: STRING, each NULL or a text that matches `NUMBER`.
        kind: `double` or `decimal(p,s)`.

    Returns:
        The texts, and the reason of each row that is refused. A reason holds no part of the text.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    usual = pc.match_substring_regex(text, _USUAL_DOUBLE if kind == "double" else _USUAL_DECIMAL)
    unusual = pc.invert(pc.fill_null(usual, True))
    rows = pc.indices_nonzero(unusual)
    if not len(rows):
        return text, {}
    judged = [judged_number(value, kind) for value in pc.take(text, rows).to_pylist()]
    problems = {row: words for row, (_, words) in zip(rows.to_pylist(), judged, strict=True) if words is not None}
    return pc.replace_with_mask(text, unusual, pa.array([value for value, _ in judged], pa.string())), problems


def judged_number(text: str, kind: str) -> tuple[str | None, str | None]:
    """Returns a text that matches `NUMBER` as a cast reads it; or None, and the reason why the type cannot hold it."""
    if kind == "double" and repr(float(text)) == text:
        return text, None
    number = _taken_apart(text)
    if kind == "double":
        words = _double_problem(number)
        written = f"{number.sign}{number.digits}E{number.lowest}" if number.digits else f"{number.sign}0"
    else:
        precision, scale = (int(size) for size in kind[len("decimal(") : -1].split(","))
        words = _decimal_problem(number, precision, scale, kind)
        written = _written_out(number) if words is None else ""
    return (written, None) if words is None else (None, words)


def finer_than(scale: int, kind: str) -> str:
    """Returns the reason for a number that has more digits after the point than a decimal."""
    return f"more than {scale} digits after the point, {kind} would round it"


def _taken_apart(text: str) -> _Number:
    parts = _PARTS.fullmatch(text)
    assert parts is not None, "the text matches NUMBER"
    sign, whole, fraction, exponent_sign, exponent = parts.groups("")
    power = int(exponent[:_EXPONENT_DIGITS] or 0) if len(exponent) <= _EXPONENT_DIGITS else 10**_EXPONENT_DIGITS
    digits = (whole + fraction).rstrip("0")
    lowest = len(whole) - len(digits) + (-power if exponent_sign == "-" else power)
    return _Number(sign.removeprefix("+"), digits.lstrip("0"), lowest, parts[5] is None)


def _decimal_problem(number: _Number, precision: int, scale: int, kind: str) -> str | None:
    if number.digits and number.lowest < -scale:
        return finer_than(scale, kind)
    if number.digits and number.highest >= precision - scale:
        return f"too large for {kind}"
    return None


def _written_out(number: _Number) -> str:
    """Returns a number that a decimal holds, without an exponent."""
    if not number.digits:
        return "0"
    digits = number.digits + "0" * max(number.lowest, 0)
    after = max(-number.lowest, 0)
    digits = digits.rjust(after + 1, "0")
    return number.sign + digits[: len(digits) - after] + ("." + digits[len(digits) - after :] if after else "")


def _double_problem(number: _Number) -> str | None:
    """Returns why a double cannot hold the number; None if it can.

    A double is binary, so it is near most decimal numbers and equal to few. It holds a text if the double, written with
    as many digits as the text has, gives the same text: 0.1 is held, 0.12345678901234567890 is not. A whole number in
    digits may be an id, so it is held only if the double is equal to it: 9007199254740993 (2^53 + 1) is not.

    A whole number that ends in zeros is also held if the digits before them are the double's shortest. JavaScript and
    Go write doubles so (ECMAScript, Number::toString; Go, strconv.FormatFloat), and each double has one such text.
    """
    if not number.digits:
        return None
    if number.highest > _LARGEST_POWER:
        return "too large for double"
    if number.highest < _SMALLEST_POWER:
        return "too near to zero for double"
    if len(number.digits) > _DOUBLE_DIGITS:
        return _ROUNDED
    double = float(f"{number.digits}E{number.lowest}")
    if double == float("inf"):
        return "too large for double"
    if not double:
        return "too near to zero for double"
    over, under = double.as_integer_ratio()
    # The distance between text and double as a fraction, in halves of the unit of the text's last digit.
    ten = 10 ** abs(number.lowest)
    unit, exact = (ten * under, over) if number.lowest >= 0 else (under, over * ten)
    distance = abs(int(number.digits) * unit - exact)
    whole_in_digits = number.in_digits and number.lowest >= 0
    if whole_in_digits and number.lowest and number.digits == _shortest_digits(double):
        return None
    return _ROUNDED if distance > (0 if whole_in_digits else unit // 2) else None


def _shortest_digits(double: float) -> str:
    """Returns the fewest digits that lead back to a double, at most 17, without zeros at either end (Python,
    `repr`)."""
    return repr(abs(double)).partition("e")[0].replace(".", "").strip("0")


_ROUNDED = "more digits than a double holds, it would round them"
