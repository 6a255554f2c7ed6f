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
_NOT_CAST = {"date": "no such day", "timestamp": "no such time", "timestamp_ntz": "no such time"}
_DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)")


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
                f"columns {seen[name.lower()]!r} and {name!r} differ only in case: Spark treats them as one"
            )
        if name in READ_COLUMNS or name in (REASON, RECORD):
            raise ValueError(f"column {name!r}: this name is reserved for Lakeferry")
        seen[name.lower()] = name
    return columns


ColumnType = Annotated[str, AfterValidator(_checked_type)]
DeclaredColumns = Annotated[dict[str, ColumnType], AfterValidator(_checked_columns)]
"""`columns` of a dataset: name → one of `TYPE_WORDS`, in the order of the lake's table."""


def check_column_names(columns: Mapping[str, str], taken: Sequence[Column]) -> None:
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


def typed_rows(frame: DataFrame, columns: Sequence[Column], identity: Sequence[Column]) -> DataFrame:
    """Gives checked text its declared types.

    Args:
        frame: STRING columns `text_name(0)`, … , one for each of `columns`, as `text_checks.checked_columns` leaves
            them; the `identity` columns; `_slice`; `_reason` and `_record`.

    Returns:
        `columns`, `identity`, `READ_COLUMNS`. A row whose record or any column is refused has `_rejected` set, and
        NULL in the columns that were refused.
    """
    from pyspark.sql import functions as F

    values: list[SparkColumn] = []
    reasons: list[SparkColumn] = []
    for index, column in enumerate(columns):
        text = F.col(text_name(index))
        if column.spark_type == "string":
            values.append(text.alias(column.name))
            continue
        value = text.try_cast(column.spark_type)
        if column.spark_type == "double":
            value = F.when(F.abs(value) < float("inf"), value)
        values.append(value.alias(column.name))
        words = f"column {column.name}: {_NOT_CAST.get(column.spark_type, f'too large for {column.spark_type}')}"
        reasons.append(F.when(text.isNotNull() & value.isNull(), F.lit(words)))
    reason = F.concat_ws("; ", REASON, *reasons)
    staged = frame.select(
        *values,
        *(F.col(column.name) for column in identity),
        F.col(SLICE_COLUMN).cast("int").alias(SLICE_COLUMN),
        F.lit(None).cast("bigint").alias(SOURCE_ROWS_COLUMN),
        reason.alias(REASON),
        RECORD,
    )
    rejected = F.when(F.col(REASON) != "", F.struct(F.col(REASON).alias("reason"), F.col(RECORD).alias("record")))
    return staged.withColumn(REJECTED_COLUMN, rejected).drop(REASON, RECORD)
