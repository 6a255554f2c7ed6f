"""Which JSON texts BigQuery holds exactly: the others are set aside before they could fail a load, or be altered by it.

BigQuery's JSON keeps whole numbers of 64 bits, signed or unsigned, and other numbers as FLOAT64, nests 500 deep
and keeps the first of two equal keys ("JSON type" and "PARSE_JSON" in the GoogleSQL reference).
"""

from __future__ import annotations

import json
from decimal import Decimal
from math import isinf
from typing import Any

MOST_LEVELS = 500
_LEAST, _MOST = -(2**63), 2**64 - 1


class _Unfit(ValueError):
    pass


def json_problem(text: str) -> str | None:
    """Why BigQuery could not hold this text as JSON without losing something; None where it can. Names no value."""
    try:
        value = json.loads(
            text, parse_int=_whole, parse_float=_fraction, parse_constant=_constant, object_pairs_hook=_object
        )
    except _Unfit as unfit:
        return str(unfit)
    except RecursionError:
        return f"it nests deeper than {MOST_LEVELS} levels"
    except ValueError:
        return "it is not JSON"
    return f"it nests deeper than {MOST_LEVELS} levels" if _deeper(value) else None


def _whole(digits: str) -> None:
    # Longer digits than Python's int would take are too long as well.
    if len(digits) > 21 or not _LEAST <= int(digits) <= _MOST:
        raise _Unfit("a whole number in it has more than 64 bits")


def _fraction(digits: str) -> None:
    number = float(digits)
    if isinf(number):
        raise _Unfit("a number in it is beyond FLOAT64")
    if Decimal(digits) != Decimal(repr(number)):
        raise _Unfit("a number in it has more digits than FLOAT64")


def _constant(word: str) -> None:
    raise _Unfit("it is not JSON")


def _object(pairs: list[tuple[str, Any]]) -> list[Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise _Unfit("a key stands twice in it")
    return [value for _, value in pairs]


def _deeper(document: Any) -> bool:
    levels, inner = 0, [document] if isinstance(document, list) else []
    while inner and levels <= MOST_LEVELS:
        levels += 1
        inner = [value for outer in inner for value in outer if isinstance(value, list)]
    return levels > MOST_LEVELS
