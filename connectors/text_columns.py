"""Declared columns: sources whose values are text (JSON messages, CSV files) and the types a spec gives them.

A spec's `columns` maps name → type. `typed_rows` turns text into those types by one rule: a value arrives exactly or
the row is rejected with the column's name; nothing is rounded, cut, shifted or silently made NULL.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator

from connectors.base import READ_COLUMNS, REJECTED_COLUMN, SLICE_COLUMN, SOURCE_ROWS_COLUMN, Column

if TYPE_CHECKING:
    from pyspark.sql import Column as SparkColumn
    from pyspark.sql import DataFrame

SIMPLE_TYPES = ("string", "boolean", "int", "bigint", "double", "date", "timestamp", "timestamp_ntz")
TYPE_WORDS = (*SIMPLE_TYPES, "decimal(p,s)")

REASON = "_reason"
"""STRING in a frame of text: why the whole record cannot be taken apart, else NULL."""
RECORD = "_record"
"""STRING in a frame of text: the record as it came."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)")
_NUMBER = r"^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]{1,9})?$"
_WHOLE = r"^[+-]?[0-9]+([.]0*)?$"
_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_CLOCK = r"[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?"
_ZONE = r" ?(Z|[+-][0-9]{2}(:?[0-9]{2})?)"


def _checked_type(value: str) -> str:
    text = re.sub(r"\s", "", value.lower())
    if text in SIMPLE_TYPES:
        return text
    sizes = _DECIMAL.fullmatch(text)
    if sizes and 1 <= int(sizes[1]) <= 38 and int(sizes[2]) <= int(sizes[1]):
        return text
    hint = " with p from 1 to 38 and s from 0 to p" if text.startswith("decimal") else ""
    raise ValueError(f"not a column type. Valid: {', '.join(TYPE_WORDS)}{hint}")


def _checked_columns(columns: dict[str, str]) -> dict[str, str]:
    if not columns:
        raise ValueError("declare at least one column, as name: type")
    seen: dict[str, str] = {}
    for name in columns:
        if not _NAME.fullmatch(name):
            raise ValueError(f"column {name!r}: a name is letters, digits and _, and begins with no digit")
        if name.lower() in seen:
            raise ValueError(
                f"columns {seen[name.lower()]!r} and {name!r} differ only in case: Spark takes them for one"
            )
        if name in READ_COLUMNS or name in (REASON, RECORD):
            raise ValueError(f"column {name!r}: this name is Lakeferry's own")
        seen[name.lower()] = name
    return columns


ColumnType = Annotated[str, AfterValidator(_checked_type)]
DeclaredColumns = Annotated[dict[str, ColumnType], AfterValidator(_checked_columns)]
"""`columns` of a dataset: name → one of `TYPE_WORDS`, in the order of the lake's table."""


def refuse_names(columns: Mapping[str, str], taken: Sequence[Column]) -> None:
    """`ValueError` where a declared column has the name of one the source adds itself."""
    for column in taken:
        if column.name in {name.lower() for name in columns}:
            raise ValueError(f"column {column.name!r}: the source adds a column of this name itself")


def declared_columns(columns: Mapping[str, str], source_type: str) -> tuple[Column, ...]:
    """The lake's columns for a spec's `columns`."""
    return tuple(Column(name=name, source_type=source_type, spark_type=kind) for name, kind in columns.items())


def text_name(index: int) -> str:
    """The column of a frame of text that holds the text of declared column number `index`."""
    return f"_text_{index}"


def typed_rows(
    frame: DataFrame, columns: Sequence[Column], identity: Sequence[Column], *, null_text: str | None
) -> DataFrame:
    """Give text its declared types.

    Args:
        frame: STRING columns `text_name(0)`, … , one for each of `columns`; the `identity` columns; `_slice`;
            `_reason` and `_record`.
        null_text: a text that stands for NULL in every column but a string one (CSV's empty field), or None.

    Returns:
        `columns`, `identity`, `READ_COLUMNS`. A row whose record or any column is refused has `_rejected` set, and
        NULL in the columns that were refused.
    """
    from pyspark.sql import functions as F

    values: list[SparkColumn] = []
    reasons: list[SparkColumn] = [F.col(REASON)]
    for index, column in enumerate(columns):
        text = F.col(text_name(index))
        if column.spark_type != "string":
            text = F.trim(text)
            if null_text is not None:
                text = F.when(text != null_text, text)
        value, reason = _typed(text, column.spark_type)
        values.append(value.alias(column.name))
        if reason is not None:
            reasons.append(F.concat(F.lit(f"column {column.name}: "), reason))
    reason_names = [f"_reason_{index}" for index in range(len(reasons))]
    staged = frame.select(
        *values,
        *(F.col(column.name) for column in identity),
        SLICE_COLUMN,
        RECORD,
        *(reason.alias(name) for reason, name in zip(reasons, reason_names, strict=True)),
    )
    refused = F.coalesce(*(F.col(name) for name in reason_names)).isNotNull()
    rejected = F.when(
        refused, F.struct(F.concat_ws("; ", *reason_names).alias("reason"), F.col(RECORD).alias("record"))
    )
    return staged.select(
        *(F.col(column.name) for column in (*columns, *identity)),
        F.col(SLICE_COLUMN).cast("int").alias(SLICE_COLUMN),
        F.lit(None).cast("bigint").alias(SOURCE_ROWS_COLUMN),
        rejected.alias(REJECTED_COLUMN),
    )


