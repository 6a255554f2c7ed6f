"""Checks whether texts are values of their declared type, in Spark's Python executors, one column of an Arrow batch at
a time.

A text that passes is written so that Spark's cast reads it the same way in every time zone and without rounding. What
only the cast can find (a number too large, a day that does not exist) is refused in `columns.typed_rows`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connectors.declared.number_texts import NUMBER, finer_than, judged_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from connectors.base import Column

_DAY = "[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = f"^{_DAY}[T ][0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}([.][0-9]+)?"
_ZONE = "( ?(Z|[+-][0-9]{2}(:?[0-9]{2})?))"
_SHAPE = "YYYY-MM-DDThh:mm:ss[.ffffff]"


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
    rejections: dict[int, list[str]] = {}
    nothing = pa.scalar(None, pa.string())
    for text, column in zip(texts, columns, strict=True):
        if column.spark_type == "string":
            kept.append(text)
            continue
        text = pc.utf8_trim(text, " ")
        if null_text is not None:
            text = pc.if_else(pc.equal(text, null_text), nothing, text)
        problems: dict[int, str] = {}
        if column.spark_type == "double" or column.spark_type.startswith("decimal"):
            text, problems = _checked(text, [(NUMBER, True, "not a number")])
            text, unusual = judged_numbers(text, column.spark_type)
            problems |= unusual
        text, broken = _checked(text, _rules(column.spark_type))
        for row, words in (problems | broken).items():
            # A reason holds no part of the text: reasons are kept where the bytes of masked datasets are not.
            rejections.setdefault(row, []).append(f"column {column.name}: {words}")
        kept.append(_as_spark_reads_it(text, column.spark_type))
    if not rejections:
        return kept, reasons
    all_reasons = reasons.to_pylist()
    for row, words_of_row in rejections.items():
        all_reasons[row] = "; ".join([*filter(None, [all_reasons[row]]), *words_of_row])
    return kept, pa.array(all_reasons, pa.string())


_Rule = tuple[str, bool, str]
"""A pattern, whether a text must match it or must not, and the reason of a text that breaks the rule."""


def _checked(text: pa.Array, rules: Sequence[_Rule]) -> tuple[pa.Array, dict[int, str]]:
    """The texts that keep the rules, NULL instead of the others, and the reason of each row of these."""
    import pyarrow as pa
    import pyarrow.compute as pc

    problems: dict[int, str] = {}
    for pattern, wanted, words in rules:
        matches = pc.match_substring_regex(text, pattern)
        passed = matches if wanted else pc.invert(matches)
        for row in pc.indices_nonzero(pc.invert(pc.fill_null(passed, True))).to_pylist():
            problems[row] = words
        text = pc.if_else(passed, text, pa.scalar(None, pa.string()))
    return text, problems


def _rules(kind: str) -> list[_Rule]:
    if kind == "boolean":
        return [("(?i)^(true|false|1|0)$", True, "not a boolean (true, false, 1, 0)")]
    if kind in ("int", "bigint"):
        return [("^[+-]?[0-9]+([.]0*)?$", True, "not a whole number")]
    if kind == "double":
        return []
    if kind == "date":
        return [(f"^{_DAY}$", True, "not a date (YYYY-MM-DD)")]
    if kind.startswith("decimal"):
        scale = int(kind.rstrip(")").split(",")[1])
        return [(f"^[+-]?[0-9]*([.][0-9]{{0,{scale}}}0*)?$", True, finer_than(scale, kind))]
    # ISO 8601. Spark drops the offset of a timestamp_ntz, and digits after the microsecond, without a word.
    zone = f"{_ZONE}?" if kind == "timestamp" else ""
    shape = _SHAPE + ("[Z or +hh:mm]" if kind == "timestamp" else ", without an offset")
    return [
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
        # Without an offset it is UTC, independently of the time zones of the session and the machine.
        zoned = pc.match_substring_regex(text, f":[0-9]{{2}}([.][0-9]+)?{_ZONE}$")
        text = pc.if_else(zoned, text, pc.binary_join_element_wise(text, "Z", ""))
    return text
