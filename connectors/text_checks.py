"""Is a text a value of its declared type? Checked in Spark's Python executors, a column of an Arrow batch at a time.

What passes is written so that Spark's cast reads it the same way in every time zone and without rounding; what only
the cast can tell (a number too large, a day that is none) is refused in `text_columns.typed_rows`.
"""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from connectors.base import Column

_NUMBER = "^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,9})?$"
_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = f"^{_DAY}[T ][0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}([.][0-9]+)?"
_ZONE = "( ?(Z|[+-][0-9]{2}(:?[0-9]{2})?))"
_SHAPE = "YYYY-MM-DDThh:mm:ss[.ffffff]"

MAX_EXPONENT = 100
"""Beyond it a number is out of every decimal's reach, and is not written out in digits."""


def checked_columns(
    texts: Sequence[pa.Array], columns: Sequence[Column], reasons: pa.Array, null_text: str | None
) -> tuple[list[pa.Array], pa.Array]:
    """Texts and reasons after the check: a refused text is NULL, and its column joins the record's reason.

    Args:
        texts: one STRING array for each of `columns`.
        reasons: why a whole record was refused already, else NULL.
        null_text: a text that stands for NULL in every column but a string one (CSV's empty field), or None.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kept: list[pa.Array] = []
    found: dict[int, list[str]] = {}
    nothing = pa.scalar(None, pa.string())
    for text, column in zip(texts, columns, strict=True):
        if column.spark_type == "string":
            kept.append(text)
            continue
        text = pc.utf8_trim(text, " ")
        if null_text is not None:
            text = pc.if_else(pc.equal(text, null_text), nothing, text)
        text, rules = _rules(text, column.spark_type)
        for pattern, wanted, words in rules:
            matches = pc.match_substring_regex(text, pattern)
            passed = matches if wanted else pc.invert(matches)
            for row in pc.indices_nonzero(pc.invert(pc.fill_null(passed, True))).to_pylist():
                # A reason holds no part of the text: reasons are kept where the bytes of masked datasets are not.
                found.setdefault(row, []).append(f"column {column.name}: {words}")
            text = pc.if_else(passed, text, nothing)
        kept.append(_as_spark_reads_it(text, column.spark_type))
    if not found:
        return kept, reasons
    all_reasons = reasons.to_pylist()
    for row, words_of_row in found.items():
        all_reasons[row] = "; ".join([*filter(None, [all_reasons[row]]), *words_of_row])
    return kept, pa.array(all_reasons, pa.string())


def _rules(text: Any, kind: str) -> tuple[Any, list[tuple[str, bool, str]]]:
    """The text, and patterns it must match (or must not), each with the reason of a text that breaks it."""
    if kind == "boolean":
        return text, [("(?i)^(true|false|1|0)$", True, "not a boolean (true, false, 1, 0)")]
    if kind in ("int", "bigint"):
        return text, [("^[+-]?[0-9]+([.]0*)?$", True, "not a whole number")]
    if kind == "double":
        return text, [(_NUMBER, True, "not a number")]
    if kind == "date":
        return text, [(f"^{_DAY}$", True, "not a date (YYYY-MM-DD)")]
    if kind.startswith("decimal"):
        scale = kind.rstrip(")").split(",")[1]
        exact = f"^[+-]?[0-9]*([.][0-9]{{0,{scale}}}0*)?([eE].*)?$"
        finer = f"more than {scale} digits after the point, {kind} would round it"
        return _written_out(text), [(_NUMBER, True, "not a number"), (exact, True, finer)]
    # ISO 8601. Spark drops the offset of a timestamp_ntz, and digits after the microsecond, without a word.
    zone = f"{_ZONE}?" if kind == "timestamp" else ""
    shape = _SHAPE + ("[Z or +hh:mm]" if kind == "timestamp" else ", without an offset")
    return text, [
        (f"{_TIME}{zone}$", True, f"not a time ({shape})"),
        ("[.][0-9]{6}[0-9]*[1-9]", False, "finer than a microsecond"),
    ]


def _as_spark_reads_it(text: Any, kind: str) -> Any:
    import pyarrow.compute as pc

    if kind in ("int", "bigint"):
        return pc.replace_substring_regex(text, "[.]0*$", "")
    if kind in ("timestamp", "timestamp_ntz"):
        text = pc.replace_substring_regex(text, "([.][0-9]{6})0+", r"\1")
    if kind == "timestamp":
        text = pc.replace_substring_regex(text, "([0-9:.]{8}) ?([+-][0-9]{2}):?([0-9]{2})$", r"\1\2:\3")
        # Without an offset it is UTC, whatever the session's or the machine's zone is.
        zoned = pc.match_substring_regex(text, f":[0-9]{{2}}([.][0-9]+)?{_ZONE}$")
        text = pc.if_else(zoned, text, pc.binary_join_element_wise(text, "Z", ""))
    return text


def _written_out(text: Any) -> Any:
    """Numbers with an exponent, written in digits; there are few, so one by one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pc.any(pc.match_substring_regex(text, "[eE]")).as_py():
        return text
    return pa.array([None if value is None else _digits(value) for value in text.to_pylist()], pa.string())


def _digits(text: str) -> str:
    if not re.fullmatch(_NUMBER.strip("^$"), text) or not re.search("[eE]", text):
        return text
    try:
        number = Decimal(text)
    except InvalidOperation:
        return text
    if not number:
        return "0"
    return format(number, "f") if abs(number.adjusted()) <= MAX_EXPONENT else text