def _typed(text: SparkColumn, kind: str) -> tuple[SparkColumn, SparkColumn | None]:
    """Value and reason of one text: the reason is NULL where the value stands, and holds no part of the text, as
    reasons are kept where the bytes of masked datasets are not."""
    from pyspark.sql import functions as F

    if kind == "string":
        return text, None
    refusals: list[tuple[SparkColumn, str]]
    if kind == "boolean":
        lower = F.lower(text)
        value = F.when(lower.isin("true", "1"), F.lit(True)).when(lower.isin("false", "0"), F.lit(False))
        refusals = [(value.isNull(), "not a boolean (true, false, 1, 0)")]
    elif kind in ("int", "bigint"):
        value = F.regexp_replace(text, r"[.]0*$", "").try_cast(kind)
        refusals = [(~text.rlike(_WHOLE), "not a whole number"), (value.isNull(), f"too large for {kind}")]
    elif kind == "double":
        value = text.try_cast("double")
        overflow = value.isNull() | F.abs(value).isin(float("inf"))
        refusals = [(~text.rlike(_NUMBER), "not a number"), (overflow, "too large for double")]
    elif sizes := _DECIMAL.fullmatch(kind):
        value = text.try_cast(kind)
        finer = _digits_after_point(text) > int(sizes[2])
        refusals = [
            (~text.rlike(_NUMBER), "not a number"),
            (finer, f"more than {sizes[2]} digits after the point, {kind} would round it"),
            (value.isNull(), f"too large for {kind}"),
        ]
    elif kind == "date":
        value = text.try_cast("date")
        refusals = [(~text.rlike(f"^{_DAY}$"), "not a date (YYYY-MM-DD)"), (value.isNull(), "no such day")]
    else:
        value, refusals = _moment(text, kind)
    reason = F.lit(None).cast("string")
    for refused, words in reversed(refusals):
        reason = F.when(refused, F.lit(words)).otherwise(reason)
    reason = F.when(text.isNotNull(), reason)
    return F.when(reason.isNull(), value), reason


def _moment(text: SparkColumn, kind: str) -> tuple[SparkColumn, list[tuple[SparkColumn, str]]]:
    """ISO 8601. A `timestamp` without an offset is UTC, whatever the session's or the machine's zone; a
    `timestamp_ntz` with an offset is refused, as Spark would drop the offset."""
    from pyspark.sql import functions as F

    zone = f"({_ZONE})?" if kind == "timestamp" else ""
    shape = "YYYY-MM-DDThh:mm:ss[.ffffff]" + ("[Z or +hh:mm]" if kind == "timestamp" else ", without an offset")
    # Cast digits beyond the microsecond are dropped without a word: they are refused, zeros apart.
    finer = text.rlike(r"[.][0-9]{6}[0-9]*[1-9]")
    short = F.regexp_replace(text, r"([.][0-9]{6})0+", "$1")
    if kind == "timestamp":
        short = F.when(text.rlike(f"{_ZONE}$") & text.rlike(":"), short).otherwise(F.concat(short, F.lit("Z")))
        short = F.regexp_replace(short, r"([+-][0-9]{2})([0-9]{2})$", "$1:$2")
    value = short.try_cast(kind)
    return value, [
        (~text.rlike(f"^{_DAY}[T ]{_CLOCK}{zone}$"), f"not a time ({shape})"),
        (finer, "finer than a microsecond"),
        (value.isNull(), "no such time"),
    ]


def _digits_after_point(text: SparkColumn) -> SparkColumn:
    """How many digits after the point a number needs: those written, less trailing zeros, less its exponent."""
    from pyspark.sql import functions as F

    written = F.length(F.regexp_extract(text, r"[.]([0-9]*?)0*([eE]|$)", 1))
    exponent = F.coalesce(F.regexp_extract(text, r"[eE]([+-]?[0-9]+)$", 1).try_cast("int"), F.lit(0))
    zero = text.rlike(r"^[+-]?[0.]+([eE]|$)")
    return F.when(zero, F.lit(0)).otherwise(written - exponent)
